"""The cells of a classification whose review would settle the share of blasts soonest."""

import heapq
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.differential.error_correction import own_weights
from marrowscope.differential.sample_size import (
    InDoubt,
    Reviews,
    ToReview,
    chance_of,
    in_doubt,
    reviews_until_clear,
)
from marrowscope.differential.thresholds import BLASTS
from marrowscope.model.bundle import Bundle
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Prediction

SHOWN = 20
"""More cells than that are in `predictions.csv`, with their probabilities."""
LEAST_VARIANCE = 0.01
"""A cell with a chance below 1% or above 99% is not worth a look for the share's sake."""


@dataclass(frozen=True)
class Work:
    """What a person is to review for the sake of the blast percentage."""

    first: tuple[ToReview, ...]
    """The most doubtful cells, at most 20, the one that gains most first."""
    blasts: InDoubt | None
    """Their share with the model's doubt; None without cells, or for a model that does not know
    blasts or has no test cells to say what its probabilities hold for."""
    reviews: tuple[Reviews, ...]
    """For each threshold within that interval, how many reviews would settle it."""

    @property
    def in_words(self) -> str:
        """Say how far the model's doubt moves the share; empty where that is not known."""
        if self.blasts is None:
            return ""
        share = f"{self.blasts.percent:.1f}% ({self.blasts.low:.1f} to {self.blasts.high:.1f}"
        return f"By the chance of each cell to be a blast: {share} with the model's doubt)."


class Worklist:
    """Keeps the chance of every cell to be a blast, and the most doubtful; 8 bytes a cell."""

    def __init__(
        self,
        classes: Sequence[str],
        weights: NDArray[np.float64] | None = None,
        limit: int = SHOWN,
    ) -> None:
        """Take the model's classes and their `own_weights` (C,); without, no share is given."""
        self._weights = weights
        self._weigh = np.ones(len(classes)) if weights is None else weights
        self._inside = np.array([code in BLASTS.codes for code in classes])
        self._limit = limit
        self._knows_blasts = set(BLASTS.codes) <= set(classes)
        self._chances = array("d")
        self._most: list[tuple[float, int, ToReview]] = []
        self.counted = 0
        """Cells of a class that counts, those on which the model abstains among them."""

    def add(self, prediction: Prediction) -> None:
        """Take one cell into account; one of a class that does not count is left out.

        One that a person gave its class is sure. Without blasts among the model's classes, nothing
        is kept.
        """
        if not self._knows_blasts or not CLASSES[prediction.label].counted:
            return
        self.counted += 1
        chance = self._chance(prediction)
        self._chances.append(chance)
        variance = chance * (1 - chance)
        if variance < LEAST_VARIANCE:
            return
        cell = ToReview(prediction.path, chance, variance)
        heapq.heappush(self._most, (variance, -self.counted, cell))
        if len(self._most) > self._limit:
            heapq.heappop(self._most)

    def _chance(self, prediction: Prediction) -> float:
        if prediction.reviewer:
            return float(prediction.label in BLASTS.codes)
        return chance_of(np.asarray(prediction.probabilities) * self._weigh, self._inside)

    def work(self) -> Work:
        """Give the cells to review first, and how many reviews settle each open threshold."""
        first = tuple(cell for _, _, cell in sorted(self._most, reverse=True))
        if not self.counted or self._weights is None:
            return Work(first, None, ())
        share = in_doubt(self._chances, self.counted)
        percents = sorted(
            {threshold.percent for scheme in BLASTS.schemes for threshold in scheme.thresholds}
        )
        reviews = (
            reviews_until_clear(self._chances, self.counted, percent)
            for percent in percents
            if share.low < percent <= share.high
        )
        return Work(first, share, tuple(reviews))


def work_of(read: Callable[[], Iterable[Prediction]], bundle: Bundle) -> Work:
    """Say what to review; `read` is called twice and gives all cells that are not set aside.

    Raises:
        BundleError: the bundle's test cells cannot be read.
    """
    return work_by_weights(read(), bundle, own_weights(read(), bundle))


def work_by_weights(
    predictions: Iterable[Prediction], bundle: Bundle, weights: NDArray[np.float64] | None
) -> Work:
    """Say what to review, in one pass, where the `own_weights` (C,) of the cells are known."""
    worklist = Worklist(bundle.classes, weights)
    for prediction in predictions:
        worklist.add(prediction)
    return worklist.work()
