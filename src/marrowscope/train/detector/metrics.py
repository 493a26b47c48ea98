"""How well found boxes agree with those that people drew."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marrowscope.detection.boxes import CELL, Box, iou

LEAST = 0.5
"""IoU of a found box with a drawn one for both to be of one cell."""


@dataclass(frozen=True)
class Agreement:
    """Counts of one field, or of several together."""

    hits: int
    """Found boxes that are of a drawn nucleated cell; each drawn one counts once."""
    found: int
    drawn: int
    taken: int
    """Found boxes that are of a red cell or a platelet."""
    others: int
    """Red cells and platelets that were drawn."""

    @property
    def precision(self) -> float:
        """Hits by found; 1 where nothing was found."""
        return self.hits / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Hits by drawn; 1 where nothing was drawn."""
        return self.hits / self.drawn if self.drawn else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both: 3 hits of 4 found and 5 drawn are 2 * 3 / (4 + 5) = 0.667."""
        return 2 * self.hits / (self.found + self.drawn) if self.found + self.drawn else 1.0


def agree(detected: Sequence[Box], drawn: Sequence[Box]) -> Agreement:
    """Match found boxes, the surest first, each with the drawn cell left that it overlaps most."""
    cells = [box for box in drawn if box.label == CELL]
    others = [box for box in drawn if box.label != CELL]
    left, hits, taken = set(range(len(cells))), 0, 0
    for box in sorted(detected, key=lambda each: -each.score):
        best = max(left, key=lambda place: iou(box, cells[place]), default=None)
        if best is not None and iou(box, cells[best]) >= LEAST:
            left.remove(best)
            hits += 1
        elif any(iou(box, other) >= LEAST for other in others):
            taken += 1
    return Agreement(hits, len(detected), len(cells), taken, len(others))


def together(fields: Sequence[Agreement]) -> Agreement:
    """Add up the counts of fields."""
    counts = [(field.hits, field.found, field.drawn, field.taken, field.others) for field in fields]
    hits, found, drawn, taken, others = (sum(column) for column in zip(*counts, strict=True))
    return Agreement(hits, found, drawn, taken, others)


def interval(fields: Sequence[Agreement], rounds: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Give 95% limits of F1: percentiles over fields drawn anew with replacement."""
    random = np.random.default_rng(seed)
    draws = random.integers(len(fields), size=(rounds, len(fields)))
    values = [together([fields[place] for place in draw]).f1 for draw in draws.tolist()]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
