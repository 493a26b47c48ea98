"""The stain of a field: its background, how dense it is, and where it is purple."""

import numpy as np
from PIL import Image
from scipy import ndimage

UM_PER_PX = 0.25
"""Scale at which all is looked for."""
LEVELS = 256
NEAR = 4
"""Levels of green around the background's peak that are taken for background."""
PEAK = 0.25
"""How high a peak must be, by the highest, to be the background's: it is the brightest such."""
FAINT = 0.12
"""Optical density of green from which on something lies there."""
BLANK = 0.002
"""Share of a part up to which it is blank: a tenth of a cell on a tile."""
DENSEST = 3.0
"""Optical density that is still told apart in 8 bits."""


def background(pixels: np.ndarray) -> np.ndarray:
    """Give the colour of the empty slide, `(3,) float`: the brightest peak of green.

    Args:
        pixels: `(H, W, 3) uint8`, RGB.
    """
    green = pixels[..., 1]
    counts = np.bincount(green.ravel(), minlength=LEVELS).astype(float)
    counts = ndimage.gaussian_filter1d(counts, 2, mode="constant")
    peaks = (counts >= np.roll(counts, 1)) & (counts >= np.roll(counts, -1))
    high = np.flatnonzero(peaks & (counts > PEAK * counts.max()))
    near = np.abs(green.astype(int) - high[-1]) <= NEAR
    return np.asarray(np.median(pixels[near], axis=0), dtype=float)


def densities(pixels: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Give the optical density of red, green and blue, `(H, W, 3) float32`, -0.3 to 3.

    It is a natural logarithm; `empty` is the colour of the background, `(3,)`.

    Example: a quarter of the background's light is left: -ln(1/4) = 1.39.

    Source: Beer and Lambert's law, as in Ruifrok and Johnston 2001.
    """
    light = (pixels.astype(np.float32) + 1) / (empty.astype(np.float32) + 1)
    return np.asarray(np.clip(-np.log(light), -0.3, DENSEST))


def purple(density: np.ndarray) -> np.ndarray:
    """Give how purple the stain is, `(H, W) float32`: green's density less blue's.

    Nuclei take away green and let blue pass; red cells take away both. On 140 fields of four
    looks the median of the nuclei is above the 95th percentile of the red cells in every field.
    """
    return np.asarray(density[..., 1] - density[..., 2])


def split(values: np.ndarray, lowest: float, highest: float) -> float:
    """Give the threshold that parts values best into two (Otsu), between two limits.

    Source: Otsu 1979.
    """
    counts, edges = np.histogram(values, bins=128, range=(lowest, highest))
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    sums = np.cumsum(counts * middle)
    above = below[-1] + counts[-1] - below if len(below) else below
    both = (below > 0) & (above > 0)
    if not both.any():
        return float(middle[-1])
    gap = sums[:-1][both] / below[both] - (sums[-1] - sums[:-1][both]) / above[both]
    return float(edges[1:-1][both][np.argmax(below[both] * above[both] * gap**2)])


def is_blank(density: np.ndarray) -> bool:
    """Tell whether next to nothing lies on a part of a slide: `(H, W, 3)`, optical density."""
    return bool((density[..., 1] > FAINT).mean() < BLANK)


def shrunk(pixels: np.ndarray, factor: float) -> np.ndarray:
    """Scale a picture by averaging: `(H, W, 3) uint8`, both sides times `factor`."""
    tall, wide = pixels.shape[:2]
    size = max(1, round(wide * factor)), max(1, round(tall * factor))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
