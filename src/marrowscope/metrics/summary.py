"""The figures of one set of cells, as evaluations keep them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from marrowscope.metrics.classification import (
    Interval,
    Matrix,
    confusion_matrix,
    exact_interval,
    per_class,
)
from marrowscope.metrics.prevalence import Prevalence
from marrowscope.metrics.reliability import Sealed, Trust, trust
from marrowscope.metrics.scores import MARROW, STRICT, TEST, Answers, Score, marrow_shares, score
from marrowscope.metrics.tolerance import tolerated_in_words

UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))
"""Of a figure that the cells do not give."""


@dataclass(frozen=True)
class ClassResult:
    """One class of a set of cells, all figures 0..1; the limits of the recall are exact."""

    code: str
    support: int
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float
    auroc: Interval
    average_precision: Interval
    marrow_precision: Interval
    """Precision at the class mix of a marrow."""


@dataclass(frozen=True)
class SetResult:
    """The figures of one set of cells (0..1), and what was left out of it."""

    name: str
    cells: int
    accuracy: Interval
    macro_precision: Interval
    macro_recall: Interval
    macro_f1: Interval
    macro_classes: tuple[str, ...]
    per_class: tuple[ClassResult, ...]
    not_covered: dict[str, int]
    without_cells: tuple[str, ...]
    """Covered classes of which the set has no true cell."""
    outside_mix: dict[str, int]
    """Cells by class that weigh nothing at the marrow's class mix."""
    mix_covered: float
    """Part of the marrow's mix, 0..1, that the classes with enough cells make up."""
    scores: tuple[Score, ...]
    confusion: list[list[int]]
    trust: Trust
    """How far the probabilities can be trusted, and what abstaining would cost."""


@dataclass(frozen=True)
class Terms:
    """What the figures are computed by."""

    prevalence: Prevalence
    least_support: int
    rounds: int
    seed: int

    def in_words(self) -> str:
        """Say how the figures were come by."""
        return (
            f"Brackets: 95% intervals, bootstrap over groups ({self.rounds} rounds, seed "
            f"{self.seed}); recall of a class: exact binomial. Macro means run over the classes "
            f"with at least {self.least_support} true cells in the set. Tolerant: confusions of "
            f"{tolerated_in_words()} count as right. Marrow mix: the same classes weigh as in a "
            f"marrow ({self.prevalence.source})."
        )


def figures_of_set(
    name: str,
    answers: Answers,
    classes: Sequence[str],
    terms: Terms,
    *,
    not_covered: Mapping[str, int],
    sealed: Sealed,
) -> SetResult:
    """Measure one set of cells of covered classes; the others are only counted."""
    matrix = confusion_matrix(answers.truth.tolist(), answers.predicted.tolist(), len(classes))
    support = matrix.sum(axis=1)
    percent = terms.prevalence.percent
    shares = marrow_shares(percent, classes, support, terms.least_support)
    scores = score(
        answers,
        classes,
        shares,
        least_support=terms.least_support,
        rounds=terms.rounds,
        seed=terms.seed,
    )
    strict = _found(scores, TEST)
    counted = dict(zip(classes, support.tolist(), strict=True))
    headline = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
    return SetResult(
        name=name,
        cells=len(answers.truth),
        macro_classes=strict.macro_classes,
        per_class=tuple(_class_results(matrix, classes, scores)),
        not_covered=dict(sorted(not_covered.items())),
        without_cells=tuple(code for code, cells in counted.items() if not cells),
        outside_mix={
            code: cells
            for (code, cells), share in zip(counted.items(), shares, strict=True)
            if cells and not share
        },
        mix_covered=float(shares.sum()),
        scores=scores,
        confusion=matrix.tolist(),
        trust=trust(answers, classes, sealed, rounds=terms.rounds, seed=terms.seed),
        **{figure: strict.figures[figure] for figure in headline},
    )


def _found(scores: Sequence[Score], mix: str) -> Score:
    """Give the strict score at a mix; one without figures where the cells do not give it."""
    for entry in scores:
        if (entry.scoring, entry.mix) == (STRICT, mix):
            return entry
    return Score(STRICT, mix, 0, (), {}, {}, {})


def _class_results(
    matrix: Matrix, classes: Sequence[str], scores: Sequence[Score]
) -> list[ClassResult]:
    right = np.diag(matrix)
    at_test, at_marrow = (_found(scores, mix).per_class for mix in (TEST, MARROW))
    results = []
    for index, (code, figures) in enumerate(zip(classes, per_class(matrix), strict=True)):
        recall = exact_interval(int(right[index]), figures.support)
        results.append(
            ClassResult(
                code,
                figures.support,
                figures.precision,
                figures.recall,
                recall.low,
                recall.high,
                figures.f1,
                at_test.get(code, {}).get("auroc", UNKNOWN),
                at_test.get(code, {}).get("average_precision", UNKNOWN),
                at_marrow.get(code, {}).get("precision", UNKNOWN),
            )
        )
    return results
