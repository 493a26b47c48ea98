"""Intervals of differences between shares, and of the agreement of two readers."""

import math

import numpy as np
from scipy.stats import norm

from marrowscope.metrics.classification import Interval, Matrix, accuracy, cohen_kappa


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Give the score interval of a share, 0..1; (NaN, 0, 1) without trials.

    81 of 263: 0.308 with limits 0.2553 and 0.3662.

    Source: Wilson, JASA 1927;22:209; the example in Newcombe, Stat Med 1998;17:857.
    """
    if trials == 0:
        return Interval(math.nan, 0.0, 1.0)
    z = _z(level)
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = share * (1 - share) / trials + z**2 / (4 * trials**2)
    half = z * math.sqrt(spread) / (1 + z**2 / trials)
    low = middle - half if successes else 0.0
    return Interval(share, low, middle + half if successes < trials else 1.0)


def independent_difference(
    first: int, of_first: int, other: int, of_other: int, level: float = 0.95
) -> Interval:
    """Newcombe's interval of other/of_other - first/of_first, -1..1, for two sets of cells.

    48 of 80, then 56 of 70: 0.2 with limits 0.0524 and 0.3339. NaN where one set is empty.

    Source: Newcombe, Stat Med 1998;17:873, method 10 (its example).
    """
    return _square_and_add(wilson(first, of_first, level), wilson(other, of_other, level), 0.0)


def paired_difference(
    both: int, only_first: int, only_other: int, neither: int, level: float = 0.95
) -> Interval:
    """Newcombe's interval of the share in `other` minus that in `first`, -1..1, on the same cells.

    Of 161 cells, 59 in both, 6 in the first alone, 16 in the other alone, 80 in neither: 75/161 -
    65/161 = 0.0621 with limits 0.0046 and 0.1186. NaN without cells.

    Source: Newcombe, Stat Med 1998;17:2635, method 10; the example in Fagerland, Lydersen and
    Laake, Statistical Analysis of Contingency Tables, 2017, chapter 8.
    """
    cells = both + only_first + only_other + neither
    first, other = both + only_first, both + only_other
    together = float(both * neither - only_first * only_other)
    if together > 0:
        together = max(together - cells / 2, 0.0)
    spread = math.sqrt(first * (cells - first) * other * (cells - other))
    correlation = together / spread if spread else 0.0
    return _square_and_add(wilson(first, cells, level), wilson(other, cells, level), correlation)


def kappa_interval(matrix: Matrix, level: float = 0.95) -> Interval:
    """Cohen's kappa of a (C, C) table of counts with its large-sample limits, cut at -1 and 1.

    Of `[[45, 5], [10, 40]]`, 85 of 100 agree and 50 would by chance: 0.7 with limits 0.561 and
    0.839. The limits are NaN where all cells agree, as their spread is then unknown.

    Source: Fleiss, Cohen and Everitt, Psychol Bull 1969;72:323, formula 13.
    """
    kappa = cohen_kappa(matrix)
    if math.isnan(kappa) or accuracy(matrix) >= 1:
        return Interval(kappa, math.nan, math.nan)
    half = _z(level) * math.sqrt(_kappa_variance(matrix, kappa))
    return Interval(kappa, max(kappa - half, -1.0), min(kappa + half, 1.0))


def _kappa_variance(matrix: Matrix, kappa: float) -> float:
    cells = float(matrix.sum())
    shares = matrix / cells
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    by_chance = float(rows @ columns)
    on_diagonal = np.diag(shares) @ (1 - (rows + columns) * (1 - kappa)) ** 2
    sums = (columns[:, None] + rows[None, :]) ** 2
    off_diagonal = (1 - kappa) ** 2 * ((shares * sums).sum() - np.diag(shares) @ np.diag(sums))
    offset = (kappa - by_chance * (1 - kappa)) ** 2
    return float((on_diagonal + off_diagonal - offset) / ((1 - by_chance) ** 2 * cells))


def _square_and_add(first: Interval, other: Interval, correlation: float) -> Interval:
    """Put the limits of two shares together to those of other - first."""
    down, up = other.value - other.low, first.high - first.value
    under, over = first.value - first.low, other.high - other.value
    difference = other.value - first.value
    return Interval(
        difference,
        difference - math.sqrt(max(down**2 + up**2 - 2 * correlation * down * up, 0)),
        difference + math.sqrt(max(over**2 + under**2 - 2 * correlation * over * under, 0)),
    )


def _z(level: float) -> float:
    return float(norm.ppf((1 + level) / 2))
