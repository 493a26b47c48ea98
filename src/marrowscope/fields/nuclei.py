"""Find nucleated cells without a model: purple nuclei, and the cell body around each."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from marrowscope.fields.boxes import Box
from marrowscope.fields.stain import background, densities, purple, split

UM_PER_PX = 0.25
"""Scale at which nuclei are looked for."""


@dataclass(frozen=True)
class Limits:
    """What a nucleated cell must be."""

    least_purple: float = 0.25
    """Lowest threshold of purple for a nucleus, in optical density."""
    body: float = 0.45
    """Threshold of the cell's body by that of the nucleus."""
    least_area_um2: float = 12.0
    """Of a nucleus; platelets are smaller."""
    join_um: float = 1.5
    """Lobes of one nucleus lie closer than twice this."""
    margin_um: float = 0.6
    """What the box is larger than the body on each side."""
    apart_um: float = 3.5
    """Least distance between the middles of two touching nuclei."""


def find_nucleated(pixels: np.ndarray, limits: Limits) -> list[Box]:
    """Find the nucleated cells of a field.

    Args:
        pixels: `(H, W, 3) uint8`, RGB, at `UM_PER_PX`.
        limits: what a nucleated cell must be.
    """
    density = densities(pixels, background(pixels))
    stain = ndimage.gaussian_filter(purple(density), 1.0)
    limit = max(split(stain[density[..., 1] > 0.1], 0.0, 2.0), limits.least_purple)
    seeds, number = _seeds(stain > limit, limits)
    if not number:
        return []
    body = _bodies(seeds, stain, limit * limits.body)
    return _boxes(seeds, body, stain, limit, limits)


def _disc(um: float) -> np.ndarray:
    radius = max(1, round(um / UM_PER_PX))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(x * x + y * y <= radius * radius)


def _seeds(nuclei: np.ndarray, limits: Limits) -> tuple[np.ndarray, int]:
    """Join the lobes of a nucleus and part nuclei that touch; give labels and their number."""
    nuclei = ndimage.binary_opening(nuclei, _disc(0.4))
    pad = 2 * round(limits.join_um / UM_PER_PX)
    joined = ndimage.binary_closing(np.pad(nuclei, pad, mode="edge"), _disc(limits.join_um))
    joined = ndimage.binary_fill_holes(joined)[pad:-pad, pad:-pad]
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(joined), 2.0)
    size = 2 * round(limits.apart_um / UM_PER_PX) + 1
    peaks = (depth == ndimage.maximum_filter(depth, size)) & joined
    markers, _ = ndimage.label(peaks, np.ones((3, 3)))
    cost = np.clip(255 - 4 * depth, 0, 255).astype(np.uint8)
    labels = ndimage.watershed_ift(cost, (markers - (~joined)).astype(np.int32))
    labels[labels < 0] = 0
    labels[~nuclei] = 0
    return _without_small(labels, limits.least_area_um2)


def _without_small(labels: np.ndarray, least_um2: float) -> tuple[np.ndarray, int]:
    areas = np.bincount(labels.ravel()) * UM_PER_PX**2
    keep = areas >= least_um2
    keep[0] = False
    renamed = np.cumsum(keep) * keep
    return renamed[labels], int(keep.sum())


def _bodies(seeds: np.ndarray, stain: np.ndarray, limit: float) -> np.ndarray:
    """Let each nucleus grow into what is purple around it: labels of the same shape."""
    around = ndimage.binary_opening(stain > limit, _disc(0.8)) | (seeds > 0)
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    grown = seeds[tuple(nearest)]
    reach = distance * UM_PER_PX < 4.0
    return np.where(around & reach, grown, 0)


def _boxes(
    seeds: np.ndarray, body: np.ndarray, stain: np.ndarray, limit: float, limits: Limits
) -> list[Box]:
    margin = limits.margin_um / UM_PER_PX
    tall, wide = seeds.shape
    found = []
    for label, place in enumerate(ndimage.find_objects(body), 1):
        if place is None:
            continue
        rows, columns = place
        strength = float(stain[place][seeds[place] == label].mean())
        found.append(
            Box(
                max(0.0, columns.start - margin),
                max(0.0, rows.start - margin),
                min(float(wide), columns.stop + margin),
                min(float(tall), rows.stop + margin),
                score=float(np.clip(1 - 0.5 * limit / max(strength, 1e-6), 0, 1)),
            )
        )
    return found
