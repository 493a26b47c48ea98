"""How many more cells to count, or to review, until a share is clear of a threshold."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, betaln, gammaln

from marrowscope.errors import SettingsError
from marrowscope.types import Prediction

CAP = 10_000
"""More cells than a person counts and most films give."""
LIKELY = 0.8
"""The chance with which `MoreCells.likely` is enough."""
TAIL = 0.025
"""Beyond either limit of a 95% interval."""
ROUND = (*range(1, 10), *(digits * 10**zeros for zeros in range(4) for digits in range(10, 100)))
"""Numbers of at most two digits and zeros."""


@dataclass(frozen=True)
class MoreCells:
    """How many more nucleated cells to count until the interval leaves a threshold."""

    percent: float
    """The threshold, 0..100."""
    more: int | None
    """If the share stays as it was counted; None where the cap is not enough."""
    chance: float
    """That so many are enough, 0..1, as the true share is not known; 0 where the cap is not."""
    likely: int | None
    """So many that the chance is 80%, to two digits; None where the cap is not enough."""
    cap: int
    """The most that was looked at."""
    in_words: str
    """All of it in a sentence."""


@dataclass(frozen=True)
class ToReview:
    """A cell that a person is to look at, and how much is gained by that."""

    path: str
    """As in `predictions.csv`."""
    chance: float
    """That it is one of the cells in question, as the model says, 0..1."""
    variance: float
    """chance * (1 - chance): what the review takes from the variance of their number."""


@dataclass(frozen=True)
class InDoubt:
    """The share of some classes by the chances of all cells, the model's doubt in its interval."""

    percent: float
    """Sum of the chances by the counted cells, 0..100."""
    low: float
    """Lower 95% limit, 0..100: of drawing the cells and of the model's doubt."""
    high: float
    """Upper one, 0..100."""
    cells: int
    """Cells that are not reviewed and have a chance above 0 and below 1."""


@dataclass(frozen=True)
class Reviews:
    """How many cells to review until the interval of `InDoubt` leaves a threshold."""

    percent: float
    """The threshold, 0..100."""
    reviews: int | None
    """Cells to review, the most doubtful first; None where reviewing all is not enough."""
    in_words: str
    """All of it in a sentence."""


@lru_cache(maxsize=1024)
def cells_until_clear(cells: int, counted: int, percent: float, cap: int = CAP) -> MoreCells:
    """Give how many more cells to count until the exact interval leaves a threshold.

    30 of 500 cells are 6.0% (4.1 to 8.5). Of 2,003 cells at 6.0%, the limits are 5.0 and 7.1: so
    1,503 more until the interval leaves 5%. The true share is taken to follow Jeffreys'
    distribution, Beta(30.5, 470.5), and the cells still to come the beta-binomial one.

    Raises:
        SettingsError: more cells than were counted, or a threshold that is not between 0 and 100.
    """
    _check(cells, counted, percent)
    if not counted:
        return MoreCells(percent, None, 0.0, None, cap, "No cell was counted: count first.")
    total = counted + np.arange(cap + 1)
    enough = np.flatnonzero(_clear(cells / counted * total, total, percent / 100))
    more = int(enough[0]) if len(enough) else None
    if more == 0:
        return MoreCells(percent, 0, 1.0, 0, cap, f"The interval does not straddle {percent:g}%.")
    chance = 0.0 if more is None else _chance(cells, counted, more, percent / 100)
    likely = _likely(cells, counted, percent / 100, cap)
    words = (
        f"To tell it from {percent:g}%: {_at_this_share(cells, counted, more, chance, cap)} "
        f"{_by_chance(likely, cap)}."
    )
    return MoreCells(percent, more, chance, likely, cap, words)


def _check(cells: int, counted: int, percent: float) -> None:
    if not 0 <= cells <= counted:
        raise SettingsError(f"{cells} of {counted} cells is no share; give 0 to {counted} cells")
    if not 0 < percent < 100:
        raise SettingsError(f"a threshold lies between 0 and 100 percent; got {percent:g}")


def _clear(cells: NDArray[Any], total: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """Whether exact 95% intervals have all of themselves on one side of a share, 0..1.

    `cells` need not be whole: a share of 6% of 1,001 cells is 60.06.
    """
    at_least = np.where(cells > 0, betainc(np.maximum(cells, 1e-9), total - cells + 1, share), 1.0)
    rest = total - cells
    more_than = np.where(rest > 0, betainc(cells + 1, np.maximum(rest, 1e-9), share), 0.0)
    return np.asarray((at_least <= TAIL) | (1 - more_than < TAIL))


def _chance(cells: int, counted: int, more: int, share: float) -> float:
    """Chance that the interval is clear once `more` cells were counted, 0..1."""
    new = np.arange(more + 1)
    a, b = cells + 0.5, counted - cells + 0.5
    ways = gammaln(more + 1) - gammaln(new + 1) - gammaln(more - new + 1)
    chances = np.exp(ways + betaln(new + a, more - new + b) - betaln(a, b))
    clear = _clear(cells + new, np.full(more + 1, counted + more), share)
    return float(chances[clear].sum())


def _likely(cells: int, counted: int, share: float, cap: int) -> int | None:
    steps = [number for number in ROUND if number <= cap]
    place = bisect_left(steps, LIKELY, key=lambda more: _chance(cells, counted, more, share))
    return steps[place] if place < len(steps) else None


def _at_this_share(cells: int, counted: int, more: int | None, chance: float, cap: int) -> str:
    stays = f"if the share stays at {100 * cells / counted:.1f}%"
    unknown = "The true share is not known:"
    if more is None:
        return f"{cap:,} more cells are not enough {stays}, so near is it. {unknown}"
    return (
        f"{more:,} more {'cell' if more == 1 else 'cells'} ({counted + more:,} in all) {stays}. "
        f"{unknown} so many settle it with a chance of {chance:.0%},"
    )


def _by_chance(likely: int | None, cap: int) -> str:
    if likely is None:
        return f"{cap:,} with less than {LIKELY:.0%}"
    return f"about {likely:,} with {LIKELY:.0%}"


def chances_of(
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    codes: Sequence[str] = ("BLA",),
    reviewed: Mapping[str, str] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """Give the chance that each cell is of some classes (0..1), by path; a reviewed one is sure.

    Probabilities are in the order of `classes`; `reviewed` has the label that a person gave.
    With `weights` (C,), of `own_weights`, the chances hold for the class mix of the sample: 0.25
    weighed by 3 and 0.75 by 7/9 is a chance of 0.75 / (0.75 + 0.583) = 0.56.

    Raises:
        SettingsError: the model knows none of the classes.
    """
    inside = np.array([code in codes for code in classes])
    if not inside.any():
        raise SettingsError(
            f"the model does not know {' or '.join(codes)}; it knows {', '.join(classes)}"
        )
    labels, weigh = reviewed or {}, np.ones(len(classes)) if weights is None else weights
    return {
        prediction.path: float(labels[prediction.path] in codes)
        if prediction.path in labels
        else chance_of(np.asarray(prediction.probabilities) * weigh, inside)
        for prediction in predictions
    }


def chance_of(weighed: NDArray[np.float64], inside: NDArray[np.bool_]) -> float:
    """Give the part of weighed probabilities (C,) that lies inside, 0..1; 0 where all are 0."""
    total = float(weighed.sum())
    return float(weighed[inside].sum()) / total if total else 0.0


def review_first(
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    codes: Sequence[str] = ("BLA",),
    reviewed: Mapping[str, str] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> list[ToReview]:
    """Order cells so that their review shrinks the doubt about the share of some classes fastest.

    The doubt about a cell with the chance p has the variance p * (1 - p), and variances add up: a
    cell with 0.5 (0.25) comes before one with 0.9 (0.09). Reviewed cells are left out. `weights`
    are as in `chances_of`; without them, the order is wrong where the class mix is another.

    Raises:
        SettingsError: the model knows none of the classes.
    """
    done = reviewed or {}
    chances = chances_of(predictions, classes, codes, done, weights)
    open_cells = (
        ToReview(path, chance, chance * (1 - chance))
        for path, chance in chances.items()
        if path not in done
    )
    return sorted(open_cells, key=lambda cell: (-cell.variance, cell.path))


def in_doubt(chances: Iterable[float], counted: int) -> InDoubt:
    """Give the share of some classes with an interval that has the model's doubt in it.

    The share s is the sum of the chances over the n counted cells. Its variance is that of drawing
    cells, s (1 - s) / n, and the model's doubt: the sum of p (1 - p) over the cells, by n squared.
    The interval is the exact one of so many cells as have this variance. 500 cells, 40 of them
    with a chance of 0.75: s is 6%; 0.0001128 + 0.00003 is the variance of 395 cells at 6%, and
    their limits are 3.9 and 8.8. With all 40 reviewed, the 500 have 4.1 and 8.5.

    Raises:
        SettingsError: no cell was counted, or fewer than the chances add up to.

    Source: Korn and Graubard, Survey Methodology 1998;24:193-201, for the number of cells.
    """
    chance = np.fromiter(chances, dtype=np.float64)
    share = _expected(chance, counted)
    as_good = _as_good_as(chance, counted)
    low, high = _limits(share, float(as_good[0]))
    return InDoubt(100 * share, low, high, len(as_good) - 1)


def reviews_until_clear(chances: Iterable[float], counted: int, percent: float) -> Reviews:
    """Give how many cells to review until the interval of `in_doubt` leaves a threshold.

    A review takes the doubt about a cell away, most doubtful cell first, and is taken to leave the
    share where it is. Of 500 cells, 48 with a chance of 0.75, so 7.2% (4.9 to 10.2): after 31
    reviews the lower limit is 5.0.

    Raises:
        SettingsError: no cell was counted, fewer than the chances add up to, or a threshold that
            is not within 0 to 100.
    """
    chance = np.fromiter(chances, dtype=np.float64)
    share = _expected(chance, counted)
    _check(0, counted, percent)
    as_good = _as_good_as(chance, counted)
    clear = np.flatnonzero(_clear(share * as_good, as_good, percent / 100))
    reviews = int(clear[0]) if len(clear) else None
    return Reviews(percent, reviews, _reviews_in_words(percent, reviews, len(as_good) - 1))


def _expected(chance: NDArray[np.float64], counted: int) -> float:
    if counted < 1 or chance.sum() > counted + 1e-6:
        raise SettingsError(
            f"{chance.sum():.1f} of {counted} cells is no share; give the number of all cells"
        )
    return min(1.0, float(chance.sum()) / counted)


def _as_good_as(chance: NDArray[np.float64], counted: int) -> NDArray[np.float64]:
    """Give how many surely known cells say as much, after 0, 1, 2 ... reviews (R + 1,)."""
    doubt = np.sort(chance * (1 - chance))
    left = np.concatenate([[0.0], np.cumsum(doubt[doubt > 0])])[::-1]
    share = _expected(chance, counted)
    drawing = counted * share * (1 - share)
    if not drawing:
        return np.full(len(left), float(counted))
    return np.asarray(counted * drawing / (drawing + left))


def _limits(share: float, cells: float) -> tuple[float, float]:
    """Exact 95% limits in percent, of a number of cells that need not be whole."""
    successes = share * cells
    low = float(betaincinv(successes, cells - successes + 1, TAIL)) if successes > 0 else 0.0
    high = (
        float(betaincinv(successes + 1, cells - successes, 1 - TAIL)) if successes < cells else 1.0
    )
    return 100 * low, 100 * high


def _reviews_in_words(percent: float, reviews: int | None, cells: int) -> str:
    if reviews == 0:
        return f"No review is needed to tell it from {percent:g}%."
    if reviews is None:
        return (
            f"To tell it from {percent:g}%, reviewing is not enough, not even of all {cells:,} "
            "cells: more must be counted."
        )
    return f"To tell it from {percent:g}%, review about {reviews:,} cells, the most doubtful first."
