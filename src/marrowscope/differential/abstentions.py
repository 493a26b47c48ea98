"""The cells of a classification on which the model abstains, and the sets that it gives them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from marrowscope.io.tables import set_in_words
from marrowscope.metrics.conformal import always_in_words, check_coverage
from marrowscope.model.bundle import Bundle
from marrowscope.types import Prediction

Abstain = Callable[[Prediction], Prediction]
"""Gives a prediction with the set of classes that the cell may be of."""
SHOWN_SETS = 20
"""On the screen and the page; `differential.json` has all."""


@dataclass(frozen=True)
class Review:
    """Cells that a person is to look at, by the sets of classes that the model leaves open."""

    coverage: float
    """Asked for: how often the set holds the true class, 0..1."""
    cells: int
    sets: dict[str, int]
    """Cells by set, such as `PMO MYB` or `none`, the most frequent first."""
    always: tuple[str, ...]
    """Classes that are in every set, for want of validation cells."""
    note: str
    """What `always` means, in words; empty without such a class."""

    @property
    def shown(self) -> dict[str, int]:
        """The most frequent sets."""
        return dict(list(self.sets.items())[:SHOWN_SETS])

    @property
    def others(self) -> int:
        """Cells with a set that is not shown."""
        return self.cells - sum(self.shown.values())

    @property
    def in_words(self) -> str:
        """Say how many cells there are, and at which coverage."""
        return f"The model abstains: {self.cells:,} cells to review, at coverage {self.coverage:g}"

    def as_dict(self) -> dict[str, Any]:
        """Give it for machines."""
        return {
            "coverage": self.coverage,
            "cells": self.cells,
            "sets": self.sets,
            "always": list(self.always),
        }


def by_sets(bundle: Bundle, coverage: float | None) -> Abstain:
    """Give what adds a set of classes to a prediction; without a coverage, it adds none.

    Raises:
        SettingsError: the coverage is not between 0 and 1.
        BundleError: the bundle is older than such sets.
    """
    if coverage is None:
        return lambda prediction: prediction
    check_coverage(coverage)
    abstention, asked = bundle.sets, coverage

    def with_set(prediction: Prediction) -> Prediction:
        held = abstention.sets(np.array([prediction.probabilities]), asked)[0]
        codes = (code for code, inside in zip(bundle.classes, held, strict=True) if inside)
        return replace(prediction, set=tuple(codes))

    return with_set


def review_of(
    bundle: Bundle, coverage: float | None, sets: Mapping[tuple[str, ...], int]
) -> Review | None:
    """Sum up the sets that are not the cell's class alone; None where no coverage was asked for.

    Raises:
        SettingsError: the coverage is not between 0 and 1.
        BundleError: the bundle is older than such sets.
    """
    if coverage is None:
        return None
    always = bundle.sets.always(bundle.classes, coverage)
    ranked = sorted(sets.items(), key=lambda item: (-item[1], item[0]))
    return Review(
        coverage=coverage,
        cells=sum(sets.values()),
        sets={set_in_words(codes): cells for codes, cells in ranked},
        always=always,
        note=always_in_words(always, coverage),
    )
