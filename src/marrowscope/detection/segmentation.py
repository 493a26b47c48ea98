"""Outlines of found cells: what is stained like the cell inside its box."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope.detection.boxes import Box
from marrowscope.detection.nuclei import Limits, cells_and_nuclei
from marrowscope.io.tables import write_json

Outline = tuple[tuple[float, float], ...]
"""Corners of a polygon, x and y in pixels."""
RAYS = 48
LEAST_FILLED = 0.4
"""Share of the box that the stain must fill; else the ellipse in the box is the outline."""
INSIDE = 0.6
"""Share of a stained body inside the box for the body to be the cell's."""


def outlines_of(density: np.ndarray, boxes: Sequence[Box]) -> list[Outline]:
    """Draw the outline of each box's cell: a polygon that sees its middle from everywhere.

    Args:
        density: `(H, W, 3) float32`, optical density at 0.25 um per pixel.
        boxes: in its pixels.
    """
    if not boxes:
        return []
    bodies, _ = cells_and_nuclei(density, Limits())
    areas = np.bincount(bodies.ravel(), minlength=2)
    return [_outline(bodies, areas, box) for box in boxes]


def _outline(bodies: np.ndarray, areas: np.ndarray, box: Box) -> Outline:
    x0, y0 = int(box.x0), int(box.y0)
    part = bodies[y0 : int(np.ceil(box.y1)), x0 : int(np.ceil(box.x1))]
    counts = np.bincount(part.ravel(), minlength=2)
    label = 1 + int(counts[1:].argmax())
    if counts[label] < max(LEAST_FILLED * part.size, INSIDE * areas[label]):
        return _ellipse(box)
    return _seen_from_middle(part == label, x0, y0)


def _angles() -> np.ndarray:
    return np.arange(RAYS) * 2 * np.pi / RAYS


def _ellipse(box: Box) -> Outline:
    x, y = box.centre
    across, down = (box.x1 - box.x0) / 2, (box.y1 - box.y0) / 2
    return tuple(
        (float(x + across * np.cos(angle)), float(y + down * np.sin(angle))) for angle in _angles()
    )


def _seen_from_middle(mask: np.ndarray, x0: int, y0: int) -> Outline:
    """Go along rays from the mask's middle to where it is left last."""
    rows, columns = np.nonzero(mask)
    y, x = rows.mean(), columns.mean()
    steps = np.arange(0, np.hypot(*mask.shape), 0.5)
    corners = []
    for angle in _angles():
        at_x, at_y = x + steps * np.cos(angle), y + steps * np.sin(angle)
        in_x, in_y = at_x.round().astype(int), at_y.round().astype(int)
        inside = (in_x >= 0) & (in_y >= 0) & (in_x < mask.shape[1]) & (in_y < mask.shape[0])
        hit = np.flatnonzero(mask[in_y[inside], in_x[inside]])
        far = steps[hit[-1]] + 0.5 if len(hit) else 0.5
        corners.append(
            (float(x0 + x + 0.5 + far * np.cos(angle)), float(y0 + y + 0.5 + far * np.sin(angle)))
        )
    return tuple(corners)


def write_outlines(file: Path, boxes: Sequence[Box], outlines: Sequence[Outline]) -> None:
    """Write outlines as GeoJSON in pixels of the field, as QuPath reads them.

    Source: RFC 7946; QuPath's names of properties.
    """
    features = [_feature(box, outline) for box, outline in zip(boxes, outlines, strict=True)]
    write_json(file, {"type": "FeatureCollection", "features": features})


def _feature(box: Box, outline: Outline) -> Mapping[str, Any]:
    corners = [[round(x, 1), round(y, 1)] for x, y in outline]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [[*corners, corners[0]]]},
        "properties": {
            "objectType": "detection",
            "classification": {"name": box.label},
            "measurements": {"score": round(box.score, 4)},
        },
    }
