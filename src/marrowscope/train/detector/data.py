"""What the finder is trained from: fields with boxes, and pictures of single cells."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from marrowscope.detection.boxes import Box
from marrowscope.detection.field import Field, open_field
from marrowscope.detection.pixel_size import ENOUGH, RED_CELL_UM
from marrowscope.detection.stain import UM_PER_PX, background, densities, shrunk
from marrowscope.errors import FieldError, ImageError
from marrowscope.io.images import read_image
from marrowscope.train.detector.copy_paste import Cutout, cut_out
from marrowscope.train.detector.network import KINDS
from marrowscope.train.detector.scenes import Scene


def look_of(field: Field) -> str:
    """Tell fields of different cameras apart by their size in pixels."""
    return f"{field.width}x{field.height}"


def looks_scales(
    folder: Path, boxes: Mapping[str, Sequence[Box]]
) -> tuple[dict[str, str], dict[str, float]]:
    """Give the look of each field, and the scale of each look by the boxes of its red cells.

    Red cells within 2 pixels of the edge do not count. Example: longer sides of 80, 90 and 100
    pixels: 7.2 / 90 = 0.08 um per pixel.

    Raises:
        FieldError: a field cannot be read, or a look has fewer than 3 whole red cells.
        MissingExtraError: a field is large or a slide, and what opens it is not installed.
    """
    looks, sizes = {}, dict[str, list[float]]()
    for name, boxes_of_file in boxes.items():
        field = open_field(folder / name)
        looks[name] = look_of(field)
        sizes.setdefault(looks[name], []).extend(
            max(box.x1 - box.x0, box.y1 - box.y0)
            for box in boxes_of_file
            if box.label == "RBC"
            and min(box.x0, box.y0) > 2
            and box.x1 < field.width - 2
            and box.y1 < field.height - 2
        )
    poor = sorted(look for look, told in sizes.items() if len(told) < ENOUGH)
    if poor:
        raise FieldError(
            f"fields of {', '.join(poor)} pixels have fewer than {ENOUGH} whole boxes labelled "
            "RBC, by which their scale is told; draw some"
        )
    return looks, {look: RED_CELL_UM / float(np.median(told)) for look, told in sizes.items()}


def read_scene(file: Path, boxes: Sequence[Box], um_per_px: float) -> Scene:
    """Read a field of a scale, and its boxes, and bring both to 0.25 um per pixel.

    Raises:
        FieldError: the field cannot be read, or a box has an unknown label.
        MissingExtraError: the field is large or a slide, and what opens it is not installed.
    """
    field = open_field(file)
    unknown = sorted({box.label for box in boxes} - set(KINDS))
    if unknown:
        raise FieldError(f"{file}: boxes of {', '.join(unknown)}; known are {', '.join(KINDS)}")
    pixels = field.read(0, 0, field.width, field.height)
    sides = [(box.x0, box.y0, box.x1, box.y1) for box in boxes]
    return Scene(
        densities(shrunk(pixels, um_per_px / UM_PER_PX), background(pixels)),
        (np.array(sides, np.float32).reshape(-1, 4) * um_per_px / UM_PER_PX).astype(np.float32),
        np.array([KINDS.index(box.label) for box in boxes], int),
    )


def cut_cells(files: Iterable[Path], um_per_px: float) -> tuple[list[Cutout], int]:
    """Cut single cells out of their pictures; give them, and how many could not be cut out.

    Left out is what cannot be read, and what does not lie whole and by itself in the middle.
    """
    cells, left_out = [], 0
    for file in files:
        try:
            pixels = np.asarray(read_image(file))
        except ImageError:
            left_out += 1
            continue
        cell = cut_out(shrunk(pixels, um_per_px / UM_PER_PX))
        if cell is None:
            left_out += 1
        else:
            cells.append(cell)
    return cells, left_out
