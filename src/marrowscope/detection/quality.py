"""Why a field is out of the plain range."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from marrowscope.detection.stain import FAINT, UM_PER_PX, densities, is_blank, shrunk

FLAGS = {
    "blurred": "out of focus: no edge on it is as sharp as those of cells in focus",
    "over-stained": "even the palest that is stained on it is dense: red cells and cell bodies "
    "are hard to tell from nuclei",
    "empty": "next to nothing on it but background",
    "not a smear": "light or colours that no Giemsa-type smear in bright field has",
}
"""Each flag's code, and what it means."""

BLURRED_UM = 1.9
"""Width of the sharpest edges, in micrometres; 0.6 to 1.7 on 140 fields in focus."""
OVER_STAINED = 0.75
"""Optical density of green that three quarters of what is stained exceed."""
DARKEST = 110.0
"""Of the background's channels, 0 to 255; 121 to 237 on the 140 fields."""
GREEN_FIRST = 0.75
"""Least share of what is stained that takes away green most; 0.82 to 1 on the 140 fields."""
LEAST_COLOUR = 0.08
"""Difference of the densities of green and of the palest channel; 0.13 to 0.53."""
FULLEST = 0.98
"""Largest share of the field that is stained; 0.13 to 0.69, dense marrow more."""
EDGE_RANK = 99.5
"""Percentile of the steepest edges: a cell's outline is a few per cent of a field."""


@dataclass(frozen=True)
class Measures:
    """What flags are told by."""

    edge_um: float
    """Contrast by the steepest edges: how wide an edge is, in micrometres."""
    pale: float
    """Density of green that three quarters of the stained pixels exceed."""
    green_first: float
    """Share of stained pixels in which green is the densest."""
    colour: float
    """Mean difference between green and the palest channel where stained."""
    stained: float
    """Share of the field that is stained."""


def flags_of(
    parts: Sequence[np.ndarray], empty: np.ndarray, um_per_px: float, cells: int
) -> tuple[str, ...]:
    """Give the codes of `FLAGS` that a field earns.

    Args:
        parts: of the field, `(H, W, 3) uint8`, RGB.
        empty: colour of its background, `(3,)`.
        um_per_px: side of a pixel, in micrometres.
        cells: number of nucleated cells on the field.
    """
    stained = [densities(shrunk(part, um_per_px / UM_PER_PX), empty) for part in parts]
    measured = [measure(density) for density in stained if not is_blank(density)]
    if not measured:
        return () if cells else ("empty",)
    codes = []
    if np.median([tile.edge_um for tile in measured]) > BLURRED_UM:
        codes.append("blurred")
    if np.median([tile.pale for tile in measured]) > OVER_STAINED:
        codes.append("over-stained")
    if float(np.min(empty)) < DARKEST or not any(_is_stained_like_a_smear(one) for one in measured):
        codes.append("not a smear")
    return tuple(codes)


def measure(density: np.ndarray) -> Measures:
    """Measure a part of a field.

    Args:
        density: `(H, W, 3) float32`, optical density at 0.25 um per pixel, not blank.
    """
    green = ndimage.gaussian_filter(density[..., 1], 0.5)
    steep = np.hypot(ndimage.sobel(green, 0), ndimage.sobel(green, 1)) / 8 / UM_PER_PX
    contrast = float(np.percentile(green, 99) - np.percentile(green, 5))
    stained = density[..., 1] > FAINT
    there = density[stained]
    others = np.maximum(there[:, 0], there[:, 2])
    return Measures(
        edge_um=contrast / max(float(np.percentile(steep, EDGE_RANK)), 1e-6),
        pale=float(np.percentile(there[:, 1], 25)),
        green_first=float((there[:, 1] >= others - 0.05).mean()),
        colour=float((there[:, 1] - np.minimum(there[:, 0], there[:, 2])).mean()),
        stained=float(stained.mean()),
    )


def _is_stained_like_a_smear(one: Measures) -> bool:
    return one.green_first >= GREEN_FIRST and one.colour >= LEAST_COLOUR and one.stained <= FULLEST
