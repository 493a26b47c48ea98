"""The scale of a field by its red cells, which are of one size in all people."""

import numpy as np
from PIL import Image
from scipy import ndimage

from marrowscope.fields.stain import background, densities, purple, split

RED_CELL_UM = 7.2
"""Mean diameter of a red cell on a dried smear."""
INSCRIBED = 0.80
"""Width of the disc that fits into a red cell, by the longer side of the cell's box: median of
the 140 fields."""
WORKING_PX = 240
"""Shorter side at which red cells are looked for in a plain field; a third more, and a half
less, change the scale by less than 3%."""
SMALLEST_RADIUS = 4.0
"""In pixels at that size."""
DENSE = 0.3
"""Threshold of a red cell by the one that parts densities best; its pale middle is dense enough."""
LEAST_PURPLE = 0.25
ENOUGH = 3
"""Red cells that a scale is taken from."""


def red_cell_scale(pixels: np.ndarray) -> float | None:
    """Give micrometres per pixel as the red cells tell; None where there are too few of them.

    Example: red cells 72 pixels wide: 7.2 / 72 = 0.1.

    Args:
        pixels: `(H, W, 3) uint8`, RGB.
    """
    factor = max(1, round(min(pixels.shape[:2]) / WORKING_PX))
    radii = _radii(np.asarray(Image.fromarray(pixels).reduce(factor)))
    if len(radii) >= ENOUGH:
        radii = radii[radii > 0.6 * np.percentile(radii, 75)]
    if len(radii) < ENOUGH:
        return None
    return float(RED_CELL_UM * INSCRIBED / (2 * np.median(radii) * factor))


def _radii(pixels: np.ndarray) -> np.ndarray:
    """Give the radii of the discs that fit into red cells, also into some that touch, in pixels."""
    density = densities(pixels, background(pixels))
    density = ndimage.gaussian_filter(density, (1.5, 1.5, 0))
    limit = max(DENSE * split(density[..., 1], 0.0, 1.2), 0.05)
    depth = ndimage.distance_transform_edt(ndimage.binary_fill_holes(density[..., 1] > limit))
    depth = ndimage.gaussian_filter(depth, 1.0)
    peaks = (depth == ndimage.maximum_filter(depth, 15)) & (depth > SMALLEST_RADIUS)
    rows, columns = np.nonzero(peaks & ~_near_nuclei(density))
    radii = depth[rows, columns]
    edge = np.minimum.reduce(
        [rows, columns, depth.shape[0] - 1 - rows, depth.shape[1] - 1 - columns]
    )
    return np.asarray(radii[edge > radii])


def _near_nuclei(density: np.ndarray) -> np.ndarray:
    stain = purple(density)
    limit = max(split(stain[density[..., 1] > 0.1], 0.0, 2.0), LEAST_PURPLE)
    nuclei = ndimage.binary_opening(stain > limit, iterations=3)
    return np.asarray(ndimage.binary_dilation(nuclei, iterations=max(3, len(stain) // 60)))
