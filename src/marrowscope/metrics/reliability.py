"""How far the probabilities of a set of cells can be trusted, and what abstaining would cost."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.metrics.calibration import Bin, Calibration, calibration_error, reliability
from marrowscope.metrics.classification import Interval, exact_interval
from marrowscope.metrics.conformal import Abstention
from marrowscope.metrics.scores import Answers
from marrowscope.metrics.selective import Review, Threshold, review, selective

COVERAGES = (0.8, 0.9, 0.95)
"""At which sets are measured."""
ENOUGH = 50
"""True cells that a class needs for a coverage of its own."""


@dataclass(frozen=True)
class ClassCoverage:
    """How often the sets hold the true class, for the cells of one class, with exact limits."""

    code: str
    cells: int
    covered: float
    low: float
    high: float


@dataclass(frozen=True)
class Conformal:
    """Sets of classes made for one coverage, and the share of cells whose true class they hold."""

    coverage: float
    """Asked for."""
    covered: float
    """Share of cells whose set holds the true class."""
    mean_set_size: float
    """Classes in a set."""
    one_class: float
    """Share of cells whose set is one class: the model does not abstain."""
    empty: float
    """Share of cells whose set holds no class."""
    per_class: tuple[ClassCoverage, ...]
    """Classes with enough true cells."""


@dataclass(frozen=True)
class Trust:
    """Calibration, errors at each coverage, and sets, on one set of cells; shares are 0..1."""

    ece: float
    """Expected calibration error."""
    ece_before: float | None
    """That before calibration; None where it was not calibrated or cannot be undone."""
    reliability: tuple[Bin, ...]
    reliability_before: tuple[Bin, ...] | None
    risk_coverage: tuple[tuple[float, float], ...]
    """(coverage, error among the accepted), 200 points or fewer."""
    aurc: Interval
    """Mean error over all coverages."""
    error_full: Interval
    error_at_80: Interval
    """Error among the most certain 80% of the cells."""
    review: tuple[Review, ...]
    """Thresholds that were chosen on validation cells, on these; empty in older bundles."""
    conformal: tuple[Conformal, ...]
    """Empty in older bundles."""


@dataclass(frozen=True)
class Sealed:
    """What was fixed on validation cells at export and is measured here."""

    calibration: Calibration
    abstention: Abstention | None
    review: tuple[Threshold, ...]


def trust(
    answers: Answers, classes: Sequence[str], sealed: Sealed, *, rounds: int, seed: int
) -> Trust:
    """Measure on cells of covered classes what was sealed; intervals over groups."""
    truth = answers.truth.tolist()
    confidence = answers.probabilities.max(axis=1)
    right = answers.predicted == answers.truth
    before = sealed.calibration.undo(answers.probabilities)
    accepted = selective(confidence, right, answers.groups, rounds=rounds, seed=seed)
    return Trust(
        ece=calibration_error(answers.probabilities, truth),
        ece_before=None if before is None else calibration_error(before, truth),
        reliability=tuple(reliability(answers.probabilities, truth)),
        reliability_before=None if before is None else tuple(reliability(before, truth)),
        risk_coverage=accepted.risk_coverage,
        aurc=accepted.aurc,
        error_full=accepted.error_full,
        error_at_80=accepted.error_at_80,
        review=tuple(review(row, confidence, right) for row in sealed.review),
        conformal=_conformals(sealed.abstention, answers, classes),
    )


def _conformals(
    abstention: Abstention | None, answers: Answers, classes: Sequence[str]
) -> tuple[Conformal, ...]:
    if abstention is None:
        return ()
    return tuple(conformal(abstention, answers, classes, coverage) for coverage in COVERAGES)


def conformal(
    abstention: Abstention, answers: Answers, classes: Sequence[str], coverage: float
) -> Conformal:
    """Make the sets for a coverage, and count how often the true class is in them.

    Raises:
        SettingsError: the coverage is not between 0 and 1.
    """
    sets = abstention.sets(answers.probabilities, coverage)
    held = sets[np.arange(len(sets)), answers.truth]
    sizes = sets.sum(axis=1)
    return Conformal(
        coverage=coverage,
        covered=float(held.mean()),
        mean_set_size=float(sizes.mean()),
        one_class=float((sizes == 1).mean()),
        empty=float((sizes == 0).mean()),
        per_class=tuple(
            _of_class(code, held[answers.truth == index])
            for index, code in enumerate(classes)
            if int((answers.truth == index).sum()) >= ENOUGH
        ),
    )


def _of_class(code: str, held: NDArray[np.bool_]) -> ClassCoverage:
    share = exact_interval(int(held.sum()), len(held))
    return ClassCoverage(code, len(held), share.value, share.low, share.high)
