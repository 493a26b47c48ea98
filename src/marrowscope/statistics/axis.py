"""The axis of a page's differences, the same way on both sides of 0."""

from collections.abc import Iterable
from dataclasses import dataclass

ENDS = (1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100)
"""Points at which an axis may end, on both sides of 0."""


@dataclass(frozen=True)
class Axis:
    """An axis from -limit to limit points."""

    limit: int

    def x(self, points: float) -> str:
        """Place a difference: `0%` is the left end, `50%` no difference; what is off is at an end.

        On an axis of 10 points, 5 points lie at `75.00%`.
        """
        inside = max(-self.limit, min(self.limit, points))
        return f"{50 + 50 * inside / self.limit:.2f}%"


def axis_for(points: Iterable[float]) -> Axis:
    """Give the shortest axis that holds these differences, at most 100 points a side."""
    widest = max((abs(each) for each in points), default=0.0)
    return Axis(next((end for end in ENDS if end >= widest - 1e-9), ENDS[-1]))
