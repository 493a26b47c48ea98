"""The scale of a field by its red cells, which are of one size in all people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from marrowscope.detection.boxes import Box
from marrowscope.detection.detector import Network, boxes_of, maps_of
from marrowscope.detection.field import Field
from marrowscope.detection.file_pixel_size import UM_PER_PX as PLAUSIBLE
from marrowscope.detection.stain import UM_PER_PX, background, densities, shrunk

RED_CELL_UM = 7.2
"""Longer side of a red cell's box on a dried smear."""
LEAST_SCORE = 0.3
"""Of a red cell."""
ENOUGH = 3
"""Red cells that a scale is taken from."""
STARTS = (0.07, 0.11, 0.045, 0.18, 0.03)
"""Scales to start from: usual ones of objectives of 40 to 100 times."""
PLENTY = 0.3
"""Share of a part that red cells cover, from which on no other scale is tried."""
ROUNDS = 6
SETTLED = 0.05
"""Change of the scale, as a logarithm, from which on it is believed."""
SAMPLE = 1024
"""Longest side in pixels of the parts that the scale is taken from."""


def samples(field: Field) -> Iterator[np.ndarray]:
    """Give the field, or of a large one 5 parts: the middle and around it, `(H, W, 3) uint8`.

    Raises:
        FieldError: a part cannot be read.
    """
    wide, tall = min(field.width, SAMPLE), min(field.height, SAMPLE)
    free_x, free_y = field.width - wide, field.height - tall
    places = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
    for x, y in dict.fromkeys((round(free_x * fx), round(free_y * fy)) for fx, fy in places):
        yield field.read(x, y, x + wide, y + tall)


def red_cell_scale(parts: Sequence[np.ndarray], network: Network) -> float | None:
    """Give micrometres per pixel as red cells tell: the median over parts of a field.

    None where no part has enough red cells.

    Args:
        parts: `(H, W, 3) uint8`, RGB.
        network: that finds red cells.
    """
    starts: Sequence[float] = STARTS
    told = []
    for part in parts:
        settled = _surest(part, starts, network)
        if settled:
            told.append(settled)
            starts = (settled,)
    return float(np.median(told)) if told else None


def _surest(pixels: np.ndarray, starts: Sequence[float], network: Network) -> float | None:
    """Start from several scales; of those where it ends, give the one with the most red cells.

    An end at which red cells cover enough of the part is taken at once.
    """
    empty = background(pixels)
    best: _End | None = None
    for start in starts:
        end = _settled(pixels, empty, start, network)
        if end and (best is None or end.evidence > best.evidence):
            best = end
        if best and best.evidence >= PLENTY:
            break
    return best.um_per_px if best else None


@dataclass(frozen=True)
class _End:
    """Where the search for a scale ended."""

    um_per_px: float
    evidence: float
    """Share of the part that the red cells seen cover, each by its score."""


def _settled(pixels: np.ndarray, empty: np.ndarray, start: float, network: Network) -> _End | None:
    """Look at a scale, correct it by the red cells seen, and look again until it stays.

    Example: at 0.1 um per pixel red cells seem 9.0 um wide: it is 0.1 * 7.2 / 9.0 = 0.08.
    """
    scale = start
    for _ in range(ROUNDS):
        stained = densities(shrunk(pixels, scale / UM_PER_PX), empty)
        tall, wide = stained.shape[:2]
        cells = boxes_of(maps_of(network, stained), "RBC", LEAST_SCORE, (tall, wide))
        side = _usual_side(cells, tall, wide)
        if side is None:
            return None
        before, scale = scale, scale * RED_CELL_UM / (side * UM_PER_PX)
        if not PLAUSIBLE[0] <= scale <= PLAUSIBLE[1]:
            return None
        if abs(np.log(scale / before)) < SETTLED:
            covered = sum(cell.score * cell.area for cell in cells)
            return _End(scale, covered / (tall * wide))
    return None


def _usual_side(cells: Sequence[Box], tall: int, wide: int) -> float | None:
    """Give the usual longer side of red cells in pixels: the median of those that lie whole.

    Where too few lie whole, those cut by the edge count too, and the upper quartile is taken.
    """
    whole = [
        _longer(cell)
        for cell in cells
        if min(cell.x0, cell.y0) > 1 and cell.x1 < wide - 1 and cell.y1 < tall - 1
    ]
    if len(whole) >= ENOUGH:
        return float(np.median(whole))
    if len(cells) >= ENOUGH:
        return float(np.percentile([_longer(cell) for cell in cells], 75))
    return None


def _longer(cell: Box) -> float:
    return max(cell.x1 - cell.x0, cell.y1 - cell.y0)
