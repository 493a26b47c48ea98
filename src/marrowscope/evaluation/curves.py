"""Points of the curves that a page draws: how far probabilities hold, and what refusing gains."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SIDE = 240
"""Of a plot, in units of its drawing."""
MOST_POINTS = 200
"""Of a drawn line, besides its end."""
LARGEST, SMALLEST = 9.0, 2.0
"""Radius of the bin with the most cells, and the least radius, in the same units."""


@dataclass(frozen=True)
class Dot:
    """A bin of probabilities, placed in a plot, in the units of `SIDE`."""

    x: float
    y: float
    radius: float
    words: str


def dots(bins: Sequence[Mapping[str, Any]]) -> list[Dot]:
    """Place bins of `cells`, `confidence` and `accuracy` (0..1); areas go with their cells.

    Bins without cells are left out, and no dot is smaller than `SMALLEST`. A bin of confidence 0.5
    and accuracy 0.25 lies in the middle, three quarters down.
    """
    most = max((bin_["cells"] for bin_ in bins), default=1)
    return [
        Dot(
            x=SIDE * bin_["confidence"],
            y=SIDE * (1 - bin_["accuracy"]),
            radius=max(SMALLEST, LARGEST * (bin_["cells"] / most) ** 0.5),
            words=f"{bin_['cells']:,} cells: promised {bin_['confidence']:.2f}, "
            f"right {bin_['accuracy']:.2f}",
        )
        for bin_ in bins
        if bin_["cells"]
    ]


def top_of(risks: Sequence[Sequence[float]]) -> float:
    """Give the upper end of the axis for (coverage, risk) points, both 0..1.

    It is the highest risk, rounded up to a multiple of 0.05, and 0.05 at least: for risks of 0.02
    and 0.13 it is 0.15.
    """
    highest = max((risk for _, risk in risks), default=0.0)
    return max(1, math.ceil(round(20 * highest, 9))) / 20


def line(points: Sequence[Sequence[float]], top: float) -> str:
    """Give the SVG path of a line through (coverage, risk) points, with `top` at the upper end.

    Higher risks are drawn at that end; without points, it is empty.
    `line([[0, 0], [1, 0.1]], 0.2)` leads from the lower left corner to half way up the right side.
    """
    if not points:
        return ""
    step = max(1, -(-len(points) // MOST_POINTS))
    chosen = [*points[::step], points[-1]]
    places = (f"{SIDE * x:.1f},{SIDE * (1 - min(y, top) / top):.1f}" for x, y in chosen)
    return "M" + "L".join(places)
