"""Pictures of whole fields as browsers show them; those made small are made once and kept."""

from marrowscope.fields.field import open_field
from marrowscope.fields.overview import overview
from marrowscope.store.tables import Field
from marrowscope.web.room import Room
from marrowscope.web.shown import Shown, as_it_came, check_side, kept_jpeg

SIDES = (320, 4096)
"""Pixels a side, at most."""


def field_picture(room: Room, field: Field, side: int) -> Shown:
    """Give a field as it came, or as a JPEG that is smaller or of a format that browsers show.

    Raises:
        SettingsError: pictures of this side are not made.
        FieldError: the field cannot be read.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
        NotThereError: it is not there.
        StoreError: the file was changed, or the store of the pictures does not answer.
    """
    check_side(side, SIDES)
    if max(field.width, field.height) <= side:
        shown = as_it_came(room.blobs.read(field.sha256))
        if shown:
            return shown
    return kept_jpeg(
        room,
        field.sha256,
        side,
        lambda: overview(open_field(room.blobs.path(field.sha256)), side),
        quality=90,
    )
