"""Intervals of differences and of kappa: published examples, and statsmodels as the reference."""

import math

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from marrowscope.metrics.classification import Interval
from marrowscope.metrics.intervals import (
    independent_difference,
    kappa_interval,
    paired_difference,
    wilson,
)


def limits(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_newcombes_table(successes: int, trials: int, low: float, high: float) -> None:
    """Source: Newcombe, Stat Med 1998;17:857, method 3 of table I."""
    assert limits(wilson(successes, trials)) == pytest.approx((low, high), abs=5e-5)


def test_the_example_for_two_samples() -> None:
    """Source: Newcombe, Stat Med 1998;17:873: 56/70 against 48/80 by method 10."""
    found = independent_difference(48, 80, 56, 70)
    assert found.value == pytest.approx(0.2)
    assert limits(found) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_the_example_for_the_same_cells() -> None:
    """Source: Fagerland, Lydersen and Laake 2017, chapter 8: 59, 6, 16, 80 give -0.0621."""
    found = paired_difference(59, 16, 6, 80)
    assert found.value == pytest.approx(-0.0621, abs=5e-5)
    assert limits(found) == pytest.approx((-0.1186, -0.0046), abs=5e-5)


@pytest.mark.parametrize("seed", range(20))
def test_two_samples_as_statsmodels_has_them(seed: int) -> None:
    random = np.random.default_rng(seed)
    trials = [int(n) for n in random.integers(1, 600, 2)]
    successes = [int(random.integers(0, n + 1)) for n in trials]
    found = independent_difference(successes[0], trials[0], successes[1], trials[1])
    expected = confint_proportions_2indep(
        successes[1], trials[1], successes[0], trials[0], method="newcomb", compare="diff"
    )
    assert limits(found) == pytest.approx(expected, abs=1e-12)
    one = proportion_confint(successes[0], trials[0], method="wilson")
    assert limits(wilson(successes[0], trials[0])) == pytest.approx(one, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_kappa_as_statsmodels_and_scikit_learn_have_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(0, 40, (4, 4)) + np.diag(random.integers(0, 200, 4))
    found = kappa_interval(table)
    expected = cohens_kappa(table)
    assert found.value == pytest.approx(expected.kappa, abs=1e-12)
    assert limits(found) == pytest.approx((expected.kappa_low, expected.kappa_upp), abs=1e-12)
    one, two = np.indices(table.shape)
    pairs = (np.repeat(each.ravel(), table.ravel()) for each in (one, two))
    assert found.value == pytest.approx(cohen_kappa_score(*pairs), abs=1e-12)


def test_swapping_the_sides_turns_a_difference_round() -> None:
    one, two = independent_difference(3, 40, 9, 70), independent_difference(9, 70, 3, 40)
    assert (one.low, one.high) == pytest.approx((-two.high, -two.low))
    same, turned = paired_difference(30, 4, 9, 60), paired_difference(30, 9, 4, 60)
    assert (same.low, same.high) == pytest.approx((-turned.high, -turned.low))


def test_reading_the_same_cells_tells_more_than_two_samples() -> None:
    """8 against 12 blasts of 100: paired, with 7 in common, limits are far closer."""
    paired, apart = paired_difference(7, 1, 5, 87), independent_difference(8, 100, 12, 100)
    assert paired.value == pytest.approx(apart.value)
    assert paired.high - paired.low < 0.8 * (apart.high - apart.low)


@pytest.mark.parametrize("shares", [(0.05, 0.05), (0.2, 0.25), (0.02, 0.1)])
def test_the_limits_hold_the_true_difference_as_often_as_they_say(
    shares: tuple[float, float],
) -> None:
    random = np.random.default_rng(0)
    draws = random.binomial(200, shares, (2000, 2))
    held = [
        interval.low <= shares[1] - shares[0] <= interval.high
        for interval in (independent_difference(int(a), 200, int(b), 200) for a, b in draws)
    ]
    assert 0.93 <= np.mean(held) <= 0.98


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert math.isnan(independent_difference(0, 0, 3, 9).low)
    assert math.isnan(paired_difference(0, 0, 0, 0).value)
    all_agree = kappa_interval(np.array([[5, 0], [0, 7]]))
    assert all_agree.value == 1
    assert math.isnan(all_agree.low)
    assert math.isnan(kappa_interval(np.array([[9]])).value)


def test_nobody_changing_a_cell_leaves_room_for_chance() -> None:
    found = paired_difference(20, 0, 0, 80)
    assert found.value == 0
    assert found.low < 0 < found.high
