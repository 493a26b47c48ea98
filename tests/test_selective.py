"""Errors among the most certain cells: worked examples, brute force, thresholds."""

from itertools import permutations

import numpy as np
import pytest

from marrowscope.metrics.selective import (
    Threshold,
    review,
    risk_coverage,
    selective,
    threshold_for,
    thresholds_of,
)

FALLING = np.array([0.9, 0.8, 0.7])


def test_worked_curve() -> None:
    """Right, wrong, right: 0/1, 1/2, 1/3; the area is their mean, 5/18."""
    right = np.array([True, False, True])
    assert risk_coverage(FALLING, right).tolist() == pytest.approx([0, 1 / 2, 1 / 3])
    shuffled = np.array([2, 0, 1])
    found = selective(FALLING[shuffled], right[shuffled], np.arange(3), rounds=100, seed=0)
    assert found.aurc.value == pytest.approx(5 / 18)
    assert found.error_full.value == pytest.approx(1 / 3)
    assert found.error_at_80.value == pytest.approx(1 / 2.4)
    assert found.risk_coverage == ((0.333333, 0.0), (0.666667, 0.5), (1.0, 0.333333))


def test_equal_confidences_count_as_the_mean_of_all_orders() -> None:
    confidence = np.array([0.9, 0.8, 0.8, 0.8, 0.4])
    right = np.array([True, False, True, True, False])
    orders = [np.array([0, *middle, 4]) for middle in permutations((1, 2, 3))]
    curves = [np.cumsum(~right[order]) / np.arange(1, 6) for order in orders]
    assert risk_coverage(confidence, right) == pytest.approx(np.mean(curves, axis=0))


def test_a_cell_that_is_drawn_twice_counts_as_two() -> None:
    """The bootstrap over one group draws it always; over two, the interval spans both."""
    right = np.array([True, True, False])
    one = selective(FALLING, right, np.zeros(3, dtype=np.int64), rounds=100, seed=0)
    assert (one.error_full.low, one.error_full.high) == pytest.approx((1 / 3, 1 / 3))
    two = selective(FALLING, right, np.array([0, 0, 1]), rounds=400, seed=0)
    assert (two.error_full.low, two.error_full.high) == pytest.approx((0, 1))
    assert (two.aurc.low, two.aurc.high) == pytest.approx((0, 1))


def test_certain_cells_that_err_less_make_a_smaller_area() -> None:
    random = np.random.default_rng(0)
    chance = random.uniform(0.3, 1, 5000)
    right = random.random(5000) < chance
    groups = np.arange(5000)
    good, none = (
        selective(each, right, groups, rounds=100, seed=0)
        for each in (chance, random.permutation(chance))
    )
    assert good.aurc.high < none.aurc.low
    assert good.error_at_80.high < good.error_full.low
    assert none.aurc.value == pytest.approx(none.error_full.value, abs=0.03)
    assert len(good.risk_coverage) == 200


def test_a_threshold_takes_one_error_more_than_was_seen() -> None:
    """The last: 79 right, then e wrong ones: (e + 1) / (79 + e + 1) <= 1/20 for 3 (4/83), not 4."""
    sure = np.linspace(0.99, 0.5, 99)
    right = np.ones(99, dtype=bool)
    assert threshold_for(sure, right, 0.01) == Threshold(0.01, 0.5)
    assert threshold_for(sure[:98], right[:98], 0.01) == Threshold(0.01, None)
    worst = right.copy()
    worst[0] = False
    assert threshold_for(sure, worst, 0.01).threshold is None
    assert threshold_for(sure, worst, 0.02).threshold == 0.5
    last = right.copy()
    last[-20:] = False
    assert threshold_for(sure, last, 0.05).threshold == sure[81]


def test_cells_of_equal_confidence_are_accepted_together() -> None:
    confidence = np.array([0.9] * 30 + [0.6] * 30)
    right = np.array([True] * 40 + [False] * 20)
    assert threshold_for(confidence, right, 0.05) == Threshold(0.05, 0.9)


def test_worked_review() -> None:
    found = review(Threshold(0.05, 0.8), FALLING, np.array([True, False, False]))
    assert (found.cells, found.error) == (2, 0.5)
    assert found.share == pytest.approx(1 / 3)
    assert (found.low, found.high) == pytest.approx((0.0126, 0.9874), abs=1e-4)
    nothing = review(Threshold(0.05, None), FALLING, np.array([True, False, False]))
    assert (nothing.cells, nothing.share) == (0, 1.0)
    assert np.isnan(nothing.error)


def test_what_a_bundle_holds_is_read_back() -> None:
    assert thresholds_of([{"error_rate": 0.01, "threshold": None}]) == (Threshold(0.01, None),)
    with pytest.raises(ValueError, match="not within 0 to 1"):
        thresholds_of([{"error_rate": 0.01, "threshold": 7.0}])
