"""Doubtful labels: the rule by hand, planted errors found, and lists that change nothing."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from test_classify import rows_of, run

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split
from marrowscope.errors import ComparisonError, OutputError, PredictionError
from marrowscope.evaluation.evaluate import evaluate
from marrowscope.evaluation.label_issues_page import list_doubts
from marrowscope.evaluation.out_of_fold import read_out_of_fold
from marrowscope.metrics.label_issues import (
    Floats,
    Indices,
    confident_classes,
    find_doubts,
    self_confidence,
)
from marrowscope.model.bundle import Bundle

LABELS = np.array([0, 0, 0, 1, 1])
CHANCES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]])


def test_the_rule_by_hand() -> None:
    """Thresholds (0.9 + 0.8 + 0.1) / 3 = 0.6 and (0.7 + 0.9) / 2 = 0.8; the third cell reaches it.

    The fourth reaches neither: it counts nowhere.
    """
    assert self_confidence(LABELS, CHANCES) == pytest.approx([0.6, 0.8])
    assert confident_classes(LABELS, CHANCES).tolist() == [0, 0, 1, -1, 1]
    (doubt,) = find_doubts(LABELS, CHANCES)
    assert (doubt.index, doubt.label, doubt.suggested) == (2, 0, 1)
    assert (doubt.self_confidence, doubt.probability) == (0.1, 0.9)
    assert doubt.margin == pytest.approx(-0.8)


def test_of_several_thresholds_reached_the_likeliest_class_is_suggested() -> None:
    """Thresholds 0.5, 0.25 and 0.2; the last cell, labelled 0, reaches both others."""
    labels = np.array([0, 0, 1, 2])
    chances = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.55, 0.25, 0.2], [0.6, 0.2, 0.2]])
    assert self_confidence(labels, chances) == pytest.approx([0.5, 0.25, 0.2])
    assert confident_classes(labels, chances).tolist() == [0, 1, 0, 0]
    found = find_doubts(labels, chances)
    assert [(each.index, each.suggested) for each in found] == [(3, 0), (2, 0), (1, 1)]


def test_a_label_that_the_model_finds_likeliest_is_not_doubted() -> None:
    """The first cell misses its own class's threshold, 0.75, and reaches the other, 0.4."""
    labels, chances = np.array([0, 0, 1]), np.array([[0.55, 0.45], [0.95, 0.05], [0.6, 0.4]])
    assert confident_classes(labels, chances).tolist() == [1, 0, 1]
    assert find_doubts(labels, chances) == ()


def test_a_class_that_no_cell_is_labelled_with_is_never_suggested() -> None:
    labels, chances = np.array([0, 0]), np.array([[0.6, 0.4], [0.01, 0.99]])
    assert find_doubts(labels, chances) == ()


def planted(seed: int, noise: float) -> tuple[Indices, Floats, set[int]]:
    """Give 600 cells of three classes that a model knows to 0.9, and plant 30 wrong labels."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 3, 600)
    chances = random.dirichlet([1, 1, 1], 600) * noise + np.eye(3)[truth] * (1 - noise)
    wrong = random.choice(600, 30, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + random.integers(1, 3, 30)) % 3
    return labels, chances, set(wrong.tolist())


def test_planted_wrong_labels_are_found() -> None:
    """A model that knows all finds all; one less sure misses those below its mean sureness."""
    labels, chances, wrong = planted(0, noise=0.0)
    assert {doubt.index for doubt in find_doubts(labels, chances)} == wrong
    labels, chances, wrong = planted(0, noise=0.3)
    found = {doubt.index for doubt in find_doubts(labels, chances)}
    surely = chances.max(axis=1) >= self_confidence(labels, chances)[chances.argmax(axis=1)]
    assert found == {index for index in wrong if surely[index]}
    assert 15 <= len(found) < 30


def test_the_worst_come_first_where_the_model_errs_too() -> None:
    labels, chances, wrong = planted(1, noise=0.9)
    found = find_doubts(labels, chances)
    margins = [each.margin for each in found]
    assert margins == sorted(margins)
    half = len(found) // 2
    first, last = (
        sum(each.index in wrong for each in part) for part in (found[:half], found[half:])
    )
    assert first > last


@pytest.fixture
def figures(toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path) -> Path:
    evaluate(toy_bundle, manifest, split, tmp_path / "figures", least_support=1, rounds=100)
    return tmp_path / "figures"


def certain(figures: Path, doubted: dict[str, str]) -> None:
    """Rewrite predictions as those of a model sure of each label but the doubted ones."""
    rows = rows_of(figures / "predictions.csv")
    codes = [name for name in rows[0] if len(name) == 3 and name.isupper()]
    for row in rows:
        sure = doubted.get(row["path"], row["truth"])
        spread = 0.1 / (len(codes) - 1)
        unsure = dict.fromkeys(codes, f"{1 / len(codes):.6f}")
        row.update({code: f"{0.9 if code == sure else spread:.6f}" for code in codes})
        row.update(unsure if sure not in codes else {})
    with (figures / "predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_the_list_the_page_and_the_counts(figures: Path, manifest: Manifest) -> None:
    victim = next(r for r in rows_of(figures / "predictions.csv") if r["truth"] == "EOS")
    certain(figures, {victim["path"]: "LYT"})
    before = (figures / "predictions.csv").read_bytes()
    result = list_doubts(read_out_of_fold([figures]), manifest, figures.parent / "d")
    assert {file.name for file in (figures.parent / "d").iterdir()} == {
        "doubts.csv", "doubts.html", "doubts.json",
    }  # fmt: skip
    (row,) = rows_of(figures.parent / "d/doubts.csv")
    assert (row["rank"], row["path"], row["label"], row["suggested"]) == (
        "1", victim["path"], "EOS", "LYT",
    )  # fmt: skip
    assert float(row["probability_of_suggested"]) == 0.9
    assert float(row["margin"]) == pytest.approx(float(row["self_confidence"]) - 0.9)
    counts = json.loads((figures.parent / "d/doubts.json").read_text())
    assert counts["not_covered"]["PLM"] == 3
    assert counts["cells"] == sum(each.cells for each in result.by_class)
    assert {count["code"]: count["doubts"] for count in counts["by_class"]}["EOS"] == 1
    page = (figures.parent / "d/doubts.html").read_text()
    assert "Labelled EOS (eosinophil), perhaps LYT (lymphocyte)" in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert 'src="http' not in page
    assert (figures / "predictions.csv").read_bytes() == before


def test_a_list_without_doubts_says_so(figures: Path, manifest: Manifest) -> None:
    certain(figures, {})
    assert list_doubts(read_out_of_fold([figures]), manifest, figures.parent / "d").listed == ()
    assert "No label is doubted." in (figures.parent / "d/doubts.html").read_text()


def test_folds_are_read_as_one(
    figures: Path, toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    evaluate(toy_bundle, manifest, split, tmp_path / "val", part="val", rounds=100)
    one, other, both = (
        read_out_of_fold(folders)
        for folders in ([figures], [tmp_path / "val"], [figures, tmp_path / "val"])
    )
    assert both.paths == one.paths + other.paths
    assert np.array_equal(both.probabilities, np.vstack([one.probabilities, other.probabilities]))
    assert both.parts == ("test", "val")


def test_cells_of_the_training_are_refused(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    evaluate(toy_bundle, manifest, split, tmp_path / "seen", part="train", rounds=100)
    with pytest.raises(ComparisonError, match=r"is of the part 'train': a model has learnt"):
        read_out_of_fold([tmp_path / "seen"])


def test_a_cell_twice_or_other_classes_are_refused(figures: Path) -> None:
    shutil.copytree(figures, figures.parent / "again")
    with pytest.raises(ComparisonError, match="give one evaluation of each cell"):
        read_out_of_fold([figures, figures.parent / "again"])
    file = figures.parent / "again/predictions.csv"
    file.write_text(file.read_text().replace("EOS,", "HAC,", 1))
    with pytest.raises(ComparisonError, match="train all folds with the same --classes"):
        read_out_of_fold([figures, figures.parent / "again"])
    with pytest.raises(ComparisonError, match="no evaluation given"):
        read_out_of_fold([])


def test_rows_without_probabilities_are_refused(figures: Path) -> None:
    rows = rows_of(figures / "predictions.csv")
    text = (figures / "predictions.csv").read_text()
    (figures / "predictions.csv").write_text(text.replace(rows[0]["EOS"], "many"))
    with pytest.raises(ComparisonError, match="holds no probabilities"):
        read_out_of_fold([figures])
    (figures / "predictions.csv").write_text(text.replace(rows[0]["EOS"], "7.0"))
    with pytest.raises(PredictionError, match="have no probabilities"):
        read_out_of_fold([figures])


def test_data_with_other_labels_or_without_the_cells_is_refused(
    figures: Path, manifest: Manifest, tmp_path: Path
) -> None:
    predictions = read_out_of_fold([figures])
    empty = Manifest(manifest.root, (), ())
    with pytest.raises(ComparisonError, match="is not in the data given; give the data that"):
        list_doubts(predictions, empty, tmp_path / "d")
    path = predictions.paths[0]
    changed = tuple(
        replace(cell, label="HAC") if cell.path == path else cell for cell in manifest.cells
    )
    with pytest.raises(ComparisonError, match=f"^{path} is HAC in the data given, and "):
        list_doubts(predictions, replace(manifest, cells=changed), tmp_path / "d")


def test_a_folder_in_use_is_refused(figures: Path, manifest: Manifest) -> None:
    with pytest.raises(OutputError, match="--overwrite"):
        list_doubts(read_out_of_fold([figures]), manifest, figures)


def test_the_command(figures: Path, tmp_path: Path) -> None:
    victim = next(r for r in rows_of(figures / "predictions.csv") if r["truth"] == "NGS")
    certain(figures, {victim["path"]: "BLA"})
    words = ("data", "doubts", figures, "--data", SAMPLES / "cells.csv", "--output", tmp_path / "d")
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert " labels are doubted; none was changed" in done.stdout
    again = run(*words)
    assert again.returncode == 1
    assert "--overwrite to replace" in again.stderr
    values = json.loads(run(*words, "--overwrite", "--json").stdout)
    assert values["doubts"] == 1
    assert values["listed"][0]["path"] == victim["path"]
