"""Sets of classes that hold the true one as often as asked, class by class (split conformal)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import SettingsError

Chances = NDArray[np.float64]
"""Probabilities (N, C), 0..1."""
Sets = NDArray[np.bool_]
"""(N, C): whether a class is in the set of a cell."""
DECIMALS = 6
"""Of scores: those of the probabilities in `predictions.csv`, so that sets can be made again."""
METHOD = "1 - p"
"""The score of a class: one minus its probability. Why this one: docs/decisions/0013."""


@dataclass(frozen=True)
class Abstention:
    """Scores of validation cells, from which the sets for any coverage follow."""

    method: str
    """Always `METHOD`."""
    scores: tuple[tuple[float, ...], ...]
    """For each class (C) the scores of its true cells, 0..1, rising; high: the class was missed."""

    @property
    def cells(self) -> tuple[int, ...]:
        """Validation cells of each class."""
        return tuple(map(len, self.scores))

    def limits(self, coverage: float) -> NDArray[np.float64]:
        """Give the highest score (C,) with which a class is still in a set; infinite: always.

        Of n cells it is the score number ceil((n + 1) * coverage): of 9 cells at 0.8, the 8th.

        Raises:
            SettingsError: the coverage is not between 0 and 1.
        """
        check_coverage(coverage)
        return np.array([_limit(scores, coverage) for scores in self.scores])

    def sets(self, probabilities: Chances, coverage: float) -> Sets:
        """Give the classes (N, C) that cells with probabilities (N, C) may be of.

        Of the cells of each class, at least the share `coverage` have it in their set, if they
        come as the validation cells came. With limits 0.5 and 0.8, probabilities 0.6 and 0.4
        (scores 0.4 and 0.6) give both classes, 0.9 and 0.1 (scores 0.1 and 0.9) the first alone.
        An empty set means that the cell is unlike most cells of every class.

        Raises:
            SettingsError: the coverage is not between 0 and 1.

        Source: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, 4.5
        (Mondrian predictors); Sadinle, Lei and Wasserman, J Am Stat Assoc 2019;114:223-234 (score).
        """
        return np.asarray(_score(probabilities) <= self.limits(coverage))

    def always(self, classes: Sequence[str], coverage: float) -> tuple[str, ...]:
        """Name the classes that are in every set, for want of validation cells.

        It takes coverage / (1 - coverage) cells of a class to leave it out of any: 9 at 0.9.

        Raises:
            SettingsError: the coverage is not between 0 and 1.
        """
        limits = self.limits(coverage)
        return tuple(code for code, limit in zip(classes, limits, strict=True) if limit == math.inf)

    def as_dict(self) -> dict[str, Any]:
        """Give what `bundle.json` holds."""
        return asdict(self) | {"cells": list(self.cells)}


def conform(probabilities: Chances, truth: Sequence[int], classes: int) -> Abstention:
    """Take the scores of validation cells, probabilities (N, C), by true class indices (N,)."""
    index = np.asarray(truth, dtype=np.int64)
    own = _score(probabilities)[np.arange(len(index)), index]
    return Abstention(
        METHOD, tuple(tuple(np.sort(own[index == code]).tolist()) for code in range(classes))
    )


def abstention_of(values: Mapping[str, Any] | None, classes: int) -> Abstention | None:
    """Read what `bundle.json` holds; bundles that are older than it have none.

    Raises:
        ValueError: it is of another method or number of classes, or its scores were changed.
    """
    if values is None:
        return None
    scores = tuple(tuple(map(float, value)) for value in values["scores"])
    if values["method"] != METHOD or len(scores) != classes:
        raise ValueError(f"its abstention is {values['method']!r} for {len(scores)} classes")
    whole = all(
        list(of_class) == sorted(of_class) and all(0 <= score <= 1 for score in of_class)
        for of_class in scores
    )
    if not whole or [len(score) for score in scores] != list(values["cells"]):
        raise ValueError("the scores of its abstention were changed")
    return Abstention(METHOD, scores)


def check_coverage(coverage: float) -> None:
    """Check a coverage.

    Raises:
        SettingsError: it is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise SettingsError(
            f"coverage must lie between 0 and 1 (0.9: in 9 of 10 cells the set holds the true "
            f"class), got {coverage:g}"
        )


def always_in_words(always: Sequence[str], coverage: float) -> str:
    """Say which classes are in every set, and why; nothing if there are none."""
    if not always:
        return ""
    needed = math.ceil(round(coverage / (1 - coverage), 9))
    return (
        f"In every set, as fewer than {needed} validation cells are too few to leave a class out "
        f"at a coverage of {coverage:g}: {', '.join(always)}."
    )


def _score(probabilities: Chances) -> Chances:
    return np.asarray((1 - probabilities).round(DECIMALS))


def _limit(scores: Sequence[float], coverage: float) -> float:
    place = math.ceil(round((len(scores) + 1) * coverage, 9))
    return scores[place - 1] if place <= len(scores) else math.inf
