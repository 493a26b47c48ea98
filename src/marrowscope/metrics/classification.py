"""Figures of merit, by scikit-learn's definitions, and their intervals."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Matrix = NDArray[np.int64] | NDArray[np.float64]
"""Confusion matrix (C, C): rows are true classes, columns are predicted ones; counts or weights."""
Shares = NDArray[np.float64]
"""One figure of each class (C,), 0..1."""
LEAST_GROUPS = 5
"""Below it, draws of whole groups are too few and too alike for an interval of 95%."""


@dataclass(frozen=True)
class Interval:
    """A figure with the limits of its interval, all on the figure's own scale."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ClassFigures:
    """Precision, recall and F1 (0..1) of one class, and its number of true cells."""

    precision: float
    recall: float
    f1: float
    support: int


def confusion_matrix(truth: Sequence[int], predicted: Sequence[int], classes: int) -> Matrix:
    """Count (true, predicted) pairs of class indices 0..classes-1 into a (C, C) matrix.

    `confusion_matrix([0, 0, 1], [0, 1, 1], 2)` is `[[1, 1], [0, 1]]`.
    """
    cells = np.asarray(truth, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def accuracy(matrix: Matrix) -> float:
    """Share of cells on the diagonal, 0..1; NaN without cells."""
    total = float(matrix.sum())
    return float(np.trace(matrix)) / total if total else float("nan")


def precision(matrix: Matrix) -> Shares:
    """Of the cells taken for each class, the share that is of it; 0 where none was."""
    return _share(np.diag(matrix), matrix.sum(axis=0))


def recall(matrix: Matrix) -> Shares:
    """Of the true cells of each class, the share that was found; 0 where there are none."""
    return _share(np.diag(matrix), matrix.sum(axis=1))


def f1_score(matrix: Matrix) -> Shares:
    """Harmonic mean of precision and recall of each class; 0 for a class that is nowhere."""
    return _share(2 * np.diag(matrix), matrix.sum(axis=0) + matrix.sum(axis=1))


def _share(part: NDArray[Any], whole: NDArray[Any]) -> Shares:
    return np.asarray(np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0))


def per_class(matrix: Matrix) -> list[ClassFigures]:
    """Precision, recall and F1 of each class; 0 where the denominator is 0.

    Of `[[1, 1], [0, 1]]`, class 0 has precision 1/1, recall 1/2 and F1 2*1/(2*1+0+1) = 2/3.
    """
    columns = (precision(matrix), recall(matrix), f1_score(matrix), matrix.sum(axis=1))
    return [
        ClassFigures(float(p), float(r), float(f), int(n))
        for p, r, f, n in zip(*columns, strict=True)
    ]


def macro(matrix: Matrix, classes: Sequence[int] | None = None) -> ClassFigures:
    """Unweighted mean over the given classes (default: all) that have true cells; NaN without.

    Equals scikit-learn's macro average with `labels=` set to those classes: cells of other classes
    still count against the precision of the class they were taken for.
    """
    support = matrix.sum(axis=1)
    chosen = np.arange(len(matrix)) if classes is None else np.asarray(classes, dtype=np.int64)
    chosen = chosen[support[chosen] > 0]
    if not len(chosen):
        return ClassFigures(float("nan"), float("nan"), float("nan"), 0)
    p, r, f = (float(figure(matrix)[chosen].mean()) for figure in (precision, recall, f1_score))
    return ClassFigures(p, r, f, int(support[chosen].sum()))


def weighted(matrix: Matrix) -> ClassFigures:
    """Mean over all classes, each weighted by its true cells; NaN without cells.

    Of `[[1, 1], [0, 1]]`, precision is (2 * 1/1 + 1 * 1/2) / 3 = 5/6. Weighted recall is accuracy.
    """
    support = matrix.sum(axis=1)
    total = float(support.sum())
    if not total:
        return ClassFigures(float("nan"), float("nan"), float("nan"), 0)
    p, r, f = (float(figure(matrix) @ support) / total for figure in (precision, recall, f1_score))
    return ClassFigures(p, r, f, int(total))


def balanced_accuracy(matrix: Matrix) -> float:
    """Mean recall of all classes that have true cells, however few; NaN without cells.

    Of `[[1, 1], [0, 1]]`: (1/2 + 1/1) / 2 = 3/4.

    Source: Brodersen et al., ICPR 2010:3121-3124.
    """
    return macro(matrix).recall


def cohen_kappa(matrix: Matrix) -> float:
    """Agreement beyond what the two class mixes give by chance: 1 all, 0 as by chance.

    Of `[[1, 1], [0, 1]]`, 2/3 agree and (2*1 + 1*2) / 3**2 = 4/9 would by chance:
    (2/3 - 4/9) / (1 - 4/9) = 2/5. NaN without cells, or where all are one class on both sides.

    Source: Cohen, Educ Psychol Meas 1960;20:37-46.
    """
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    total = float(true.sum())
    if not total:
        return float("nan")
    by_chance = float(true @ predicted) / total**2
    if np.isclose(by_chance, 1.0, rtol=0, atol=1e-12):
        return float("nan")
    return (accuracy(matrix) - by_chance) / (1 - by_chance)


def matthews_correlation(matrix: Matrix) -> float:
    """Correlation of true and predicted class, -1..1; 0 where one side has a single class.

    Of `[[1, 1], [0, 1]]`: (2*3 - (2*1 + 1*2)) / sqrt((9 - (4+1)) * (9 - (1+4))) = 2/4. NaN without
    cells.

    Source: Gorodkin, Comput Biol Chem 2004;28:367-374.
    """
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    total = float(true.sum())
    if not total:
        return float("nan")
    together = float(np.trace(matrix)) * total - float(true @ predicted)
    spread = (total**2 - float(true @ true)) * (total**2 - float(predicted @ predicted))
    return together / math.sqrt(spread) if spread > 1e-12 * total**4 else 0.0


@lru_cache(maxsize=4096)
def exact_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Clopper-Pearson interval of a share, 0..1; (NaN, 0, 1) without trials.

    25 of 500 cells: 0.05 with limits 0.033 and 0.073.

    Source: Clopper and Pearson, Biometrika 1934;26:404; Rümke's tables are computed by it.
    """
    if trials == 0:
        return Interval(float("nan"), 0.0, 1.0)
    tail = (1 - level) / 2
    failures = trials - successes
    low = float(betaincinv(successes, failures + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, failures, 1 - tail)) if failures else 1.0
    return Interval(successes / trials, low, high)


def percentile_interval(value: float, drawn: Sequence[float], level: float = 0.95) -> Interval:
    """Interval of a figure from its values in the rounds of a bootstrap; NaN rounds are left out.

    Without a round in which it is a number, the limits are NaN.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    values = np.asarray(drawn, dtype=np.float64)
    finite = values[~np.isnan(values)]
    if not len(finite):
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - level) / 2
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def draws(
    groups: Sequence[int] | NDArray[np.int64], rounds: int, seed: int
) -> Iterator[NDArray[np.int64]]:
    """Draw whole groups (0..G-1) with replacement; give how often each cell was drawn, by round."""
    group = np.asarray(groups, dtype=np.int64)
    count = int(group.max()) + 1
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        yield np.bincount(random.integers(0, count, count), minlength=count)[group]


def paired_differences(
    figures: Callable[[Matrix], Mapping[str, float]],
    truth: Sequence[int],
    one: Sequence[int],
    other: Sequence[int],
    groups: Sequence[int],
    *,
    classes: int,
    rounds: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Bootstrap how much better one set of predictions is than another on the same cells.

    Both are measured on the same draws of whole groups (0..G-1), so what is hard for both cancels.
    An interval that lacks 0 tells them apart. A figure that is NaN in a draw is left out of it.
    """
    drawn = (
        _drawn(truth, guesses, groups, classes=classes, rounds=rounds, seed=seed)
        for guesses in (one, other)
    )
    pairs = [(figures(a), figures(b)) for a, b in zip(*drawn, strict=True)]
    first, second = (figures(confusion_matrix(truth, guesses, classes)) for guesses in (one, other))
    return {
        name: percentile_interval(
            value - second[name], [a[name] - b[name] for a, b in pairs], level
        )
        for name, value in first.items()
    }


def _drawn(
    truth: Sequence[int],
    predicted: Sequence[int],
    groups: Sequence[int],
    *,
    classes: int,
    rounds: int,
    seed: int,
) -> Iterator[Matrix]:
    """Give the confusion matrices of draws of whole groups with replacement."""
    pairs = np.asarray(truth, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    for times in draws(groups, rounds, seed):
        cells = np.bincount(pairs, weights=times, minlength=classes * classes)
        yield cells.astype(np.int64).reshape(classes, classes)
