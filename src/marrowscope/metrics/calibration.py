"""Probabilities that mean what they say: scaling of logits, fitted on validation cells."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax

from marrowscope.errors import SettingsError

Logits = NDArray[np.float64]
"""(N, C), unbounded."""
LOWEST, HIGHEST = 0.05, 20.0
"""Limits of the temperature."""
LEAST_BEND, MOST_BEND = 1e-4, 10.0
PULL = 10.0
"""How strongly class-wise scaling is held at plain temperature, by the square of the distance: as
by the likelihood of so many cells."""
METHODS = ("temperature", "curved", "class-wise", "none")


@dataclass(frozen=True)
class Calibration:
    """What is done to logits before the softmax: each class's is multiplied and shifted."""

    method: str
    """One of `METHODS`."""
    factor: tuple[float, ...]
    """One for each class; 1 / temperature for all alike."""
    shift: tuple[float, ...]
    """One for each class, added after the factor."""
    cells: int
    """Validation cells that it was fitted on."""
    bend: float = 0.0
    """How much more than the factor a large distance from the best class grows; 0 or more."""

    def apply(self, logits: NDArray[np.floating]) -> Logits:
        """Scale logits (N, C); with a temperature of 2, a difference of 4 becomes one of 2.

        With a bend of 0.5 besides, it becomes 2 * (1 + 0.5 * 2) = 4.
        """
        scaled = np.asarray(logits, dtype=np.float64) * self.factor + self.shift
        if not self.bend:
            return scaled
        below = scaled - scaled.max(axis=1, keepdims=True)
        return np.asarray(below * (1 - self.bend * below))

    def undo(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Give the probabilities (N, C) as they were before, or None.

        It is None where nothing was done, and where it cannot be undone.
        With a temperature of 2, 0.8 and 0.2 were 0.64 and 0.04, divided by their sum. Factors
        that differ by class ask for more than probabilities tell: the sum that they were divided
        by is lost, and counts differently in each class.
        """
        if self.method == "none" or len(set(self.factor)) > 1:
            return None
        with np.errstate(divide="ignore"):
            logits = np.log(probabilities)
        if self.bend:
            below = logits - logits.max(axis=1, keepdims=True)
            logits = (1 - np.sqrt(1 - 4 * self.bend * below)) / (2 * self.bend)
        return np.asarray(softmax((logits - self.shift) / self.factor, axis=1))


def uncalibrated(classes: int) -> Calibration:
    """Leave logits as they are."""
    return Calibration("none", (1.0,) * classes, (0.0,) * classes, 0)


def calibrate(logits: Logits, truth: Sequence[int], method: str = "temperature") -> Calibration:
    """Fit a scaling of logits (N, C) to the true class indices (N,) by the likelihood.

    Temperature leaves every cell's class as it is, and so does `curved`, which stretches large
    distances more than small ones: networks trained with label smoothing keep them too small.
    Class-wise scaling may change it, and is held near the temperature, as it has many parameters
    for few cells. With the method `none`, or without cells, logits stay as they are.

    Raises:
        SettingsError: the method is none of `METHODS`.

    Source: Guo et al., ICML 2017 (temperature scaling, vector scaling).
    """
    if method not in METHODS:
        raise SettingsError(f"calibration {method!r} is not one of {', '.join(METHODS)}")
    classes = logits.shape[1]
    if method == "none" or not len(truth):
        return uncalibrated(classes)
    index = np.asarray(truth)
    optimum = minimize_scalar(
        lambda log_t: _loss(logits / np.exp(log_t), index),
        bounds=(np.log(LOWEST), np.log(HIGHEST)),
        method="bounded",
    )
    factor = np.full(classes, 1 / float(np.exp(optimum.x)))
    shift = np.zeros(classes)
    bend = 0.0
    if method == "class-wise":
        factor, shift = _by_class(logits, index, factor)
    elif method == "curved":
        factor, bend = _curved(logits, index, factor)
    factors, shifts = (tuple(map(float, column)) for column in (factor, shift))
    return Calibration(method, factors, shifts, len(truth), bend)


def _curved(
    logits: Logits, truth: NDArray[np.int64], start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Fit one factor for all classes and a bend."""

    def parts(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        bend = float(np.clip(np.exp(values[1]), LEAST_BEND, MOST_BEND))
        return start * np.exp(values[0]), bend

    def cost(values: NDArray[np.float64]) -> float:
        factor, bend = parts(values)
        fitted = Calibration("curved", tuple(factor), (0.0,) * len(factor), len(truth), bend)
        return _loss(fitted.apply(logits), truth)

    return parts(minimize(cost, np.array([0.0, np.log(0.1)]), method="Nelder-Mead").x)


def _by_class(
    logits: Logits, truth: NDArray[np.int64], start: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    classes, pull = logits.shape[1], PULL / len(truth)

    def cost(values: NDArray[np.float64]) -> float:
        factor, shift = start * np.exp(values[:classes]), values[classes:]
        return _loss(logits * factor + shift, truth) + pull * float((values**2).sum())

    values = minimize(cost, np.zeros(2 * classes), method="L-BFGS-B").x
    return start * np.exp(values[:classes]), values[classes:]


def _loss(logits: Logits, truth: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of the true classes."""
    likely = log_softmax(logits, axis=1)[np.arange(len(truth)), truth]
    return float(-likely.mean())


def calibration_error(
    probabilities: NDArray[np.float64], truth: Sequence[int], bins: int = 15
) -> float:
    """Expected calibration error (ECE), 0..1: how far confidence and accuracy lie apart.

    Cells are sorted into `bins` of equal width by the probability of their predicted class. Two
    cells at 0.9, one of them right, are off by 0.4.

    Source: Naeini et al., AAAI 2015.
    """
    return sum(
        row.cells / len(truth) * abs(row.accuracy - row.confidence)
        for row in reliability(probabilities, truth, bins)
    )


@dataclass(frozen=True)
class Bin:
    """The cells whose confidence lies in one bin."""

    cells: int
    confidence: float
    """Mean probability of the predicted class."""
    accuracy: float
    """Share of them that are right."""


def reliability(
    probabilities: NDArray[np.float64], truth: Sequence[int], bins: int = 15
) -> list[Bin]:
    """Sort cells into bins of equal width of confidence; empty bins are left out."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == np.asarray(truth)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean()))
        for number in range(bins)
        if (inside := place == number).any()
    ]
