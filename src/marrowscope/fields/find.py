"""Find the nucleated cells of a whole field, tile by tile where it is large."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from marrowscope.fields.boxes import Box, merge
from marrowscope.fields.field import Field
from marrowscope.fields.nuclei import UM_PER_PX, Limits, find_nucleated
from marrowscope.fields.redcells import red_cell_scale

Scale = Literal["given", "red cells", "unknown"]
TILE_UM = 250.0
"""Side of the tiles."""
OVERLAP_UM = 30.0
"""Tiles overlap by the largest cell."""
LARGEST_SAMPLE = 1500
"""Side in pixels of the parts that the scale is estimated from."""
USUAL_UM_PER_PX = 0.1
"""Taken where nothing else is known: oil immersion of 60 to 100 times."""


@dataclass(frozen=True)
class Found:
    """What was found on one field."""

    boxes: tuple[Box, ...]
    """The nucleated cells, in pixels of the field."""
    um_per_px: float | None
    """None where it is neither given nor told by the red cells."""
    scale: Scale
    """Where the scale comes from."""
    flags: tuple[str, ...]
    """Why the field is out of the plain range; empty where it is not."""


def find_cells(field: Field, um_per_px: float | None = None) -> Found:
    """Find the nucleated cells of a field, and say why it may not be one to read.

    Args:
        field: of any size; large ones are read tile by tile.
        um_per_px: side of a pixel on the slide, in micrometres; else what the file says, else
            as the red cells tell.
    """
    given = um_per_px or field.um_per_px
    scale = given or red_cell_scale(_sample(field))
    source: Scale = "given" if given else "red cells" if scale else "unknown"
    side = scale or USUAL_UM_PER_PX
    boxes = merge([box for tile in _tiles(field, side) for box in _in_tile(field, tile, side)])
    return Found(boxes, scale, source, ())


def _sample(field: Field) -> np.ndarray:
    """Give the middle of the field, at most `LARGEST_SAMPLE` a side."""
    wide, tall = min(field.width, LARGEST_SAMPLE), min(field.height, LARGEST_SAMPLE)
    x, y = (field.width - wide) // 2, (field.height - tall) // 2
    return field.read(x, y, x + wide, y + tall)


def _tiles(field: Field, um_per_px: float) -> Iterator[tuple[int, int, int, int]]:
    """Cut a field into tiles that overlap; a row after the other."""
    side, overlap = round(TILE_UM / um_per_px), round(OVERLAP_UM / um_per_px)
    for y in range(0, max(1, field.height - overlap), side - overlap):
        for x in range(0, max(1, field.width - overlap), side - overlap):
            yield x, y, min(x + side, field.width), min(y + side, field.height)


def _in_tile(field: Field, tile: tuple[int, int, int, int], um_per_px: float) -> Iterator[Box]:
    """Find the cells of a tile; those cut by an edge inside the field are left to its neighbour."""
    x0, y0, x1, y1 = tile
    factor = UM_PER_PX / um_per_px
    size = max(1, round((x1 - x0) / factor)), max(1, round((y1 - y0) / factor))
    pixels = Image.fromarray(field.read(x0, y0, x1, y1)).resize(size, Image.Resampling.BOX)
    for box in find_nucleated(np.asarray(pixels), Limits()):
        moved = box.moved(x0, y0, factor)
        if not _is_cut(moved, tile, field):
            yield moved


def _is_cut(box: Box, tile: tuple[int, int, int, int], field: Field) -> bool:
    x0, y0, x1, y1 = tile
    return (
        (box.x0 <= x0 > 0)
        or (box.y0 <= y0 > 0)
        or (box.x1 >= x1 < field.width)
        or (box.y1 >= y1 < field.height)
    )
