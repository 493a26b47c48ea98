"""Purple nuclei and the cell body around each, told by colour and shape alone."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from marrowscope.detection.boxes import Box
from marrowscope.detection.stain import UM_PER_PX, purple, split


@dataclass(frozen=True)
class Limits:
    """What a nucleated cell must be."""

    least_purple: float = 0.25
    """Lowest threshold of purple for a nucleus, in optical density."""
    body: float = 0.45
    """Threshold of the cell's body by that of the nucleus."""
    least_area_um2: float = 12.0
    """Of the nucleus; platelets are smaller."""
    join_um: float = 1.2
    """Half the gap over which parts of one cell are joined."""
    reach_um: float = 4.0
    """How far the body reaches from the nucleus."""
    saddle: float = 0.75
    """Two middles are of one cell if what lies between is this wide, by the narrower one."""
    margin_um: float = 0.6
    """What the box is larger than the body on each side."""


def find_nucleated(density: np.ndarray, limits: Limits) -> list[Box]:
    """Find the nucleated cells of a field.

    Args:
        density: `(H, W, 3) float32`, optical density at 0.25 um per pixel.
        limits: what a nucleated cell must be.

    A box's score is 1 - 0.5 / p, where p is the mean purple of its nucleus by the threshold: 0.75
    for a nucleus twice as purple as the threshold.
    """
    cells, strength = cells_and_nuclei(density, limits)
    tall, wide = cells.shape
    margin = limits.margin_um / UM_PER_PX
    boxes = []
    for label, (rows, columns) in enumerate(ndimage.find_objects(cells), 1):
        nucleus = strength[rows, columns][cells[rows, columns] == label]
        boxes.append(
            Box(
                max(0.0, columns.start - margin),
                max(0.0, rows.start - margin),
                min(float(wide), columns.stop + margin),
                min(float(tall), rows.stop + margin),
                score=float(1 - 0.5 / nucleus[nucleus > 0].mean()),
            )
        )
    return boxes


def cells_and_nuclei(density: np.ndarray, limits: Limits) -> tuple[np.ndarray, np.ndarray]:
    """Label the cells of a field `(H, W) int32`, and give their nuclei `(H, W) float32`.

    Nuclei are given as purple by its threshold there: 1 or more, and 0 outside.
    """
    stain = ndimage.gaussian_filter(purple(density), 1.0)
    limit = max(split(stain[density[..., 1] > 0.1], 0.0, 2.0), limits.least_purple)
    nuclei = ndimage.binary_opening(stain > limit, _disc(0.4))
    cells = _parted(_bodies(nuclei, stain, limit, limits), limits)
    areas = np.bincount(cells[nuclei], minlength=int(cells.max()) + 1) * UM_PER_PX**2
    keep = areas >= limits.least_area_um2
    keep[0] = False
    return (np.cumsum(keep) * keep).astype(np.int32)[cells], np.where(nuclei, stain / limit, 0)


def _disc(um: float) -> np.ndarray:
    radius = max(1, round(um / UM_PER_PX))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius)


def _bodies(nuclei: np.ndarray, stain: np.ndarray, limit: float, limits: Limits) -> np.ndarray:
    """Mark nuclei and the purple around them, without gaps and holes."""
    near = ndimage.distance_transform_edt(~nuclei) * UM_PER_PX < limits.reach_um
    body = (ndimage.binary_opening(stain > limit * limits.body, _disc(0.8)) & near) | nuclei
    pad = 2 * round(limits.join_um / UM_PER_PX)
    closed = ndimage.binary_closing(np.pad(body, pad, mode="edge"), _disc(limits.join_um))
    return np.asarray(ndimage.binary_fill_holes(closed)[pad:-pad, pad:-pad])


def _parted(body: np.ndarray, limits: Limits) -> np.ndarray:
    """Part cells that touch: labels of the same shape, 0 outside."""
    blobs, _ = ndimage.label(body)
    depth = ndimage.gaussian_filter(
        ndimage.distance_transform_edt(np.pad(body, 1, mode="edge"))[1:-1, 1:-1], 1.0
    )
    labels, number = np.zeros(body.shape, np.int32), 0
    for blob, place in enumerate(ndimage.find_objects(blobs), 1):
        inside = blobs[place] == blob
        middles = _middles(np.where(inside, depth[place], 0), limits.saddle)
        rows, columns = np.nonzero(inside)
        # a pixel belongs to the disc into which it reaches the deepest (power distance)
        away = [(rows - y) ** 2 + (columns - x) ** 2 - r**2 for y, x, r in middles]
        labels[place][inside] = number + 1 + np.argmin(away, axis=0)
        number += len(middles)
    return labels


def _middles(depth: np.ndarray, saddle: float) -> list[tuple[int, int, float]]:
    """Give the middles of cells in a blob, with the radius there, in pixels; the widest first."""
    peaks = (depth == ndimage.maximum_filter(depth, 5)) & (depth > 0)
    places = sorted(np.argwhere(peaks).tolist(), key=lambda at: -depth[at[0], at[1]])
    middles: list[tuple[int, int, float]] = []
    for y, x in places:
        radius = float(depth[y, x])
        if all(_narrowest(depth, (y, x), other[:2]) < saddle * radius for other in middles):
            middles.append((y, x, radius))
    return middles


def _narrowest(depth: np.ndarray, one: tuple[int, int], other: tuple[int, int]) -> float:
    """Give the least depth on the line between two pixels."""
    steps = max(abs(one[0] - other[0]), abs(one[1] - other[1])) + 1
    rows = np.linspace(one[0], other[0], steps).round().astype(int)
    columns = np.linspace(one[1], other[1], steps).round().astype(int)
    return float(depth[rows, columns].min())
