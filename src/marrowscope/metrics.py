"""Figures of merit, by scikit-learn's definitions, and their intervals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Matrix = NDArray[np.int64]
"""Confusion matrix (C, C): rows are true classes, columns are predicted ones; counts."""


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
    total = int(matrix.sum())
    return float(np.trace(matrix)) / total if total else float("nan")


def per_class(matrix: Matrix) -> list[ClassFigures]:
    """Precision, recall and F1 of each class; 0 where the denominator is 0.

    Of `[[1, 1], [0, 1]]`, class 0 has precision 1/1, recall 1/2 and F1 2*1/(2*1+0+1) = 2/3.
    """
    right = np.diag(matrix).astype(float)
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    recall = np.divide(right, true, out=np.zeros_like(right), where=true > 0)
    both = true + predicted
    f1 = np.divide(2 * right, both, out=np.zeros_like(right), where=both > 0)
    return [
        ClassFigures(float(p), float(r), float(f), int(n))
        for p, r, f, n in zip(precision, recall, f1, true, strict=True)
    ]


def macro(matrix: Matrix, classes: Sequence[int] | None = None) -> ClassFigures:
    """Unweighted mean over the given classes (default: all) that have true cells; NaN without.

    Equals scikit-learn's macro average with `labels=` set to those classes: cells of other classes
    still count against the precision of the class they were taken for.
    """
    rows = per_class(matrix)
    chosen = [rows[i] for i in (range(len(rows)) if classes is None else classes)]
    chosen = [row for row in chosen if row.support]
    if not chosen:
        return ClassFigures(float("nan"), float("nan"), float("nan"), 0)
    return ClassFigures(
        float(np.mean([row.precision for row in chosen])),
        float(np.mean([row.recall for row in chosen])),
        float(np.mean([row.f1 for row in chosen])),
        sum(row.support for row in chosen),
    )


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


def bootstrap_intervals(
    figures: Callable[[Matrix], Mapping[str, float]],
    truth: Sequence[int],
    predicted: Sequence[int],
    groups: Sequence[int],
    *,
    classes: int,
    rounds: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile bootstrap of named figures, drawing whole groups (0..G-1) with replacement.

    A figure that is NaN in a round is left out of that round; one that always is has NaN limits.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    drawn_figures = [
        figures(matrix)
        for matrix in _drawn(truth, predicted, groups, classes=classes, rounds=rounds, seed=seed)
    ]
    tail = (1 - level) / 2
    intervals = {}
    for name, value in figures(confusion_matrix(truth, predicted, classes)).items():
        values = np.array([drawn[name] for drawn in drawn_figures])
        known = values[~np.isnan(values)]
        low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (value, value)
        intervals[name] = Interval(value, float(low), float(high))
    return intervals


def paired_difference(
    figure: Callable[[Matrix], float],
    truth: Sequence[int],
    one: Sequence[int],
    other: Sequence[int],
    groups: Sequence[int],
    *,
    classes: int,
    rounds: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Bootstrap how much better one set of predictions is than another in one figure."""
    return paired_differences(
        lambda matrix: {"": figure(matrix)},
        truth,
        one,
        other,
        groups,
        classes=classes,
        rounds=rounds,
        seed=seed,
        level=level,
    )[""]


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
        _drawn(truth, each, groups, classes=classes, rounds=rounds, seed=seed)
        for each in (one, other)
    )
    found = [(figures(a), figures(b)) for a, b in zip(*drawn, strict=True)]
    first, second = (figures(confusion_matrix(truth, each, classes)) for each in (one, other))
    tail = (1 - level) / 2
    differences = {}
    for name, value in first.items():
        values = [a[name] - b[name] for a, b in found]
        low, high = np.nanquantile(values, [tail, 1 - tail])
        differences[name] = Interval(value - second[name], float(low), float(high))
    return differences


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
    group = np.asarray(groups, dtype=np.int64)
    count = int(group.max()) + 1
    random = np.random.default_rng(seed)
    for _ in range(rounds):
        times = np.bincount(random.integers(0, count, count), minlength=count)
        cells = np.bincount(pairs, weights=times[group], minlength=classes * classes)
        yield cells.astype(np.int64).reshape(classes, classes)
