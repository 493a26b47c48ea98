"""Every figure against a hand-worked example, a published table or scikit-learn."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
)
from sklearn.metrics import confusion_matrix as sklearn_matrix

from marrowscope.metrics.classification import (
    Interval,
    Matrix,
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    confusion_matrix,
    draws,
    exact_interval,
    macro,
    matthews_correlation,
    paired_differences,
    per_class,
    percentile_interval,
    weighted,
)

TRUTH = [0] * 5 + [1] * 4 + [2] * 3
PREDICTED = [0, 0, 0, 1, 2, 1, 1, 1, 0, 2, 2, 1]
# The matrix is  3 1 1   class 0: precision 3/4, recall 3/5, F1 2*3/(4+5) = 6/9
#                1 3 0   class 1: precision 3/5, recall 3/4, F1 2*3/(5+4) = 6/9
#                0 1 2   class 2: precision 2/3, recall 2/3, F1 2*2/(3+3) = 4/6
# so accuracy is 8/12 and every F1 is 2/3. With true cells (5, 4, 3) and predicted (4, 5, 3):
# balanced accuracy = macro recall = (3/5 + 3/4 + 2/3) / 3 = 121/180
# macro precision = (3/4 + 3/5 + 2/3) / 3 = 121/180
# weighted precision = (5 * 3/4 + 4 * 3/5 + 3 * 2/3) / 12 = 8.15/12; weighted recall = 8/12
# kappa: by chance (5*4 + 4*5 + 3*3) / 144 = 49/144 agree, so (96 - 49) / (144 - 49) = 47/95
# MCC: (8*12 - 49) / sqrt((144 - (25+16+9)) * (144 - (16+25+9))) = 47/94


def test_hand_worked_example() -> None:
    matrix = confusion_matrix(TRUTH, PREDICTED, 3)
    assert matrix.tolist() == [[3, 1, 1], [1, 3, 0], [0, 1, 2]]
    assert accuracy(matrix) == pytest.approx(8 / 12)
    rows = per_class(matrix)
    assert [row.precision for row in rows] == pytest.approx([3 / 4, 3 / 5, 2 / 3])
    assert [row.recall for row in rows] == pytest.approx([3 / 5, 3 / 4, 2 / 3])
    assert [row.f1 for row in rows] == pytest.approx([2 / 3] * 3)
    assert [row.support for row in rows] == [5, 4, 3]
    assert macro(matrix).f1 == pytest.approx(2 / 3)
    assert macro(matrix).precision == pytest.approx(121 / 180)
    assert macro(matrix).recall == balanced_accuracy(matrix) == pytest.approx(121 / 180)
    means = weighted(matrix)
    assert (means.precision, means.recall, means.f1) == pytest.approx((8.15 / 12, 8 / 12, 2 / 3))
    assert cohen_kappa(matrix) == pytest.approx(47 / 95)
    assert matthews_correlation(matrix) == pytest.approx(1 / 2)


def test_the_numbers_in_the_docstrings() -> None:
    matrix = np.array([[1, 1], [0, 1]])
    assert weighted(matrix).precision == pytest.approx(5 / 6)
    assert balanced_accuracy(matrix) == pytest.approx(3 / 4)
    assert cohen_kappa(matrix) == pytest.approx(2 / 5)
    assert matthews_correlation(matrix) == pytest.approx(2 / 4)


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_those_of_scikit_learn(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 6, 200)
    truth[truth == 4] = 0  # a class without true cells
    predicted = np.where(random.random(200) < 0.6, truth, random.integers(0, 6, 200))
    matrix = confusion_matrix(truth.tolist(), predicted.tolist(), 6)
    occurring = [0, 1, 2, 3, 5]
    assert (matrix == sklearn_matrix(truth, predicted, labels=range(6))).all()
    assert accuracy(matrix) == pytest.approx(accuracy_score(truth, predicted))
    theirs = precision_recall_fscore_support(
        truth, predicted, labels=occurring, average="macro", zero_division=0
    )
    ours = macro(matrix)
    assert (ours.precision, ours.recall, ours.f1) == pytest.approx(theirs[:3])
    theirs = precision_recall_fscore_support(
        truth, predicted, labels=range(6), average="weighted", zero_division=0
    )
    means = weighted(matrix)
    assert (means.precision, means.recall, means.f1) == pytest.approx(theirs[:3])
    found = [cohen_kappa(matrix), matthews_correlation(matrix)]
    assert found == pytest.approx(
        [cohen_kappa_score(truth, predicted), matthews_corrcoef(truth, predicted)]
    )
    seen = np.isin(predicted, occurring)  # scikit-learn warns of predicted classes without cells
    only = confusion_matrix(truth[seen].tolist(), predicted[seen].tolist(), 6)
    theirs = balanced_accuracy_score(truth[seen], predicted[seen])
    assert balanced_accuracy(only) == pytest.approx(theirs)
    some = macro(matrix, [1, 3])
    theirs = precision_recall_fscore_support(truth, predicted, labels=[1, 3], average="macro")
    assert (some.precision, some.recall, some.f1) == pytest.approx(theirs[:3])


def test_no_cells_give_no_figure() -> None:
    empty = confusion_matrix([], [], 3)
    assert math.isnan(accuracy(empty))
    assert math.isnan(macro(empty).f1)
    assert math.isnan(weighted(empty).f1)
    assert math.isnan(balanced_accuracy(empty))
    assert math.isnan(cohen_kappa(empty))
    assert math.isnan(matthews_correlation(empty))


def test_one_class_on_both_sides_has_no_agreement_beyond_chance() -> None:
    one = confusion_matrix([1, 1], [1, 1], 3)
    assert math.isnan(cohen_kappa(one))
    assert matthews_correlation(one) == 0  # scikit-learn gives 0 too, with a warning


def test_rounds_without_a_figure_are_left_out_of_its_interval() -> None:
    some = percentile_interval(0.5, [math.nan, *([0.4] * 50), *([0.6] * 50), math.nan])
    assert (some.value, some.low, some.high) == pytest.approx((0.5, 0.4, 0.6))
    none = percentile_interval(0.5, [math.nan])
    assert none.value == 0.5
    assert math.isnan(none.low)
    assert math.isnan(none.high)


@pytest.mark.parametrize(
    ("cells", "of", "low", "high"),
    [(5, 100, 1.6, 11.3), (25, 500, 3.3, 7.3), (50, 500, 7.5, 13.0), (100, 500, 16.6, 23.8),
     (0, 500, 0.0, 0.7), (0, 100, 0.0, 3.6), (100, 100, 96.4, 100.0)],
)  # fmt: skip
def test_exact_interval_gives_the_values_of_the_published_tables(
    cells: int, of: int, low: float, high: float
) -> None:
    interval = exact_interval(cells, of)
    assert interval.value == cells / of
    assert (round(100 * interval.low, 1), round(100 * interval.high, 1)) == (low, high)


def test_exact_interval_without_cells_says_nothing() -> None:
    interval = exact_interval(0, 0)
    assert math.isnan(interval.value)
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_bootstrap_is_repeatable_and_about_as_wide_as_theory_says() -> None:
    truth = [0] * 400
    predicted = [0] * 320 + [1] * 80

    def share(seed: int) -> tuple[float, float, float]:
        interval = accuracy_interval(truth, predicted, range(400), seed=seed)
        return interval.value, interval.low, interval.high

    assert share(1) == share(1)
    value, low, high = share(0)
    standard_error = math.sqrt(0.8 * 0.2 / 400)
    assert value == 0.8
    assert low == pytest.approx(0.8 - 1.96 * standard_error, abs=0.006)
    assert high == pytest.approx(0.8 + 1.96 * standard_error, abs=0.006)


def accuracy_interval(
    truth: list[int],
    predicted: list[int],
    groups: Sequence[int],
    *,
    rounds: int = 2000,
    seed: int = 0,
) -> Interval:
    right = np.asarray(truth) == np.asarray(predicted)
    drawn = [float(np.average(right, weights=times)) for times in draws(groups, rounds, seed)]
    return percentile_interval(float(right.mean()), drawn)


def test_bootstrap_over_groups_is_wider_than_over_cells() -> None:
    truth = [0] * 400
    predicted = ([0] * 20 + [1] * 20) * 10
    groups = [cell // 20 for cell in range(400)]

    def width(groups: list[int]) -> float:
        interval = accuracy_interval(truth, predicted, groups)
        return interval.high - interval.low

    assert width(groups) > 3 * width(list(range(400)))


def test_a_paired_difference_tells_apart_what_separate_intervals_do_not() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 400)
    one = np.where(random.random(400) < 0.75, truth, 1 - truth)
    other = one.copy()
    right = np.flatnonzero(one == truth)[:16]
    other[right] = 1 - truth[right]
    groups = np.arange(400).tolist()

    def figures(matrix: Matrix) -> dict[str, float]:
        return {"accuracy": accuracy(matrix)}

    paired = paired_differences(
        figures, truth.tolist(), one.tolist(), other.tolist(), groups, classes=2, rounds=500
    )["accuracy"]
    assert paired.value == pytest.approx(16 / 400)
    assert 0 < paired.low < paired.value < paired.high < 0.07
    apart = [
        accuracy_interval(truth.tolist(), each.tolist(), groups, rounds=500)
        for each in (one, other)
    ]
    assert apart[0].low < apart[1].high
