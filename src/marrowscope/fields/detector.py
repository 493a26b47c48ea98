"""Find cells with the trained network: maps of middles and sides become boxes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from marrowscope.fields.boxes import Box, merge

STRIDE = 4
"""Pixels of the picture for one of the maps."""
MULTIPLE = 16
"""The network takes pictures whose sides are multiples of this."""
KINDS = ("WBC", "RBC", "PLT")
"""Of the first maps; then come the distances to the left, top, right and lower side."""
OVERLAP = 0.5
"""IoU above which two boxes are of one cell."""

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Densities `(3, H, W)` to maps `(7, H / 4, W / 4)`: logits of middles, distances in pixels."""


def maps_of(network: Network, densities: np.ndarray) -> NDArray[np.float32]:
    """Run the network on a field of any size: maps `(7, h, w)`, logits turned into 0 to 1.

    Args:
        network: takes sides that are multiples of 16.
        densities: `(H, W, 3) float32`, at 0.25 um per pixel; empty slide is added at the right
            and below until the sides fit.
    """
    tall, wide = densities.shape[:2]
    whole = np.zeros((3, _round_up(tall), _round_up(wide)), np.float32)
    whole[:, :tall, :wide] = densities.transpose(2, 0, 1)
    maps = network(whole)[:, : -(-tall // STRIDE), : -(-wide // STRIDE)].copy()
    maps[: len(KINDS)] = 1 / (1 + np.exp(-maps[: len(KINDS)]))
    return maps


def _round_up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def boxes_of(maps: np.ndarray, kind: str, least: float, shape: tuple[int, int]) -> tuple[Box, ...]:
    """Read the boxes of a kind from the maps.

    Example: a middle of 0.9 at row 2, column 3 with distances of 6 pixels to all sides: x is
    (3 + 0.5) * 4 = 14, y is 10, so the box is 8, 4, 20, 16 with the score 0.9.

    Args:
        maps: `(7, h, w)`, as `maps_of` gives them.
        kind: one of `KINDS`.
        least: score of a box, 0 to 1.
        shape: height and width of the picture in pixels, into which boxes are cut.
    """
    scores = maps[KINDS.index(kind)]
    peaks = (scores == ndimage.maximum_filter(scores, 3)) & (scores >= least)
    found = []
    for row, column in np.argwhere(peaks).tolist():
        left, top, right, bottom = maps[len(KINDS) :, row, column].tolist()
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        sides = max(0.0, x - left), max(0.0, y - top), x + right, y + bottom
        box = Box(
            sides[0],
            sides[1],
            min(float(shape[1]), sides[2]),
            min(float(shape[0]), sides[3]),
            score=float(scores[row, column]),
            label=kind,
        )
        if box.area > 0:
            found.append(box)
    return merge(found, OVERLAP)
