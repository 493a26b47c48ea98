"""What is gained when the least certain cells go to a person: errors at each coverage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marrowscope.metrics.classification import Interval, draws, exact_interval, percentile_interval

Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]
"""(N,): whether a cell was classified rightly."""
ERROR_RATES = (0.01, 0.02, 0.05)
"""For which a threshold is sealed at export."""
PART = 0.8
"""The coverage at which the error is compared with that of all cells."""
MOST_POINTS = 200
"""Of a curve as it is written down."""


@dataclass(frozen=True)
class Threshold:
    """The confidence from which cells are accepted, so that so few of them are wrong."""

    error_rate: float
    threshold: float | None
    """None: the validation cells do not show that any confidence is enough."""


@dataclass(frozen=True)
class Review:
    """What a threshold from validation cells does to other cells, all shares 0..1."""

    error_rate: float
    """Asked for."""
    threshold: float | None
    share: float
    """Of all cells that go to a person."""
    error: float
    """Found among the accepted cells; NaN without any. Its limits are exact binomial."""
    low: float
    high: float
    cells: int
    """Accepted."""


@dataclass(frozen=True)
class Selective:
    """Errors when only the most certain cells are accepted, with intervals over groups."""

    risk_coverage: tuple[tuple[float, float], ...]
    """(coverage, error among the accepted) at 200 places or fewer, both 0..1, coverage rising."""
    aurc: Interval
    """Mean error over all coverages."""
    error_full: Interval
    """With every cell accepted."""
    error_at_80: Interval
    """With the most certain 80% accepted."""


class _Accepted:
    """Cells in the order in which they are accepted, to be counted under many weights."""

    def __init__(self, confidence: Floats, right: Truths) -> None:
        self._order = np.argsort(-confidence, kind="stable")
        self._wrong = ~right[self._order]
        falling = confidence[self._order]
        self._ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))

    def errors(self, times: Floats, accepted: Floats) -> Floats:
        """Count the wrong ones among the first `accepted` (M,) of cells that weigh `times` (N,).

        Of cells with the same confidence, which come in no order, each is as wrong as their mean.
        """
        weights = times[self._order]
        cells = np.append(0.0, np.cumsum(weights)[self._ends])
        wrong = np.append(0.0, np.cumsum(weights * self._wrong)[self._ends])
        return np.asarray(np.interp(accepted, cells, wrong))


def risk_coverage(confidence: Floats, right: Truths) -> Floats:
    """Give the error (N,) among the k most certain cells, for k = 1..N.

    Right, wrong, right from the most certain on: 0, 1/2, 1/3. Cells with the same confidence
    count as their mean: if the first two have it, 1/2, 1/2, 1/3.

    Source: El-Yaniv and Wiener, J Mach Learn Res 2010;11:1605-1641.
    """
    accepted = np.arange(1.0, len(right) + 1)
    return _Accepted(confidence, right).errors(np.ones(len(right)), accepted) / accepted


def selective(
    confidence: Floats, right: Truths, groups: NDArray[np.int64], *, rounds: int, seed: int
) -> Selective:
    """Measure errors among the most certain cells (N,), intervals from draws of groups (N,).

    The area (AURC) of the first example of `risk_coverage` is (0 + 1/2 + 1/3) / 3.

    Source: Geifman, Uziel and El-Yaniv, ICLR 2019 (AURC).
    """
    cells = _Accepted(confidence, right)
    value = _figures(cells, np.ones(len(right)))
    drawn = [_figures(cells, times.astype(np.float64)) for times in draws(groups, rounds, seed)]
    aurc, full, part = (
        percentile_interval(point, column)
        for point, column in zip(value, zip(*drawn, strict=True), strict=True)
    )
    return Selective(_points(risk_coverage(confidence, right)), aurc, full, part)


def _figures(cells: _Accepted, times: Floats) -> tuple[float, float, float]:
    """Give the area, the error of all cells and that of the most certain part."""
    total = float(times.sum())
    accepted = np.append(np.arange(1.0, total + 1), PART * total)
    errors = cells.errors(times, accepted) / accepted
    return float(errors[:-1].mean()), float(errors[-2]), float(errors[-1])


def _points(risks: Floats) -> tuple[tuple[float, float], ...]:
    cells = len(risks)
    shown = np.unique(np.linspace(1, cells, min(cells, MOST_POINTS)).round().astype(int))
    return tuple((round(k / cells, 6), round(float(risks[k - 1]), 6)) for k in shown.tolist())


def threshold_for(confidence: Floats, right: Truths, error_rate: float) -> Threshold:
    """Find the lowest confidence from which on few enough validation cells (N,) are wrong.

    One more error is counted than was seen, as in a rule of succession: no error among 99 cells
    is enough for a rate of 1/100, among 98 not. Without enough, there is no threshold.
    """
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    accepted = np.arange(1, len(order) + 1)
    last_of_equals = np.append(falling[1:] != falling[:-1], True)
    rate = (np.cumsum(~right[order]) + 1) / (accepted + 1)
    enough = np.flatnonzero(last_of_equals & (rate <= error_rate + 1e-12))
    return Threshold(error_rate, float(falling[enough[-1]]) if len(enough) else None)


def thresholds_of(values: Sequence[Mapping[str, Any]]) -> tuple[Threshold, ...]:
    """Read what `bundle.json` holds.

    Raises:
        ValueError: a number is not within 0..1.
    """
    read = tuple(Threshold(float(value["error_rate"]), value["threshold"]) for value in values)
    for entry in read:
        if not 0 <= entry.error_rate <= 1 or not 0 <= float(entry.threshold or 0) <= 1:
            raise ValueError(f"{entry} is not within 0 to 1")
    return read


def review(threshold: Threshold, confidence: Floats, right: Truths) -> Review:
    """Measure a threshold on cells (N,) that it was not chosen on.

    Of confidences 0.9, 0.8 and 0.3, a threshold of 0.8 accepts two and sends 1/3 to review.
    """
    least = threshold.threshold
    accepted = confidence >= (np.inf if least is None else least)
    cells = int(accepted.sum())
    error = exact_interval(int((accepted & ~right).sum()), cells)
    return Review(
        error_rate=threshold.error_rate,
        threshold=least,
        share=1 - cells / len(right),
        error=error.value,
        low=error.low,
        high=error.high,
        cells=cells,
    )
