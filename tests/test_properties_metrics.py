"""Whatever the cells: shares add up, intervals hold them, figures equal those of scikit-learn."""

import random
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays
from properties import bounded, codes
from sklearn import metrics as reference

from marrowscope.differential.count import count
from marrowscope.differential.me_ratio import FORMULAS, me_ratio
from marrowscope.metrics.calibration import METHODS, Calibration, calibrate, calibration_error
from marrowscope.metrics.classification import (
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    confusion_matrix,
    exact_interval,
    macro,
    matthews_correlation,
    per_class,
    weighted,
)
from marrowscope.metrics.conformal import conform
from marrowscope.metrics.selective import risk_coverage
from marrowscope.taxonomy import CLASSES

counts = some.dictionaries(codes, some.integers(0, 3000), max_size=22)


@bounded
@given(cells=counts, covered=some.sets(codes))
def test_a_differential_adds_up_in_whatever_order_cells_come(
    cells: dict[str, int], covered: set[str]
) -> None:
    found = count(cells, covered)
    of_counted = {code: n for code, n in cells.items() if CLASSES[code].counted}
    assert found.counted == sum(of_counted.values())
    if found.counted:
        assert sum(row.percent for row in found.rows) == pytest.approx(100)
    assert all(0 <= row.low <= row.percent <= row.high <= 100 for row in found.rows)
    whole = [row for row in found.lineages if row.lineage in LINEAGES]
    assert sum(row.cells for row in whole) == found.counted
    assert all(0 <= row.low <= row.percent <= row.high <= 100 for row in found.lineages)
    listed = {row.code: row.cells for row in found.rows}
    listed |= {row.code: row.cells for row in found.excluded}
    assert listed == {code: cells.get(code, 0) for code in CLASSES if code in {*cells, *covered}}
    mixed = list(cells.items())
    random.Random(0).shuffle(mixed)
    assert count(dict(mixed), covered) == found


LINEAGES = {kind.lineage for kind in CLASSES.values()}


@bounded
@given(cells=counts, name=some.sampled_from(tuple(FORMULAS)), times=some.integers(2, 9))
def test_the_ratio_lies_within_its_limits_which_narrow_with_more_cells(
    cells: dict[str, int], name: str, times: int
) -> None:
    formula = FORMULAS[name]
    ratio = me_ratio(cells, formula)
    assert ratio.myeloid == sum(cells.get(code, 0) for code in formula.myeloid)
    if ratio.value is None:
        assert ratio.erythroid == 0
        assert ratio.note
        return
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low <= ratio.value <= ratio.high
    more = me_ratio({code: times * n for code, n in cells.items()}, formula)
    assert more.value == pytest.approx(ratio.value)
    assert more.low is not None
    assert more.low >= ratio.low


@bounded
@given(trials=some.integers(1, 5000), data=some.data())
def test_an_exact_interval_holds_its_share_from_both_sides(
    trials: int, data: some.DataObject
) -> None:
    successes = data.draw(some.integers(0, trials))
    found, mirrored = exact_interval(successes, trials), exact_interval(trials - successes, trials)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))
    if successes < trials:
        assert exact_interval(successes + 1, trials).low > found.low


@settings(bounded, max_examples=40)
@given(
    pairs=some.lists(some.tuples(some.integers(0, 4), some.integers(0, 4)), min_size=1, max_size=60)
)
def test_figures_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    truth, predicted = map(list, zip(*pairs, strict=True))
    labels = range(5)
    matrix = confusion_matrix(truth, predicted, 5)
    there = sorted(set(truth))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = reference.precision_recall_fscore_support(
            truth, predicted, labels=labels, zero_division=0
        )
        means = reference.precision_recall_fscore_support(
            truth, predicted, labels=there, average="macro", zero_division=0
        )
        heavy = reference.f1_score(truth, predicted, average="weighted", zero_division=0)
        balanced = reference.balanced_accuracy_score(truth, predicted)
        kappa = reference.cohen_kappa_score(truth, predicted)
        correlation = reference.matthews_corrcoef(truth, predicted)
    assert (matrix == reference.confusion_matrix(truth, predicted, labels=labels)).all()
    assert accuracy(matrix) == pytest.approx(reference.accuracy_score(truth, predicted))
    ours = [(each.precision, each.recall, each.f1, each.support) for each in per_class(matrix)]
    assert ours == [pytest.approx(row) for row in zip(*theirs, strict=True)]
    mean = macro(matrix)
    assert (mean.precision, mean.recall, mean.f1) == pytest.approx(means[:3])
    assert weighted(matrix).f1 == pytest.approx(heavy)
    assert balanced_accuracy(matrix) == pytest.approx(balanced)
    assert cohen_kappa(matrix) == pytest.approx(kappa, nan_ok=True)
    assert matthews_correlation(matrix) == pytest.approx(correlation)


@some.composite
def scored(draw: some.DrawFn, most: int = 30) -> tuple[np.ndarray, list[int]]:
    """Logits (N, 4) in steps of 1/8, and true classes."""
    cells = draw(some.integers(1, most))
    steps = draw(arrays.arrays(np.int16, (cells, 4), elements=some.integers(-80, 80)))
    truth = draw(some.lists(some.integers(0, 3), min_size=cells, max_size=cells))
    return steps / 8, truth


@bounded
@given(
    cells=scored(),
    factor=some.floats(0.05, 20),
    bend=some.just(0.0) | some.floats(1e-4, 10),
)
def test_a_calibration_of_all_classes_alike_keeps_the_class_and_can_be_undone(
    cells: tuple[np.ndarray, list[int]], factor: float, bend: float
) -> None:
    logits, _ = cells
    scaling = Calibration("curved", (factor,) * 4, (0.0,) * 4, 9, bend)
    scaled = scaling.apply(logits)
    assert (np.take_along_axis(scaled, logits.argmax(1)[:, None], 1)[:, 0] == scaled.max(1)).all()
    falling = np.argsort(-logits, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(scaled, falling, 1)) <= 0).all()


@settings(bounded, max_examples=15)
@given(cells=scored(), method=some.sampled_from(METHODS))
def test_a_fitted_calibration_gives_probabilities_and_is_not_worse(
    cells: tuple[np.ndarray, list[int]], method: str
) -> None:
    logits, truth = cells
    fitted = calibrate(logits, truth, method)
    assert np.isfinite(fitted.factor).all()
    assert (np.array(fitted.factor) > 0).all()
    if method != "class-wise":
        assert (fitted.apply(logits).argmax(1) == logits.argmax(1)).all()
    chances = np.exp(fitted.apply(logits))
    chances /= chances.sum(1, keepdims=True)
    assert 0 <= calibration_error(chances, truth) <= 1


@bounded
@given(
    known=scored(),
    new=scored(10),
    coverages=some.tuples(some.floats(0.05, 0.99), some.floats(0.05, 0.99)),
)
def test_sets_of_classes_grow_with_the_coverage(
    known: tuple[np.ndarray, list[int]],
    new: tuple[np.ndarray, list[int]],
    coverages: tuple[float, float],
) -> None:
    chances, others = (softmax(each) for each, _ in (known, new))
    conformal = conform(chances, known[1], 4)
    small, large = (conformal.sets(others, coverage) for coverage in sorted(coverages))
    assert (small <= large).all()
    held = conformal.sets(chances, max(coverages))[np.arange(len(chances)), known[1]]
    for each in set(known[1]):
        of_class = held[np.array(known[1]) == each]
        assert of_class.mean() >= max(coverages) - 1e-9


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


@bounded
@given(cells=some.lists(some.tuples(some.integers(0, 9), some.booleans()), min_size=1, max_size=40))
def test_errors_by_coverage_end_with_those_of_all_cells_in_any_order(
    cells: list[tuple[int, bool]],
) -> None:
    def risks(those: list[tuple[int, bool]]) -> np.ndarray:
        confidence, right = zip(*those, strict=True)
        return risk_coverage(np.array(confidence, float), np.array(right))

    found = risks(cells)
    wrong = sum(not right for _, right in cells)
    assert found[-1] == pytest.approx(wrong / len(cells))
    assert (found >= -1e-12).all()
    assert (found <= 1 + 1e-12).all()
    assert risks(cells[::-1]) == pytest.approx(found)
