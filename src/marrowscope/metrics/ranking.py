"""Figures of merit that need every class's probability, by scikit-learn's definitions."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
ROUNDING = 1e-9
"""Share of all weights below which a class's weight is a rounding error."""


def top_k_hits(truth: Indices, probabilities: Floats, k: int = 2) -> NDArray[np.bool_]:
    """Tell for each cell (N,) whether its true class is among the k most probable of (N, C).

    Of equal probabilities the later class in the list comes first, as in scikit-learn.
    """
    first = np.argsort(probabilities, axis=1, kind="stable")[:, -k:]
    return np.asarray((first == truth[:, None]).any(axis=1))


class Ranking:
    """Cells sorted once by each class's probability, to be measured under many weights."""

    def __init__(self, truth: Indices, probabilities: Floats) -> None:
        """Sort N cells with true classes (N,) by probabilities (N, C)."""
        cells, self._classes = probabilities.shape
        self._order = np.argsort(-probabilities, axis=0, kind="stable").T.copy()
        sorted_cells: list[Indices] = []
        places: list[Indices] = []
        start = 0
        for index, order in enumerate(self._order):
            members = order[truth[order] == index]
            falling, own = -probabilities[order, index], -probabilities[members, index]
            sorted_cells.append(members)
            places.append(
                np.stack([
                    np.searchsorted(falling, own, side="left") + index * (cells + 1),
                    np.searchsorted(falling, own, side="right") + index * (cells + 1),
                    np.searchsorted(own, own, side="left") + start,
                    np.searchsorted(own, own, side="right") + start,
                ])
            )  # fmt: skip
            start += len(members)
        self._cells = np.concatenate(sorted_cells)
        self._class = truth[self._cells]
        self._before, self._until, self._own_before, self._own_until = np.hstack(places)

    def auroc_and_average_precision(self, weights: Floats) -> tuple[Floats, Floats]:
        """Give the one-vs-rest AUROC and average precision (C,) of cells with weights (N,).

        Of three cells with probabilities .9, .8 and .7 of which the first and the last are of
        the class, one of two pairs is in the right order: AUROC 1/2; and the precision is 1/1 at
        the first and 2/3 at the last: average precision (1/1 + 2/3) / 2 = 5/6. Equal
        probabilities count half in the AUROC and are one step of the average precision. AUROC is
        NaN for a class without cells or without others, average precision without cells.

        Source: Hanley and McNeil, Radiology 1982;143:29-36 (AUROC).
        """
        above = np.zeros((self._classes, len(weights) + 1))
        np.cumsum(weights[self._order], axis=1, out=above[:, 1:])
        total, flat = float(above[0, -1]), above.ravel()
        own = weights[self._cells]
        right = np.concatenate(([0.0], np.cumsum(own)))
        first = np.searchsorted(self._class, np.arange(self._classes + 1))
        positive = np.diff(right[first])
        begin = right[first[self._class]]
        right_before, right_until = right[self._own_before] - begin, right[self._own_until] - begin
        all_until = flat[self._until]
        wrong = (flat[self._before] - right_before + all_until - right_until) / 2
        precision = np.divide(right_until, all_until, out=np.zeros_like(own), where=all_until > 0)
        negative = total - positive
        below = negative[self._class] - wrong
        with np.errstate(invalid="ignore", divide="ignore"):
            area = self._sum(own * below) / (positive * negative)
            mean_precision = self._sum(own * precision) / positive
        return (
            np.where((positive > 0) & (negative > ROUNDING * total), area, np.nan),
            np.where(positive > 0, mean_precision, np.nan),
        )

    def _sum(self, values: Floats) -> Floats:
        """Add up values of the sorted cells by true class."""
        sums = np.bincount(self._class, weights=values, minlength=self._classes)
        return sums.astype(np.float64)
