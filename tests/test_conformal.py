"""Conformal sets: a hand-worked example, crepes on real numbers, coverage on known truths."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from crepes import ConformalClassifier
from numpy.typing import NDArray
from test_classify import rows_of, run
from test_output_folder import half_way

from marrowscope.data.manifest import Manifest
from marrowscope.differential.accumulator import Tally
from marrowscope.differential.options import CountingOptions
from marrowscope.errors import BundleError, OutputError, SettingsError
from marrowscope.inference.classify import classify
from marrowscope.inference.options import OutputOptions
from marrowscope.inference.predictor import Predictor
from marrowscope.io.discovery import find_files
from marrowscope.io.tables import CellRows, prediction_row
from marrowscope.metrics.conformal import Abstention, always_in_words, conform
from marrowscope.model.bundle import Bundle, load_bundle, write_description
from marrowscope.types import Picture, Prediction

CELLS = SAMPLES / "cells/mll"
Chances = NDArray[np.float64]


@pytest.fixture(scope="module")
def real(manifest: Manifest) -> tuple[Chances, list[int]]:
    """Probabilities of the sample cells by the default bundle, and their true classes."""
    bundle = load_bundle("default")
    known = [cell for cell in manifest.cells if cell.label in bundle.classes]
    outcomes = Predictor(bundle).classify(
        Picture(manifest.root / cell.path, cell.um_per_px) for cell in known
    )
    chances = [outcome.probabilities for outcome in outcomes if isinstance(outcome, Prediction)]
    return np.array(chances).round(6), [bundle.classes.index(cell.label) for cell in known]


def test_worked_example() -> None:
    """Class 0 has scores .1 .2 .3 .4: at 0.8, number ceil(5 * 0.8) = 4, so up to 0.4.

    Class 1 has scores .05 .5 .9 and (3 + 1) * 0.8 = 3.2 asks for a fourth: always in.
    """
    first = [0.9, 0.6, 0.8, 0.7]
    second = [0.5, 0.1, 0.95]
    chances = np.array([[p, 1 - p] for p in first] + [[1 - p, p] for p in second])
    found = conform(chances, [0] * 4 + [1] * 3, 2)
    assert found.scores == ((0.1, 0.2, 0.3, 0.4), (0.05, 0.5, 0.9))
    assert found.cells == (4, 3)
    assert found.limits(0.8).tolist() == [0.4, math.inf]
    assert found.limits(0.6).tolist() == [0.3, 0.9]
    new = np.array([[0.6, 0.4], [0.59, 0.41], [0.05, 0.95]])
    assert found.sets(new, 0.8).tolist() == [[True, True], [False, True], [False, True]]
    assert found.always(("BLA", "LYT"), 0.8) == ("LYT",)
    assert always_in_words(("LYT",), 0.8) == (
        "In every set, as fewer than 4 validation cells are too few to leave a class out at a "
        "coverage of 0.8: LYT."
    )
    assert always_in_words((), 0.8) == ""


def test_a_cell_unlike_all_has_an_empty_set() -> None:
    sharp = Abstention("1 - p", ((0.1,) * 9, (0.2,) * 9))
    assert sharp.sets(np.array([[0.6, 0.4]]), 0.9).tolist() == [[False, False]]


@pytest.mark.parametrize(("coverage", "enough"), [(0.8, 4), (0.9, 9), (0.95, 19)])
def test_how_many_cells_a_class_needs(coverage: float, enough: int) -> None:
    few = Abstention("1 - p", ((0.5,) * (enough - 1), (0.5,) * enough))
    assert few.always("AB", coverage) == ("A",)
    assert f"fewer than {enough} validation" in always_in_words("A", coverage)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.85, 0.9])
def test_sets_are_those_of_crepes(real: tuple[Chances, list[int]], coverage: float) -> None:
    """crepes keeps a class where p equals 1 - coverage too; the definition asks for more."""
    chances, truth = real
    classes = chances.shape[1]
    some, rest = np.arange(len(truth)) % 5 != 0, np.arange(len(truth)) % 5 == 0
    known = np.array(truth)[some]
    ours = conform(chances[some], known.tolist(), classes).sets(chances[rest], coverage)
    own = (1 - chances[some]).round(6)[np.arange(len(known)), known]
    reference = ConformalClassifier().fit(own, bins=known)
    new = (1 - chances[rest]).round(6)
    for index in range(classes):
        p = reference.predict_p(
            new[:, [index]], bins=np.full(len(new), index), all_classes=True, smoothing=False
        )
        assert (ours[:, index] == (p[:, 0] > 1 - coverage + 1e-9)).all()
    assert 0 < ours.mean() < 1


def test_coverage_is_kept_class_by_class_where_one_is_harder() -> None:
    """Two classes, 30 and 3 times rarer, one of them mostly missed: both are covered."""
    random = np.random.default_rng(1)
    truth = (random.random(40_000) < 0.1).astype(int)
    logits = random.normal(0, 1, (40_000, 2))
    logits[np.arange(40_000), truth] += np.where(truth == 1, 0.5, 3.0)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = conform(chances[:20_000], truth[:20_000].tolist(), 2)
    sets, later = found.sets(chances[20_000:], 0.9), truth[20_000:]
    for each in (0, 1):
        assert sets[later == each, each].mean() == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 1.5, math.nan])
def test_a_coverage_that_is_none_is_refused(coverage: float) -> None:
    with pytest.raises(SettingsError, match="coverage must lie between 0 and 1"):
        Abstention("1 - p", ((0.5,),)).sets(np.array([[1.0]]), coverage)


def test_export_seals_the_scores_of_the_validation_cells(toy_bundle: Bundle) -> None:
    sealed = toy_bundle.sets
    assert sum(sealed.cells) > 0
    counted = toy_bundle.origin["images"]
    val = Counter[str]()
    for name, cells_of in counted.items():
        if name.startswith("val "):
            val.update(cells_of)
    assert dict(zip(toy_bundle.classes, sealed.cells, strict=True)) == {
        code: val[code] for code in toy_bundle.classes
    }
    assert [each.error_rate for each in toy_bundle.review] == [0.01, 0.02, 0.05]
    words = next(line for line in toy_bundle.origin["agreement"] if "abstention" in line)
    assert "are too few to leave a class out at a coverage of 0.95" in words


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"method": "magic"}, "its abstention is 'magic'"),
        ({"scores": [[0.1]], "cells": [1]}, "for 1 classes"),
        ({"cells": [99, 1]}, "were changed"),
    ],
)
def test_scores_that_were_changed_are_refused(
    toy_bundle: Bundle, change: dict[str, object], why: str
) -> None:
    file = toy_bundle.folder / "bundle.json"
    values = json.loads(file.read_text())
    values["abstention"] |= change
    file.write_text(json.dumps(values))
    with pytest.raises(BundleError, match=why):
        load_bundle(str(toy_bundle.folder))


@pytest.fixture
def unsure(toy_bundle: Bundle) -> Bundle:
    """The toy bundle with made-up scores: sets of no class, the class, another one, or both."""
    found = [
        each
        for each in Predictor(toy_bundle).classify(map(Picture, sorted(CELLS.rglob("*.jpg"))))
        if isinstance(each, Prediction)
    ]
    own, first = (
        round(1 - float(np.median(values)), 6)
        for values in (
            [each.probability for each in found],
            [each.probabilities[0] for each in found],
        )
    )
    scores = ((first,) * 30, *(((own,) * 30,) * (len(toy_bundle.classes) - 1)))
    write_description(replace(toy_bundle, abstention=Abstention("1 - p", scores)))
    return load_bundle(str(toy_bundle.folder))


def test_cells_without_exactly_their_class_are_listed_and_not_counted(
    unsure: Bundle, tmp_path: Path
) -> None:
    done = run(
        "classify", CELLS, "--bundle", unsure.folder, "--output", "out", "--coverage", "0.9",
        "--keep-novel", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "out/predictions.csv")
    assert list(rows[0])[:4] == ["path", "label", "probability", "set"]
    chances = np.array([[float(row[code]) for code in unsure.classes] for row in rows])
    held = unsure.sets.sets(chances, 0.9)
    codes = np.array(unsure.classes)
    sets = [" ".join(codes[inside]) or "none" for inside in held]
    assert [row["set"] for row in rows] == sets
    open_ones = [each for each, row in zip(sets, rows, strict=True) if each != row["label"]]
    assert {"none", unsure.classes[0]} <= set(open_ones)
    assert any(" " in one for one in open_ones)
    assert len(open_ones) < len(rows)
    values = json.loads((tmp_path / "out/differential.json").read_text())
    assert values["review"] == {
        "coverage": 0.9,
        "cells": len(open_ones),
        "sets": dict(Counter(open_ones)),
        "always": [],
    }
    table = values["differential"]
    excluded = sum(row["cells"] for row in table["excluded"])
    assert table["counted"] + excluded + len(open_ones) == values["cells"] == len(rows)
    words = f"{len(open_ones)} cells with more than one likely class, not counted"
    assert words in done.stdout
    page = (tmp_path / "out/report.html").read_text()
    review = f"The model abstains: {len(open_ones)} cells to review, at coverage 0.9"
    assert f"{review}. They are not in the percentages." in page
    assert f"none <strong>{open_ones.count('none')}</strong></span>" in page


def test_a_class_with_too_few_validation_cells_is_named(unsure: Bundle, tmp_path: Path) -> None:
    *scores, _ = unsure.sets.scores
    few = replace(unsure, abstention=Abstention("1 - p", (*scores, (0.5,) * 8)))
    result = classify(
        find_files([str(CELLS / "NGS")]),
        few,
        tmp_path / "out",
        counting=CountingOptions(coverage=0.9),
    )
    assert result.review is not None
    assert result.review.always == few.classes[-1:]
    assert all(few.classes[-1] in words for words in result.review.sets)
    words = (
        "In every set, as fewer than 9 validation cells are too few to leave a class out at a "
        f"coverage of 0.9: {few.classes[-1]}."
    )
    assert result.review.note == words
    assert words in (tmp_path / "out/report.html").read_text()


def test_no_class_and_a_class_that_is_not_the_most_probable_are_reviewed() -> None:
    tally = Tally()
    for number, held in enumerate((None, ("BLA",), (), ("LYT",), ("BLA", "LYT"))):
        tally.add(Prediction(f"{number}.jpg", "BLA", 0.6, (0.6, 0.4), held))
    assert tally.gallery.cells == {"BLA": 2}
    assert tally.sets == {(): 1, ("LYT",): 1, ("BLA", "LYT"): 1}
    assert tally.cells == 5


@pytest.mark.parametrize(
    ("held", "text"),
    [(None, ""), ((), "none"), (("PMO",), "PMO"), (("PMO", "MYB"), "PMO MYB")],
)
def test_a_set_comes_back_from_its_row(held: tuple[str, ...] | None, text: str) -> None:
    prediction = Prediction("a.jpg", "PMO", 0.7, (0.7, 0.3), held)
    row = prediction_row(prediction)
    assert row == ["a.jpg", "PMO", "0.700000", text, "", "0.700000", "0.300000"]
    assert CellRows(()).parse(row) == prediction


def test_without_a_coverage_nothing_changes(toy_bundle: Bundle, tmp_path: Path) -> None:
    result = classify(find_files([str(CELLS / "NGS")]), toy_bundle, tmp_path / "out")
    assert result.review is None
    assert {row["set"] for row in rows_of(tmp_path / "out/predictions.csv")} == {""}
    assert json.loads((tmp_path / "out/differential.json").read_text())["review"] is None
    page = (tmp_path / "out/report.html").read_text()
    assert "abstains" not in page
    assert "To review" not in page


def test_a_resumed_classification_gives_the_same_sets(unsure: Bundle, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole/out", tmp_path / "half/out"
    classify(find_files([str(CELLS)]), unsure, whole, counting=CountingOptions(coverage=0.9))
    half.parent.mkdir()
    half_way(whole, half, 20, 0)
    with pytest.raises(OutputError, match=r"coverage was 0\.9, now it is 0\.8; give the same"):
        classify(
            find_files([str(CELLS)]),
            unsure,
            half,
            counting=CountingOptions(coverage=0.8),
            output=OutputOptions(resume=True),
        )
    again = classify(
        find_files([str(CELLS)]),
        unsure,
        half,
        counting=CountingOptions(coverage=0.9),
        output=OutputOptions(resume=True),
    )
    for name in ("predictions.csv", "report.html"):
        assert (half / name).read_bytes() == (whole / name).read_bytes()
    finished = classify(
        find_files([str(CELLS)]),
        unsure,
        half,
        counting=CountingOptions(coverage=0.9),
        output=OutputOptions(resume=True),
    )
    assert finished.review == again.review


def test_a_bundle_without_scores_is_refused_before_the_work(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    old = replace(toy_bundle, abstention=None)
    with pytest.raises(BundleError) as caught:
        classify([], old, tmp_path / "out", counting=CountingOptions(coverage=0.9))
    assert str(caught.value) == (
        "the bundle toy has no scores of validation cells to make sets of classes from; export "
        "its run again with this marrowscope, or leave --coverage away"
    )
    with pytest.raises(SettingsError, match=r"got 90$"):
        classify([], toy_bundle, tmp_path / "out", counting=CountingOptions(coverage=90))
    assert not (tmp_path / "out").exists()
