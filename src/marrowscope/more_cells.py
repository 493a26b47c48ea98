"""How many more cells to count, or to review, until a share is clear of a threshold."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv, betaln, gammaln

from marrowscope.errors import SettingsError
from marrowscope.records import Prediction

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
class Reviews:
    """How many cells to review until the interval, with the model's doubt in it, is clear."""

    percent: float
    """The threshold, 0..100."""
    expected: float
    """Percentage of the cells in question, by the sum of their chances, 0..100."""
    low: float
    """Lower 95% limit before a review, the model's doubt included, 0..100."""
    high: float
    """Upper one, 0..100."""
    reviews: int | None
    """Cells to review, the most doubtful first; None where to review all is not enough."""
    in_words: str
    """All of it in a sentence."""


def cells_until_clear(cells: int, counted: int, percent: float, cap: int = CAP) -> MoreCells:
    """Give how many more cells to count until the exact interval leaves a threshold.

    30 of 500 cells are 6.0% (4.1 to 8.5). Of 2,003 cells at 6.0%, the limits are 5.0 and 7.1: so
    1,503 more until the interval leaves 5%. The true share is taken to follow Jeffreys'
    distribution, Beta(30.5, 470.5), and the cells still to come the beta-binomial one.

    Raises:
        SettingsError: more cells than were counted, or a threshold that is not within 0 to 100.
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
        f"To tell the share from {percent:g}%: {_at_this_share(counted, more, chance, cap)}, "
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


def _at_this_share(counted: int, more: int | None, chance: float, cap: int) -> str:
    if more is None:
        return f"if the share stays as it is, {cap:,} more cells are not enough, so near is it"
    return (
        f"count {more:,} more cells ({counted + more:,} in all) if the share stays as it is; "
        f"as it may not, they are enough in {chance:.0%} of such cases"
    )


def _by_chance(likely: int | None, cap: int) -> str:
    if likely is None:
        return f"{cap:,} are in less than {LIKELY:.0%}"
    return f"about {likely:,} are in {LIKELY:.0%}"


def chances_of(
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    codes: Sequence[str] = ("BLA",),
    reviewed: Mapping[str, str] | None = None,
) -> dict[str, float]:
    """Give the chance that each cell is of some classes (0..1), by path; a reviewed one is sure.

    Probabilities are in the order of `classes`; `reviewed` has the label that a person gave.

    Raises:
        SettingsError: the model knows none of the classes.
    """
    columns = [place for place, code in enumerate(classes) if code in codes]
    if not columns:
        raise SettingsError(
            f"the model does not know {' or '.join(codes)}; it knows {', '.join(classes)}"
        )
    labels = reviewed or {}
    return {
        each.path: float(labels[each.path] in codes)
        if each.path in labels
        else min(1.0, sum(each.probabilities[column] for column in columns))
        for each in predictions
    }


def review_first(
    predictions: Iterable[Prediction],
    classes: Sequence[str],
    codes: Sequence[str] = ("BLA",),
    reviewed: Mapping[str, str] | None = None,
) -> list[ToReview]:
    """Order cells so that their review shrinks the doubt about the share of some classes fastest.

    The doubt about a cell with the chance p has the variance p * (1 - p), and variances add up: a
    cell with 0.5 (0.25) comes before one with 0.9 (0.09). Reviewed cells are left out.

    Raises:
        SettingsError: the model knows none of the classes.
    """
    done = reviewed or {}
    chances = chances_of(predictions, classes, codes, done)
    open_cells = (
        ToReview(path, chance, chance * (1 - chance))
        for path, chance in chances.items()
        if path not in done
    )
    return sorted(open_cells, key=lambda cell: (-cell.variance, cell.path))


def reviews_until_clear(chances: Iterable[float], counted: int, percent: float) -> Reviews:
    """Give how many cells to review until the interval of a share leaves a threshold.

    The share s is the sum of the chances over the n counted cells. Its variance is that of drawing
    cells, s (1 - s) / n, and the model's doubt: the sum of p (1 - p) over the cells that are not
    reviewed, by n squared. The interval is the exact one of so many cells as have this variance.
    500 cells, 40 of them with a chance of 0.75: s is 6%; 0.0001128 + 0.00003 is the variance of 395
    cells at 6%, and their limits are 3.9 and 8.8; with all 40 reviewed, of 500, 4.1 and 8.5.

    Raises:
        SettingsError: no cell was counted, or a threshold that is not within 0 to 100.

    Source: Korn and Graubard, Survey Methodology 1998;24:193-201, for the number of cells.
    """
    chance = np.fromiter(chances, dtype=np.float64)
    expected = float(chance.sum())
    if counted <= 0 or expected > counted:
        raise SettingsError(f"{expected:.1f} of {counted} cells is no share; count all the cells")
    _check(0, counted, percent)
    share = expected / counted
    as_good = _as_good_as(chance, counted)
    clear = np.flatnonzero(_clear(share * as_good, as_good, percent / 100))
    reviews = int(clear[0]) if len(clear) else None
    low, high = _limits(share, as_good[0])
    words = _reviews_in_words(percent, reviews, int(np.count_nonzero(chance * (1 - chance))))
    return Reviews(percent, 100 * share, low, high, reviews, words)


def _as_good_as(chance: NDArray[np.float64], counted: int) -> NDArray[np.float64]:
    """Give how many surely known cells say as much, after 0, 1, 2 ... reviews (R + 1,)."""
    doubt = np.sort(chance * (1 - chance))
    left = np.concatenate([[0.0], np.cumsum(doubt[doubt > 0])])[::-1]
    share = chance.sum() / counted
    drawing = counted * share * (1 - share)
    if not drawing:
        return np.full(len(left), float(counted))
    return np.asarray(counted * drawing / (drawing + left))


def _limits(share: float, cells: float) -> tuple[float, float]:
    """Exact 95% limits in percent, of a number of cells that need not be whole."""
    found = share * cells
    low = float(betaincinv(found, cells - found + 1, TAIL)) if found > 0 else 0.0
    high = float(betaincinv(found + 1, cells - found, 1 - TAIL)) if found < cells else 1.0
    return 100 * low, 100 * high


def _reviews_in_words(percent: float, reviews: int | None, doubtful: int) -> str:
    if reviews == 0:
        return f"No review is needed to tell the share from {percent:g}%."
    if reviews is None:
        return (
            f"To tell the share from {percent:g}%, reviewing is not enough, not even of all "
            f"{doubtful:,} cells in doubt: more cells must be counted."
        )
    return (
        f"To tell the share from {percent:g}%, review about {reviews:,} of the {doubtful:,} cells "
        "in doubt, the most doubtful first."
    )
