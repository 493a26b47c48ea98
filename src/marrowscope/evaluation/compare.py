"""Compare two or more evaluations on one test, cell by cell, with a verdict in words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.stats import binomtest

from marrowscope.errors import ComparisonError
from marrowscope.evaluation.load import Evaluated, Shared, check_one_test, shared, told_apart
from marrowscope.metrics.classification import (
    LEAST_GROUPS,
    Interval,
    Matrix,
    accuracy,
    confusion_matrix,
    macro,
    paired_differences,
    per_class,
)

HEADLINE = ("macro-F1", "accuracy", "balanced accuracy")
RECALL = "recall"
SIGNIFICANT = 0.05
NOT_SHOWN = "no difference shown"
TOO_FEW = "too few to tell"
METHOD = (
    "Differences are of the second bundle minus the first, in points (hundredths). Brackets: "
    "paired 95% intervals, bootstrap over groups ({rounds} rounds, seed {seed}). Macro-F1 and "
    "balanced accuracy (mean recall) run over the classes with at least {least} true cells. A "
    "prediction of a class that not all bundles cover counts as wrong. Recall of a class: exact "
    "McNemar test, p adjusted by Holm over the classes tested; a difference counts as shown if p "
    "is below 0.05 and the interval lacks 0. Classes with fewer than {least} true cells or "
    "{groups} groups are not tested. Several pairs are not adjusted for one another."
)


@dataclass(frozen=True)
class McNemar:
    """Cells of a class that only one of two bundles has right, and how likely by chance alone."""

    only_first: int
    only_other: int
    p: float
    p_holm: float
    """Adjusted over the classes that were tested."""


@dataclass(frozen=True)
class Difference:
    """One figure (0..1) of two bundles, and how much higher it is in the second."""

    figure: str
    code: str
    """Class code; empty for a figure over all."""
    cells: int
    groups: int
    first: float
    other: float
    difference: Interval
    """Its limits are NaN where there are too few cells or groups."""
    better: str
    """Name of the bundle that is shown to be better; empty for neither."""
    verdict: str
    test: McNemar | None = None
    """Of a class that has enough cells and groups; None otherwise, and for a figure over all."""


@dataclass(frozen=True)
class Pair:
    """How a bundle differs from the first one."""

    first: str
    other: str
    headline: tuple[Difference, ...]
    """Figures over all, as in `HEADLINE`."""
    classes: tuple[Difference, ...]
    """Recall of each class that has true cells."""

    def shortly(self, row: Difference) -> str:
        """Give a verdict for a table, in which A is the first bundle and B the other."""
        if row.better:
            return "A is better" if row.better == self.first else "B is better"
        return TOO_FEW if math.isnan(row.difference.low) else NOT_SHOWN


@dataclass(frozen=True)
class Comparison:
    """Differences of bundles on one test, and on what they were measured."""

    evaluations: tuple[Evaluated, ...]
    classes: tuple[str, ...]
    """Those that all bundles cover."""
    macro_classes: tuple[str, ...]
    """Those of them with enough true cells."""
    cells: int
    groups: int
    only_some: int
    """Cells left out because not all evaluations have them."""
    not_covered: dict[str, int]
    """Cells left out because not all bundles cover their class, by class."""
    method: str
    pairs: tuple[Pair, ...]

    @property
    def left_out_in_words(self) -> tuple[str, ...]:
        """Say how many cells were left out, and why; nothing where none was."""
        lines = []
        if self.only_some:
            lines.append(f"{self.only_some:,} cells that only some of the evaluations have")
        if self.not_covered:
            of_class = ", ".join(f"{code} {cells:,}" for code, cells in self.not_covered.items())
            total = sum(self.not_covered.values())
            lines.append(f"{total:,} cells of classes that not all bundles cover ({of_class})")
        return tuple(lines)


@dataclass(frozen=True)
class _Test:
    """The cells compared, as indices into the shared classes; one more stands for all others."""

    classes: tuple[str, ...]
    kept: tuple[int, ...]
    """Classes that enter the macro means."""
    truth: tuple[int, ...]
    groups: tuple[int, ...]

    def groups_of(self, index: int) -> int:
        """Count the groups that hold cells of a class."""
        return len({g for g, t in zip(self.groups, self.truth, strict=True) if t == index})


@dataclass(frozen=True)
class _Guesses:
    """What one bundle took the cells for, as indices like those of the truth."""

    name: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class _Measured:
    """Figures by name (of a class: its code) of two bundles, and how they differ."""

    names: tuple[str, str]
    first: dict[str, float]
    other: dict[str, float]
    differences: dict[str, Interval]


def compare(
    evaluations: Sequence[Evaluated],
    *,
    common: bool = False,
    least_support: int = 10,
    rounds: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare each evaluation with the first, on the classes that all bundles cover.

    Cells that only some evaluations have are an error, or with `common` are left out.

    Raises:
        ComparisonError: there are fewer than two or one twice; they are not of one part of one
            split, or not of the same cells (without `common`); a cell has another class or group
            in one of them; no cell is left of a class that all bundles cover; or no class has
            `least_support` cells.
    """
    check_one_test(evaluations)
    named = told_apart(evaluations)
    ground = shared(named, common)
    test = _test(named[0], ground, least_support)
    first, *others = (_guesses(evaluation, ground) for evaluation in named)
    return Comparison(
        evaluations=tuple(named),
        classes=ground.classes,
        macro_classes=tuple(ground.classes[index] for index in test.kept),
        cells=len(ground.paths),
        groups=len(set(test.groups)),
        only_some=ground.only_some,
        not_covered=ground.not_covered,
        method=METHOD.format(rounds=rounds, seed=seed, least=least_support, groups=LEAST_GROUPS),
        pairs=tuple(_pair(test, first, other, rounds, seed) for other in others),
    )


def mcnemar(only_first: int, only_other: int) -> float:
    """Give the two-sided p of the exact McNemar test: a fair coin decides each discordant pair.

    Of 10 cells that only one of two has right, 9 to 1: 2 * (1 + 10) / 2**10 = 0.0215. Without
    such cells, it is 1.

    Source: McNemar, Psychometrika 1947;12:153; the exact form in Fagerland et al., BMC Medical
    Research Methodology 2013;13:91.
    """
    discordant = only_first + only_other
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, from the smallest up, so that none overtakes a larger one.

    `holm([0.01, 0.04, 0.03])` is `[0.03, 0.06, 0.06]`: 3 * 0.01, then 2 * 0.03, then the larger
    of 1 * 0.04 and the one before.

    Source: Holm, Scandinavian Journal of Statistics 1979;6:65.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(order), 0, -1)
    raised = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(raised, 1.0)
    return [float(p) for p in adjusted]


def _test(first: Evaluated, ground: Shared, least_support: int) -> _Test:
    index_of = {code: index for index, code in enumerate(ground.classes)}
    cells = [first.cells[path] for path in ground.paths]
    truth = [index_of[cell.truth] for cell in cells]
    groups = np.unique([cell.group for cell in cells], return_inverse=True)[1]
    support = np.bincount(truth, minlength=len(index_of))
    indices = tuple(index for index, n in enumerate(support) if n >= least_support)
    if not indices:
        raise ComparisonError(
            f"no class has {least_support} true cells (the most: "
            f"{ground.classes[int(support.argmax())]} with {support.max()}); give a smaller "
            "--least-support, or evaluate on more cells"
        )
    return _Test(ground.classes, indices, tuple(truth), tuple(groups.tolist()))


def _guesses(evaluation: Evaluated, ground: Shared) -> _Guesses:
    index_of = {code: index for index, code in enumerate(ground.classes)}
    labels = (evaluation.cells[path].label for path in ground.paths)
    return _Guesses(evaluation.name, tuple(index_of.get(label, len(index_of)) for label in labels))


def _pair(test: _Test, first: _Guesses, other: _Guesses, rounds: int, seed: int) -> Pair:
    measured = _measure(test, first, other, rounds, seed)
    tests = _mcnemar_tests(test, first, other)
    return Pair(
        first.name,
        other.name,
        tuple(_headline(name, test, measured) for name in HEADLINE),
        tuple(
            _class(index, test, measured, tests.get(code))
            for index, code in enumerate(test.classes)
            if index in test.truth
        ),
    )


def _measure(test: _Test, first: _Guesses, other: _Guesses, rounds: int, seed: int) -> _Measured:
    classes = len(test.classes) + 1
    figures = partial(_figures, test)
    differences = paired_differences(
        figures,
        test.truth,
        other.labels,
        first.labels,
        test.groups,
        classes=classes,
        rounds=rounds,
        seed=seed,
    )
    of_first, of_other = (
        figures(confusion_matrix(test.truth, guesses.labels, classes)) for guesses in (first, other)
    )
    return _Measured((first.name, other.name), of_first, of_other, differences)


def _figures(test: _Test, matrix: Matrix) -> dict[str, float]:
    """Give the headline figures, and by its code the recall of each class."""
    means = macro(matrix, test.kept)
    rows = zip(test.classes, per_class(matrix), strict=False)
    recalls = {code: row.recall if row.support else math.nan for code, row in rows}
    return dict(zip(HEADLINE, (means.f1, accuracy(matrix), means.recall), strict=True)) | recalls


def _mcnemar_tests(test: _Test, first: _Guesses, other: _Guesses) -> dict[str, McNemar]:
    """Test the classes that have enough cells and groups."""
    truth, one, two = (np.array(codes) for codes in (test.truth, first.labels, other.labels))
    counts = {}
    for index in test.kept:
        if test.groups_of(index) >= LEAST_GROUPS:
            of_class = truth == index
            right_one, right_two = one[of_class] == index, two[of_class] == index
            only = int((right_one & ~right_two).sum()), int((right_two & ~right_one).sum())
            counts[test.classes[index]] = only
    p_values = [mcnemar(*only) for only in counts.values()]
    adjusted = zip(counts.items(), p_values, holm(p_values), strict=True)
    return {code: McNemar(*only, p, p_holm) for (code, only), p, p_holm in adjusted}


def _headline(name: str, test: _Test, measured: _Measured) -> Difference:
    groups = len(set(test.groups))
    difference = measured.differences[name]
    shown_difference = difference if groups >= LEAST_GROUPS else _without_limits(difference)
    better = _better(measured.names, shown_difference)
    return Difference(
        figure=name,
        code="",
        cells=len(test.truth),
        groups=groups,
        first=measured.first[name],
        other=measured.other[name],
        difference=shown_difference,
        better=better,
        verdict=_in_words(name, better, shown_difference),
    )


def _class(
    index: int, test: _Test, measured: _Measured, mcnemar_test: McNemar | None
) -> Difference:
    code = test.classes[index]
    difference = measured.differences[code]
    shown_difference = difference if mcnemar_test else _without_limits(difference)
    shown = mcnemar_test is not None and mcnemar_test.p_holm < SIGNIFICANT
    better = _better(measured.names, shown_difference) if shown else ""
    return Difference(
        figure=RECALL,
        code=code,
        cells=test.truth.count(index),
        groups=test.groups_of(index),
        first=measured.first[code],
        other=measured.other[code],
        difference=shown_difference,
        better=better,
        verdict=_in_words(RECALL, better, shown_difference, mcnemar_test),
        test=mcnemar_test,
    )


def _without_limits(difference: Interval) -> Interval:
    return Interval(difference.value, math.nan, math.nan)


def _better(names: tuple[str, str], difference: Interval) -> str:
    """Name the bundle on whose side of 0 the whole interval lies; NaN lies on neither."""
    if difference.low > 0:
        return names[1]
    return names[0] if difference.high < 0 else ""


def _in_words(figure: str, better: str, difference: Interval, test: McNemar | None = None) -> str:
    """Say what was shown: "B is better by 3.1 points of macro-F1 (0.9 to 5.4)"."""
    if math.isnan(difference.low):
        return TOO_FEW
    p = f", p = {test.p_holm:.3f}".replace("= 0.000", "< 0.001") if test else ""
    value, low, high = (
        100 * number for number in (difference.value, difference.low, difference.high)
    )
    if not better:
        return f"{NOT_SHOWN} ({low:z.1f} to {high:z.1f} points of {figure}{p})"
    if value < 0:
        value, low, high = -value, -high, -low
    return f"{better} is better by {value:z.1f} points of {figure} ({low:z.1f} to {high:z.1f}{p})"
