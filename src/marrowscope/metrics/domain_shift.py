"""How much worse a model is on cells of another source, on the classes that both have."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from marrowscope.metrics.classification import (
    LEAST_GROUPS,
    Interval,
    Matrix,
    accuracy,
    confusion_matrix,
    draws,
    macro,
    percentile_interval,
)
from marrowscope.metrics.ranking import Floats, Indices
from marrowscope.metrics.scores import Answers

NOT_SHOWN = "no drop shown"
TOO_FEW = "too few to tell"
NOTHING_SHARED = "no class has enough cells in both"
UNNAMED = "unnamed source"
FIGURES = ("macro_f1", "accuracy", "macro_recall")


@dataclass(frozen=True)
class Domain:
    """Figures (0..1) of one set beside those of a reference, and how much lower they are.

    All are on the cells of the shared classes alone. A drop is reference minus set: above 0, the
    model is worse on the set.
    """

    name: str
    reference: str
    cells: int
    cells_reference: int
    classes: tuple[str, ...]
    """Those of which both sets have enough cells."""
    macro_f1: Interval
    macro_f1_reference: Interval
    drop: Interval
    """Of macro-F1."""
    accuracy: Interval
    accuracy_reference: Interval
    accuracy_drop: Interval
    macro_recall: Interval
    macro_recall_reference: Interval
    macro_recall_drop: Interval
    """Unlike the other two, it does not depend on how frequent the classes are in the sets."""
    verdict: str
    """In words, of macro-F1."""


@dataclass(frozen=True)
class _Measured:
    """Figures of one set on the shared classes, as they are and in each draw of its groups."""

    cells: int
    groups: int
    value: Floats
    """(3,) in the order of `FIGURES`."""
    drawn: Floats
    """(rounds, 3)."""

    def interval(self, figure: int) -> Interval:
        return percentile_interval(float(self.value[figure]), self.drawn[:, figure].tolist())

    def drop_to(self, other: "_Measured", figure: int) -> Interval:
        drop = self.value[figure] - other.value[figure]
        if min(self.groups, other.groups) < LEAST_GROUPS:
            return Interval(float(drop), math.nan, math.nan)
        drawn = self.drawn[:, figure] - other.drawn[:, figure]
        return percentile_interval(float(drop), drawn.tolist())


def most_trained(images: Mapping[str, Mapping[str, int]], names: Sequence[str]) -> str:
    """Name the set whose source has most training cells; empty if none has any.

    `images` counts cells by class for columns such as `train mll`, as a bundle's origin does.
    Of `{"train mll": {"BLA": 9}, "train pbc": {"EOS": 5}}`, it is `mll`.
    """
    column_of = {name: f"train {'' if name == UNNAMED else name}" for name in names}
    trained = {name: sum(images.get(column_of[name], {}).values()) for name in names}
    best = max(trained, key=lambda name: trained[name], default="")
    return best if trained.get(best) else ""


def drops(
    sets: Mapping[str, Answers],
    classes: Sequence[str],
    reference: str,
    *,
    least_support: int,
    rounds: int,
    seed: int,
) -> tuple[Domain, ...]:
    """Compare each set with the reference, on the classes of which both have enough cells.

    The macro means run over these classes; a prediction of any other counts as wrong. The
    intervals come from independent draws of groups in either set, as their cells differ: with
    macro-F1 0.8 and 0.7, the drop is 0.1, and its interval is mostly wider than either one's
    alone. Its limits are NaN where a set has fewer than 5 groups. Without the reference among the
    sets, there is nothing to compare.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 8 (two samples).
    """
    if reference not in sets:
        return ()
    return tuple(
        _domain(name, reference, sets, classes, least_support, rounds=rounds, seed=seed)
        for name in sets
        if name != reference
    )


def _domain(
    name: str,
    reference: str,
    sets: Mapping[str, Answers],
    classes: Sequence[str],
    least_support: int,
    *,
    rounds: int,
    seed: int,
) -> Domain:
    pair = (sets[reference], sets[name])
    enough = [np.bincount(side.truth, minlength=len(classes)) >= least_support for side in pair]
    shared = np.flatnonzero(enough[0] & enough[1])
    first, other = (
        _measure(side, shared, len(classes), rounds, seed + place)
        for place, side in enumerate(pair)
    )
    figures: dict[str, Interval] = {}
    for place, figure in enumerate(FIGURES):
        figures[figure] = other.interval(place)
        figures[f"{figure}_reference"] = first.interval(place)
        drop = "drop" if figure == "macro_f1" else f"{figure}_drop"
        figures[drop] = first.drop_to(other, place)
    return Domain(
        name=name,
        reference=reference,
        cells=other.cells,
        cells_reference=first.cells,
        classes=tuple(classes[index] for index in shared.tolist()),
        verdict=_in_words(figures["drop"]),
        **figures,
    )


def _measure(cells: Answers, shared: Indices, classes: int, rounds: int, seed: int) -> _Measured:
    of_shared = np.isin(cells.truth, shared)
    if not of_shared.any():
        nothing = np.full(len(FIGURES), np.nan)
        return _Measured(0, 0, nothing, nothing[None])
    truth, predicted = cells.truth[of_shared], cells.predicted[of_shared]
    groups = np.unique(cells.groups[of_shared], return_inverse=True)[1]
    pairs, size = truth * classes + predicted, classes * classes
    drawn = [
        _figures(np.bincount(pairs, times, size).reshape(classes, classes), shared)
        for times in draws(groups, rounds, seed)
    ]
    whole = confusion_matrix(truth.tolist(), predicted.tolist(), classes)
    count = int(groups.max()) + 1
    return _Measured(len(truth), count, np.array(_figures(whole, shared)), np.array(drawn))


def _figures(matrix: Matrix, shared: Indices) -> tuple[float, float, float]:
    means = macro(matrix, shared.tolist())
    return means.f1, accuracy(matrix), means.recall


def _in_words(drop: Interval) -> str:
    """Say what was shown: "worse by 0.9 to 5.4 points of macro-F1"."""
    if math.isnan(drop.value):
        return NOTHING_SHARED
    if math.isnan(drop.low):
        return TOO_FEW
    low, high = 100 * drop.low, 100 * drop.high
    if drop.low > 0:
        return f"worse by {low:.1f} to {high:.1f} points of macro-F1"
    if drop.high < 0:
        return f"better by {-high:.1f} to {-low:.1f} points of macro-F1"
    return f"{NOT_SHOWN} ({low:z.1f} to {high:z.1f} points of macro-F1)"
