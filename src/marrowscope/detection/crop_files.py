"""Crops of the cells of a field as PNG files, for other programs."""

from pathlib import Path

from marrowscope.detection.boxes import Box
from marrowscope.detection.crops import crop, png_of, side_of
from marrowscope.detection.field import open_field
from marrowscope.detection.field_cells import NO_SCALE, place_of
from marrowscope.detection.results import Looked
from marrowscope.errors import FieldError
from marrowscope.io.tables import whole_file

CROPS = "crops"
"""Folder of the crops in a folder of results."""


def write_crops(looked: Looked, folder: Path, field_um: float = 0.0) -> list[Path]:
    """Write each cell of a field as a square PNG, `field_um` micrometres a side (0: usual 21.5).

    Those of `7.jpg` are `7.jpg-120-33-190-101.png` and so on. A PNG says which field (SHA-256 of
    its file), box and scale it is of, in its texts `field`, `box` and `um_per_px`.

    Raises:
        FieldError: the field cannot be read, or its scale is not known, or not plausible.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
    """
    if looked.um_per_px is None:
        raise FieldError(f"{looked.file}: {NO_SCALE}")
    field, file = open_field(Path(looked.file)), Path(looked.file)
    side = side_of(looked.um_per_px, field_um)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    places = (place_of(looked.file, box, looked.um_per_px) for box in looked.boxes)
    for place in dict.fromkeys(places):
        pixels = crop(field, Box(place.x0, place.y0, place.x1, place.y1), side)
        target = folder / f"{file.name}-{Path(place.path).name}.png"
        with whole_file(target) as partial:
            partial.write_bytes(png_of(pixels, looked.sha256, place))
        written.append(target)
    return written
