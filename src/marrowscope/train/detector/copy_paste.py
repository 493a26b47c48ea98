"""Real cells cut out of their pictures, to be laid onto fields: dense fields with known boxes."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from marrowscope.detection.nuclei import Limits, cells_and_nuclei
from marrowscope.detection.stain import UM_PER_PX, background, densities

MARGIN = 2
"""Pixels around the mask."""
SIZES_UM = (6.0, 19.0)
"""Of cells that are cut out; what else is found is no single cell."""
LONGEST = 1.5
"""Longer side of a cell's box by the shorter."""
FULL = 0.66
"""Least area of a cell by that of its box."""


@dataclass(frozen=True)
class Cutout:
    """A cell without what is around it."""

    densities: np.ndarray
    """`(H, W, 3) float32`: optical density at 0.25 um per pixel."""
    mask: np.ndarray
    """`(H, W) bool`: what is of the cell."""


def cut_out(pixels: np.ndarray) -> Cutout | None:
    """Cut the cell in the middle out; None where there is none that lies whole and by itself.

    Args:
        pixels: `(H, W, 3) uint8`, RGB, at 0.25 um per pixel.
    """
    density = densities(pixels, background(pixels))
    cells, _ = cells_and_nuclei(density, Limits())
    tall, wide = cells.shape
    middle = cells[tall // 2 - 6 : tall // 2 + 6, wide // 2 - 6 : wide // 2 + 6]
    counts = np.bincount(middle.ravel(), minlength=2)[1:]
    mask = cells == 1 + int(counts.argmax())
    if not counts.any() or not _is_whole(mask):
        return None
    rows, columns = np.nonzero(mask)
    around = (
        slice(rows.min() - MARGIN, rows.max() + MARGIN + 1),
        slice(columns.min() - MARGIN, columns.max() + MARGIN + 1),
    )
    return Cutout(density[around], ndimage.binary_dilation(mask)[around])


def _is_whole(mask: np.ndarray) -> bool:
    rows, columns = np.nonzero(mask)
    tall, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    short, long = sorted((tall * UM_PER_PX, wide * UM_PER_PX))
    return bool(
        min(rows.min(), columns.min()) >= MARGIN
        and rows.max() < mask.shape[0] - MARGIN
        and columns.max() < mask.shape[1] - MARGIN
        and SIZES_UM[0] < short <= long < SIZES_UM[1]
        and long <= LONGEST * short
        and len(rows) >= FULL * tall * wide
    )


def turned(cell: Cutout, random: np.random.Generator) -> Cutout:
    """Turn a cell by any angle, and its stain 0.55 to 1.05 times as dense, as on common fields."""
    angle = random.uniform(0, 360)
    mask = ndimage.rotate(cell.mask.astype(np.float32), angle, order=1) > 0.5
    density = ndimage.rotate(cell.densities, angle, order=1, mode="nearest")
    rows, columns = np.nonzero(mask)
    around = (
        slice(max(0, rows.min() - MARGIN), rows.max() + MARGIN + 1),
        slice(max(0, columns.min() - MARGIN), columns.max() + MARGIN + 1),
    )
    gain = np.float32(random.uniform(0.55, 1.05))
    return Cutout(density[around] * gain, mask[around])


def lay(density: np.ndarray, cell: Cutout, x: int, y: int) -> np.ndarray:
    """Lay a cell onto a field in place, its corner at x and y; give its box, x0, y0, x1, y1.

    Args:
        density: `(H, W, 3) float32`: optical density of the field; it is changed.
        cell: may stick out of the field.
        x: of the left side of the cutout, in pixels.
        y: of its upper side.
    """
    soft = ndimage.gaussian_filter(cell.mask.astype(np.float32), 0.7)[..., None]
    top, left = max(y, 0), max(x, 0)
    bottom = min(y + cell.mask.shape[0], density.shape[0])
    right = min(x + cell.mask.shape[1], density.shape[1])
    inner = slice(top - y, bottom - y), slice(left - x, right - x)
    part = density[top:bottom, left:right]
    part += soft[inner] * (cell.densities[inner] - part)
    rows, columns = np.nonzero(cell.mask)
    return np.array(
        [x + columns.min(), y + rows.min(), x + columns.max() + 1, y + rows.max() + 1], np.float32
    )
