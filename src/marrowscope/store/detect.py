"""Look at one field of a case: find its cells, and keep their crops among the blobs."""

from dataclasses import replace

from marrowscope.detection.boxes import Box
from marrowscope.detection.crops import crop, png_of, side_of
from marrowscope.detection.field import Field as OpenField
from marrowscope.detection.field import open_field
from marrowscope.detection.field_cells import NO_SCALE, place_of
from marrowscope.detection.results import Looked, again_by_others, look_at
from marrowscope.errors import FieldError, MissingExtraError
from marrowscope.store.blobs import Blobs
from marrowscope.store.enums import FieldState
from marrowscope.store.fields import Cut, Outcome
from marrowscope.store.tables import Field
from marrowscope.types import Place


def look(
    blobs: Blobs,
    field: Field,
    scales: tuple[float | None, float | None],
    field_um: float,
    limit: int,
) -> Outcome:
    """Find the cells of a field.

    The `scales` are what the case says, and what the red cells of other fields of its camera
    tell; None where they say nothing. Crops show `field_um` micrometres (0: the usual 21.5).

    A field that cannot be read, has no scale or has more cells than `limit` comes back as rejected,
    with the reason.

    Raises:
        StoreError: the field was changed in the store of the pictures.
        UnavailableError: that store does not answer, or the disk is full.
    """
    try:
        stated, other_scales = scales
        looked = again_by_others(look_at(blobs.path(field.sha256), stated), other_scales)
        return _outcome(blobs, field, looked, field_um, limit)
    except (FieldError, MissingExtraError) as error:
        return Outcome(FieldState.REJECTED, reason=_without_path(blobs, field, str(error)))


def _outcome(blobs: Blobs, field: Field, looked: Looked, field_um: float, limit: int) -> Outcome:
    outcome = Outcome(FieldState.FOUND, looked.um_per_px, looked.scale, looked.flags)
    if looked.um_per_px is None:
        return replace(outcome, state=FieldState.REJECTED, reason=NO_SCALE)
    if looked.flags and not field.keep_flagged:
        return replace(outcome, state=FieldState.FLAGGED)
    if len(looked.boxes) > limit:
        reason = f"it has {len(looked.boxes):,} cells, and the case has room for {limit:,} more"
        return replace(outcome, state=FieldState.REJECTED, reason=reason)
    opened = open_field(blobs.path(field.sha256))
    places = dict.fromkeys(place_of(field.file, box, looked.um_per_px) for box in looked.boxes)
    cells = tuple(_cut(blobs, opened, field.sha256, place, field_um) for place in places)
    return replace(outcome, cells=cells)


def cut_out(blobs: Blobs, field: Field, place: Place, field_um: float) -> Cut:
    """Cut one cell out of a field, and keep the crop.

    Raises:
        FieldError: the field cannot be read.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
        StoreError: the field was changed in the store of the pictures.
        UnavailableError: that store does not answer, or the disk is full.
    """
    return _cut(blobs, open_field(blobs.path(field.sha256)), field.sha256, place, field_um)


def _cut(blobs: Blobs, opened: OpenField, sha256: str, place: Place, field_um: float) -> Cut:
    side = side_of(place.um_per_px, field_um)
    pixels = crop(opened, Box(place.x0, place.y0, place.x1, place.y1), side)
    return Cut(place, blobs.put(png_of(pixels, sha256, place)), side)


def _without_path(blobs: Blobs, field: Field, words: str) -> str:
    """Leave the place of the file away: it says nothing to who sent it."""
    return words.removeprefix(f"{blobs.path(field.sha256)}: ")
