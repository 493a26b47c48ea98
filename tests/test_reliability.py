"""What an evaluation says of probabilities, sets and thresholds, against its predictions.csv."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split
from marrowscope.evaluation.evaluate import evaluate
from marrowscope.metrics.calibration import Calibration, calibration_error, uncalibrated
from marrowscope.metrics.conformal import Abstention
from marrowscope.metrics.reliability import Sealed, conformal, trust
from marrowscope.metrics.scores import Answers
from marrowscope.metrics.selective import Threshold
from marrowscope.model.bundle import Bundle, load_bundle


def answers(chances: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> Answers:
    return Answers(truth, chances.argmax(axis=1), chances, np.arange(len(truth)))


def test_worked_coverage() -> None:
    """Limits 0.3 and 0.6: 60 cells of class 0 at 0.8 have {0}; at 0.5 {1}; at 0.65 none or so."""
    chances = np.array([[0.8, 0.2]] * 45 + [[0.5, 0.5]] * 15 + [[0.65, 0.35]] * 10)
    truth = np.array([0] * 60 + [1] * 10)
    sealed = Abstention("1 - p", ((0.3,) * 9, (0.6,) * 9))
    found = conformal(sealed, answers(chances, truth), ("BLA", "LYT"), 0.9)
    assert found.covered == pytest.approx(45 / 70)
    assert found.mean_set_size == pytest.approx(60 / 70)
    assert (found.one_class, found.empty) == pytest.approx((60 / 70, 10 / 70))
    assert [(each.code, each.cells) for each in found.per_class] == [("BLA", 60)]
    only = found.per_class[0]
    assert (only.covered, only.low, only.high) == pytest.approx((0.75, 0.6214, 0.8528), abs=1e-4)


def test_calibration_is_undone_or_said_to_be_unknown() -> None:
    random = np.random.default_rng(0)
    chances = random.dirichlet([0.5, 1, 1], 500)
    cells = answers(chances, random.integers(0, 3, 500))
    classes = ("BLA", "LYT", "NGS")
    soft = Calibration("temperature", (0.5,) * 3, (0.0,) * 3, 99)
    found = trust(cells, classes, Sealed(soft, None, ()), rounds=100, seed=0)
    before = chances**2 / (chances**2).sum(axis=1, keepdims=True)
    assert found.ece == pytest.approx(calibration_error(chances, cells.truth.tolist()))
    assert found.ece_before == pytest.approx(calibration_error(before, cells.truth.tolist()))
    assert found.reliability_before is not None
    assert sum(each.cells for each in found.reliability_before) == 500
    assert (found.review, found.conformal) == ((), ())
    plain = trust(cells, classes, Sealed(uncalibrated(3), None, ()), rounds=100, seed=0)
    assert (plain.ece_before, plain.reliability_before) == (None, None)


@pytest.fixture
def evaluated(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> tuple[Path, Bundle]:
    """An evaluation of the toy bundle with one threshold that accepts half of the cells."""
    bundle = replace(toy_bundle, review=(Threshold(0.01, None), Threshold(0.05, 0.3)))
    evaluate(bundle, manifest, split, tmp_path / "e", rounds=100)
    return tmp_path / "e", load_bundle(str(toy_bundle.folder))


def test_figures_follow_from_the_predictions(evaluated: tuple[Path, Bundle]) -> None:
    folder, bundle = evaluated
    with (folder / "predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["truth"] in bundle.classes]
    found = json.loads((folder / "metrics.json").read_text())["sets"]["all"]["trust"]
    assert found.keys() == {
        "ece", "ece_before", "reliability", "reliability_before", "risk_coverage", "aurc",
        "error_full", "error_at_80", "review", "conformal",
    }  # fmt: skip
    wrong = np.array([row["truth"] != row["label"] for row in rows])
    confidence = np.array([float(row["probability"]) for row in rows])
    assert found["error_full"]["value"] == pytest.approx(wrong.mean())
    assert sum(each["cells"] for each in found["reliability"]) == len(rows)
    accepted = confidence >= 0.3
    never, half = found["review"]
    assert never == {
        "error_rate": 0.01, "threshold": None, "share": 1.0, "error": None,
        "low": 0.0, "high": 1.0, "cells": 0,
    }  # fmt: skip
    assert half["cells"] == accepted.sum() > 0
    assert half["share"] == pytest.approx(1 - accepted.mean())
    assert half["error"] == pytest.approx(wrong[accepted].mean())
    chances = np.array([[float(row[code]) for code in bundle.classes] for row in rows])
    for each in found["conformal"]:
        sets = bundle.sets.sets(chances, each["coverage"])
        held = [sets[n, bundle.classes.index(row["truth"])] for n, row in enumerate(rows)]
        assert each["covered"] == pytest.approx(np.mean(held))
        assert each["mean_set_size"] == pytest.approx(sets.sum(axis=1).mean())
    assert [each["coverage"] for each in found["conformal"]] == [0.8, 0.9, 0.95]


def test_the_summary_and_the_card_are_sealed_without_the_curve(
    evaluated: tuple[Path, Bundle],
) -> None:
    _, bundle = evaluated
    assert bundle.evaluation is not None
    found = bundle.evaluation["sets"]["all"]["trust"]
    assert "risk_coverage" not in found
    assert len(found["conformal"]) == 3
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert f"- Expected calibration error {found['ece']:.3f}; before calibration" in card
    assert "of the 80% that the model is most certain of" in card
    assert "no confidence is enough by the validation cells" in card
    assert "| 95% | " in card


def test_a_bundle_without_scores_is_evaluated_all_the_same(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    old = replace(toy_bundle, abstention=None, review=())
    evaluate(old, manifest, split, tmp_path / "e", rounds=100)
    found = json.loads((tmp_path / "e/metrics.json").read_text())["sets"]["all"]["trust"]
    assert (found["review"], found["conformal"]) == ([], [])
    assert load_bundle(str(toy_bundle.folder)).abstention is None
