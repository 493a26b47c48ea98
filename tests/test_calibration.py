"""Calibration: worked examples, known truths, and real logits."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from marrowscope.errors import SettingsError
from marrowscope.metrics.calibration import (
    Calibration,
    calibrate,
    calibration_error,
    reliability,
    uncalibrated,
)


def overconfident(
    cells: int = 20_000, classes: int = 4, sharpness: float = 3.0
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], list[int]]:
    """Classes drawn from known probabilities, and logits three times too sharp."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 1.5, (cells, classes))
    chances = softmax(logits, axis=1)
    truth = (chances.cumsum(axis=1) > random.random((cells, 1))).argmax(axis=1)
    return sharpness * logits, truth.tolist()


def test_the_temperature_that_was_put_in_is_found() -> None:
    logits, truth = overconfident()
    found = calibrate(logits, truth)
    assert found.method == "temperature"
    assert found.cells == len(truth)
    assert 1 / found.factor[0] == pytest.approx(3.0, rel=0.05)
    assert set(found.shift) == {0.0}
    before, after = softmax(logits, axis=1), softmax(found.apply(logits), axis=1)
    assert calibration_error(before, truth) > 0.15
    assert calibration_error(after, truth) < 0.01
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()


def test_class_wise_scaling_finds_a_shifted_class() -> None:
    logits, truth = overconfident(sharpness=1.0)
    logits[:, 2] += 1.0
    cells = np.arange(len(truth))
    plain, by_class = (
        float(
            log_softmax(calibrate(logits, truth, method).apply(logits), axis=1)[cells, truth].mean()
        )
        for method in ("temperature", "class-wise")
    )
    assert by_class > plain + 0.03
    found = calibrate(logits, truth, "class-wise")
    assert found.shift[2] < min(found.shift[0], found.shift[1], found.shift[3]) - 0.5


def test_a_curve_finds_distances_that_were_held_small() -> None:
    """A distance of 2 and a bend of 0.5: 2 * (1 + 0.5 * 2) = 4; what saturates is stretched."""
    bent = Calibration("curved", (1.0, 1.0), (0.0, 0.0), 9, bend=0.5)
    assert bent.apply(np.array([[3.0, 1.0]])).tolist() == [[0.0, -4.0]]
    true, truth = overconfident(sharpness=1.0)
    below = true - true.max(axis=1, keepdims=True)
    held = (1 - np.sqrt(1 - 4 * 0.3 * below)) / (2 * 0.3)
    found = calibrate(held, truth, "curved")
    assert found.bend == pytest.approx(0.3, abs=0.06)
    assert found.factor[0] == pytest.approx(1.0, abs=0.1)
    assert calibration_error(softmax(found.apply(held), axis=1), truth) < 0.01
    plain = calibrate(held, truth)
    assert calibration_error(softmax(plain.apply(held), axis=1), truth) > 0.012
    back = found.undo(softmax(found.apply(held), axis=1))
    assert back is not None
    assert np.abs(back - softmax(held, axis=1)).max() < 1e-9


def test_worked_error() -> None:
    """Two cells at 0.9, one right: |0.5 - 0.9| = 0.4. One at 0.6, wrong: 0.6. (2*0.4 + 0.6) / 3."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    assert calibration_error(probabilities, [0, 1, 0]) == pytest.approx((2 * 0.4 + 0.6) / 3)
    rows = reliability(probabilities, [0, 1, 0])
    assert [(row.cells, row.accuracy) for row in rows] == [(1, 0.0), (2, 0.5)]
    assert [row.confidence for row in rows] == pytest.approx([0.6, 0.9])


def test_a_temperature_can_be_undone() -> None:
    """Temperature 2: 0.8 and 0.2 were 0.64 / 0.68 and 0.04 / 0.68. Class by class, nothing can."""
    halved = Calibration("temperature", (0.5, 0.5), (0.0, 0.0), 9)
    before = halved.undo(np.array([[0.8, 0.2], [1.0, 0.0]]))
    assert before is not None
    assert before.ravel() == pytest.approx([0.64 / 0.68, 0.04 / 0.68, 1.0, 0.0])
    logits, truth = overconfident(cells=2000)
    fitted = calibrate(logits, truth)
    back = fitted.undo(softmax(fitted.apply(logits), axis=1))
    assert back is not None
    assert np.abs(back - softmax(logits, axis=1)).max() < 1e-12
    assert calibrate(logits, truth, "class-wise").undo(back) is None
    assert uncalibrated(4).undo(back) is None


def test_certainty_has_a_bin() -> None:
    assert calibration_error(np.array([[1.0, 0.0]]), [0]) == 0.0


@pytest.mark.parametrize("cells", [0, 2])
def test_a_method_that_is_none_is_refused(cells: int) -> None:
    words = "calibration 'platt' is not one of temperature, curved, class-wise, none"
    with pytest.raises(SettingsError, match=words):
        calibrate(np.array([[1.0, 2.0], [3.0, 1.0]])[:cells], [0, 1][:cells], "platt")


def test_nothing_to_fit_changes_nothing() -> None:
    logits = np.array([[1.0, 2.0], [3.0, 1.0]])
    for found in (uncalibrated(2), calibrate(logits, [0, 1], "none"), calibrate(logits[:0], [])):
        assert found == Calibration("none", (1.0, 1.0), (0.0, 0.0), 0)
        assert (found.apply(logits) == logits).all()
