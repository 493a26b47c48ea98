"""Crops of the cells of a field as PNG files, for other programs."""

from collections.abc import Sequence
from pathlib import Path

from marrowscope.fields.boxes import Box
from marrowscope.fields.cells import place_of
from marrowscope.fields.crops import crop, png_of, side_of
from marrowscope.fields.field import Field

CROPS = "crops"
"""Folder of the crops in a folder of results."""


def write_crops(
    field: Field,
    file: Path,
    sha256: str,
    boxes: Sequence[Box],
    um_per_px: float,
    folder: Path,
    field_um: float = 0.0,
) -> list[Path]:
    """Write each box of a field as a square PNG, `field_um` micrometres a side (0: the usual 21.5).

    Those of `7.jpg` are `7.jpg-120-33-190-101.png` and so on. A PNG says which field (SHA-256 of
    its file), box and scale it is of, in its texts `field`, `box` and `um_per_px`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for place in dict.fromkeys(place_of(str(file), box, um_per_px) for box in boxes):
        pixels = crop(
            field, Box(place.x0, place.y0, place.x1, place.y1), side_of(um_per_px, field_um)
        )
        target = folder / f"{file.name}-{Path(place.path).name}.png"
        target.write_bytes(png_of(pixels, sha256, place))
        written.append(target)
    return written
