"""Find the nucleated cells of a whole field, tile by tile where it is large."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from marrowscope.detection.boxes import Box, merge
from marrowscope.detection.detector import OVERLAP, Finder, boxes_of, load_finder, maps_of
from marrowscope.detection.field import Field
from marrowscope.detection.pixel_size import red_cell_scale, samples
from marrowscope.detection.quality import flags_of
from marrowscope.detection.segmentation import Outline, outlines_of
from marrowscope.detection.stain import UM_PER_PX, background, densities, is_blank, shrunk

Scale = Literal["given", "red cells", "unknown"]
Tile = tuple[int, int, int, int]
TILE_UM = 280.0
"""Side of the tiles."""
OVERLAP_UM = 50.0
"""Tiles overlap by more than a cell, so that each cell is whole on one of them."""
USUAL_UM_PER_PX = 0.1
"""Taken where nothing else is known: oil immersion of 60 to 100 times."""


@dataclass(frozen=True)
class Found:
    """What was found on one field."""

    boxes: tuple[Box, ...]
    """The nucleated cells, in pixels of the field."""
    um_per_px: float | None
    """None where it is neither given, nor in the file, nor told by the red cells."""
    scale: Scale
    """Where the scale comes from; `given` where the file says it too."""
    flags: tuple[str, ...]
    """Why the field is out of the plain range: codes of `FLAGS`; empty where it is not."""
    outlines: tuple[Outline, ...] = ()
    """Of the cells, in the order of the boxes: x and y of the corners, in pixels of the field."""


def find_cells(field: Field, um_per_px: float | None = None, finder: Finder | None = None) -> Found:
    """Find the nucleated cells of a field, and say why it may not be one to read.

    Args:
        field: of any size; large ones are read tile by tile.
        um_per_px: side of a pixel on the slide, in micrometres; else what the file says, else
            as the red cells tell.
        finder: the shipped one where none is given.

    Raises:
        FieldError: a part of the field cannot be read, or the shipped finder cannot be loaded.
    """
    finder = finder or load_finder()
    parts = list(samples(field))
    stated = um_per_px or field.um_per_px
    scale = stated or red_cell_scale(parts, finder.network)
    source: Scale = "given" if stated else "red cells" if scale else "unknown"
    side = scale or USUAL_UM_PER_PX
    empty = np.median([background(part) for part in parts], axis=0)
    outlines = {
        box: outline
        for tile in _tiles(field, side)
        for box, outline in _in_tile(field, tile, side, empty, finder)
    }
    boxes = merge(list(outlines), OVERLAP)
    flags = flags_of(parts, empty, side, len(boxes))
    return Found(boxes, scale, source, flags, tuple(outlines[box] for box in boxes))


def _tiles(field: Field, um_per_px: float) -> Iterator[Tile]:
    """Cut a field into tiles that overlap, a row after the other: x0, y0, x1, y1 in pixels."""
    side, overlap = round(TILE_UM / um_per_px), round(OVERLAP_UM / um_per_px)
    for y in range(0, max(1, field.height - overlap), side - overlap):
        for x in range(0, max(1, field.width - overlap), side - overlap):
            yield x, y, min(x + side, field.width), min(y + side, field.height)


def _in_tile(
    field: Field, tile: Tile, um_per_px: float, empty: np.ndarray, finder: Finder
) -> Iterator[tuple[Box, Outline]]:
    """Find the cells of a tile; those cut by an edge inside the field are left to its neighbour."""
    x0, y0, x1, y1 = tile
    density = densities(shrunk(field.read(x0, y0, x1, y1), um_per_px / UM_PER_PX), empty)
    if is_blank(density):
        return
    tall, wide = density.shape[:2]
    maps = maps_of(finder.network, density)
    boxes = boxes_of(maps, "WBC", finder.least_score, (tall, wide))
    factor = UM_PER_PX / um_per_px
    for box, outline in zip(boxes, outlines_of(density, boxes), strict=True):
        moved = box.moved(x0, y0, factor)
        if not _is_cut(moved, tile, field, factor):
            yield moved, tuple((x0 + x * factor, y0 + y * factor) for x, y in outline)


def _is_cut(box: Box, tile: Tile, field: Field, near: float) -> bool:
    """Tell whether a box comes nearer to an edge of its tile that is inside the field."""
    x0, y0, x1, y1 = tile
    return (
        (box.x0 < x0 + near and x0 > 0)
        or (box.y0 < y0 + near and y0 > 0)
        or (box.x1 > x1 - near and x1 < field.width)
        or (box.y1 > y1 - near and y1 < field.height)
    )
