"""Every figure of a set of cells, in each way of scoring and at each class mix, with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import PredictionError
from marrowscope.metrics.classification import (
    Interval,
    Matrix,
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    draws,
    f1_score,
    macro,
    matthews_correlation,
    percentile_interval,
    precision,
    recall,
    weighted,
)
from marrowscope.metrics.ranking import Floats, Indices, Ranking, top_k_hits
from marrowscope.metrics.tolerance import forgiven, lineages

STRICT, TOLERANT, LINEAGE = "strict", "tolerant", "lineage"
TEST, MARROW = "test", "marrow"
OF_SET = ""
"""Stands for a class where a figure is one of the whole set."""

Key = tuple[str, str, str, str]
"""Way of scoring, class mix, class (or `OF_SET`) and name of a figure."""


@dataclass(frozen=True)
class Answers:
    """True and predicted class indices (N,), probabilities (N, C), and groups 0..G-1 (N,)."""

    truth: Indices
    predicted: Indices
    probabilities: Floats
    groups: Indices


@dataclass(frozen=True)
class Score:
    """The figures of one way of scoring at one class mix, each with a 95% interval."""

    scoring: str
    """`strict`, `tolerant` or `lineage`."""
    mix: str
    """`test`: as the cells come; `marrow`: re-weighted to the class mix of a marrow."""
    cells: int
    """Cells that weigh in."""
    macro_classes: tuple[str, ...]
    """Classes (or lineages) in the macro means."""
    figures: dict[str, Interval]
    per_class: dict[str, dict[str, Interval]]
    """Figures of each class (or lineage) that has cells at this mix."""
    support: dict[str, int]
    """Number of true cells of each of them."""

    @property
    def name(self) -> str:
        """Say what was counted as right, and at which class mix."""
        return f"{self.scoring}, {self.mix} mix"


def check_probabilities(probabilities: Floats, names: Sequence[str]) -> None:
    """Check that each of N rows (N, C) holds probabilities that add up to 1.

    Raises:
        PredictionError: a value is no number or outside 0..1, or the sum is not 1 (to 0.001).
    """
    within = ((probabilities >= 0) & (probabilities <= 1)).all(axis=1)
    bad = np.flatnonzero(~(within & (np.abs(probabilities.sum(axis=1) - 1) < 1e-3)))
    if len(bad):
        values = ", ".join(f"{value:.3g}" for value in probabilities[bad[0]])
        raise PredictionError(
            f"{len(bad)} of {len(names)} cells have no probabilities, numbers 0 to 1 that add up "
            f"to 1 (the first: {names[bad[0]]}: {values}); the model or its precision is at "
            "fault: export the bundle again, with --precision fp32 to find out"
        )


def marrow_shares(
    percent: Mapping[str, float], classes: Sequence[str], support: Indices, least_support: int
) -> Floats:
    """Give each class's share (C,) of the marrow mix, 0 for one with too few true cells or none.

    The sum is the part of the mix that the cells stand for: of BLA 20, NGS 60 and LYT 20
    percent, with too few lymphocytes, it is 0.2 + 0.6.
    """
    total = sum(percent.values())
    shares = np.array([percent.get(code, 0.0) / total for code in classes])
    return np.where(support >= least_support, shares, 0.0)


def score(
    cells: Answers,
    classes: Sequence[str],
    shares: Floats,
    *,
    least_support: int,
    rounds: int,
    seed: int,
) -> tuple[Score, ...]:
    """Score cells strictly, tolerantly and by lineage, at their own mix and at the marrow's.

    The intervals come from one bootstrap over groups for all figures. The macro means run over
    classes with at least `least_support` true cells. `shares` (C,) is the marrow mix; a class
    with share 0 weighs nothing in it.
    """
    ways = _ways(cells, classes, least_support)
    once = np.ones(len(cells.truth))
    whole = _figures(ways, cells.truth, once, shares)
    drawn: dict[Key, list[float]] = {key: [] for key in whole}
    for times in draws(cells.groups, rounds, seed):
        sets = _figures(ways, cells.truth, times.astype(np.float64), shares)
        for key, values in drawn.items():
            values.append(sets.get(key, np.nan))
    intervals = {key: percentile_interval(value, drawn[key]) for key, value in whole.items()}
    at_mix = {TEST: once, MARROW: marrow_weights(once, cells.truth, shares)}
    return tuple(
        way.score(scoring, mix, weights, intervals)
        for mix, weights in at_mix.items()
        if weights is not None
        for scoring, way in ways.items()
    )


def marrow_weights(times: Floats, truth: Indices, shares: Floats) -> Floats | None:
    """Weigh cells (N,), drawn so many times each, so that true classes have the shares (C,).

    Of three cells of classes 0, 0 and 1 with shares .2 and .8: .1, .1 and .8. None where a class
    with a share was not drawn, or no class has a share.
    """
    drawn = np.bincount(truth, weights=times, minlength=len(shares))
    wanted = shares > 0
    if not wanted.any() or (drawn[wanted] == 0).any():
        return None
    of_class = np.divide(shares / shares.sum(), drawn, out=np.zeros_like(shares), where=wanted)
    return np.asarray(times * of_class[truth])


class _Way:
    """One way of scoring: what counts as true and as predicted, ready for many weights."""

    def __init__(
        self,
        names: Sequence[str],
        truth: Indices,
        predicted: Indices,
        least_support: int,
        probabilities: Floats | None = None,
    ) -> None:
        self._names = tuple(names)
        self._truth = truth
        self._pairs = truth * len(names) + predicted
        self._kept = np.bincount(truth, minlength=len(names)) >= least_support
        self._ranking = None if probabilities is None else Ranking(truth, probabilities)
        self._hits = None if probabilities is None else top_k_hits(truth, probabilities)

    def figures(self, weights: Floats) -> dict[tuple[str, str], float]:
        """Give all figures of cells with weights (N,), by class and name."""
        size = len(self._names)
        counts = np.bincount(self._pairs, weights=weights, minlength=size * size)
        matrix = counts.astype(np.float64).reshape(size, size)
        present = matrix.sum(axis=1) > 0
        of_set = _of_matrix(matrix, np.flatnonzero(self._kept))
        of_class = {
            "precision": precision(matrix),
            "recall": recall(matrix),
            "f1": f1_score(matrix),
        }
        if self._ranking is not None and self._hits is not None:
            area, average = self._ranking.auroc_and_average_precision(weights)
            of_set["top2"] = float(weights @ self._hits) / float(weights.sum())
            of_set["macro_auroc"] = _mean(area[self._kept & present])
            of_set["macro_average_precision"] = _mean(average[self._kept & present])
            of_class |= {"auroc": area, "average_precision": average}
        figures_of = {(OF_SET, name): value for name, value in of_set.items()}
        for name, values in of_class.items():
            for code, value, there in zip(self._names, values.tolist(), present, strict=True):
                if there:
                    figures_of[code, name] = value
        return figures_of

    def score(
        self, scoring: str, mix: str, weights: Floats, intervals: Mapping[Key, Interval]
    ) -> Score:
        """Collect the figures of this way of scoring at one mix."""
        weighing = weights > 0
        support = np.bincount(self._truth[weighing], minlength=len(self._names)).tolist()
        of_class: dict[str, dict[str, Interval]] = {OF_SET: {}}
        for (way, at, code, name), interval in intervals.items():
            if (way, at) == (scoring, mix):
                of_class.setdefault(code, {})[name] = interval
        counted = {code: n for code, n in zip(self._names, support, strict=True) if n}
        matrices = zip(self._names, self._kept, strict=True)
        return Score(
            scoring=scoring,
            mix=mix,
            cells=int(weighing.sum()),
            macro_classes=tuple(code for code, enough in matrices if enough and code in counted),
            figures=of_class.pop(OF_SET),
            per_class=of_class,
            support=counted,
        )


def _ways(cells: Answers, classes: Sequence[str], least_support: int) -> dict[str, _Way]:
    names, lineage_of = lineages(classes)
    merged = np.zeros((len(cells.truth), len(names)))
    for index, lineage in enumerate(lineage_of):
        merged[:, lineage] += cells.probabilities[:, index]
    near = forgiven(cells.truth, cells.predicted, classes)
    return {
        STRICT: _Way(classes, cells.truth, cells.predicted, least_support, cells.probabilities),
        TOLERANT: _Way(classes, cells.truth, near, least_support),
        LINEAGE: _Way(
            names,
            lineage_of[cells.truth],
            lineage_of[cells.predicted],
            least_support,
            merged.round(9),  # equal sums of rounded probabilities are equal again
        ),
    }


def _figures(
    ways: Mapping[str, _Way], truth: Indices, times: Floats, shares: Floats
) -> dict[Key, float]:
    """Give all figures of cells that were drawn so many times each (N,)."""
    at_mix = {TEST: times, MARROW: marrow_weights(times, truth, shares)}
    return {
        (scoring, mix, code, name): value
        for mix, weights in at_mix.items()
        if weights is not None
        for scoring, way in ways.items()
        for (code, name), value in way.figures(weights).items()
    }


def _of_matrix(matrix: Matrix, counts: NDArray[np.int64]) -> dict[str, float]:
    means, by_cells = macro(matrix, counts.tolist()), weighted(matrix)
    return {
        "accuracy": accuracy(matrix),
        "balanced_accuracy": balanced_accuracy(matrix),
        "macro_precision": means.precision,
        "macro_recall": means.recall,
        "macro_f1": means.f1,
        "weighted_precision": by_cells.precision,
        "weighted_recall": by_cells.recall,
        "weighted_f1": by_cells.f1,
        "kappa": cohen_kappa(matrix),
        "mcc": matthews_correlation(matrix),
    }


def _mean(values: Floats) -> float:
    finite = values[~np.isnan(values)]
    return float(finite.mean()) if len(finite) else float("nan")
