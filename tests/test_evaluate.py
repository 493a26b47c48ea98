"""Figures of a bundle: equal to scikit-learn's on its predictions, sealed, never leaking."""

import csv
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from marrowscope.bundle import Bundle, load_bundle
from marrowscope.data.divide import divide
from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.plan import SplitPlan
from marrowscope.data.split import Split
from marrowscope.errors import SplitError
from marrowscope.evaluate import evaluate
from marrowscope.predictor import Predictor
from marrowscope.records import Picture


def test_figures_equal_those_of_scikit_learn_on_the_predictions(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=200)
    with (tmp_path / "e/predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["truth"] in toy_bundle.classes]
    truth, predicted = [row["truth"] for row in rows], [row["label"] for row in rows]
    figures = next(each for each in result.sets if each.name == "all")
    assert figures.cells == len(rows)
    assert figures.accuracy.value == pytest.approx(accuracy_score(truth, predicted))
    theirs = precision_recall_fscore_support(
        truth, predicted, labels=toy_bundle.classes, average=None, zero_division=0
    )
    for index, row in enumerate(figures.per_class):
        ours = (row.precision, row.recall, row.f1, row.support)
        assert ours == pytest.approx([values[index] for values in theirs])
        assert math.isnan(row.recall_low) or row.recall_low <= row.recall <= row.recall_high


def test_the_sets_add_up_and_what_is_not_covered_is_counted(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=200)
    sets = {each.name: each for each in result.sets}
    assert set(sets) == {"mll", "pbc", "all"}
    assert sets["mll"].cells + sets["pbc"].cells == sets["all"].cells
    test_cells = len(split.part("test"))
    assert sets["all"].cells + sum(sets["all"].not_covered.values()) == test_cells
    assert sets["mll"].not_covered["PLM"] == 3
    assert "PLM" not in sets["pbc"].not_covered
    assert sum(map(sum, sets["all"].confusion)) == sets["all"].cells


def test_the_files_and_the_sealed_card(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=200)
    assert {file.name for file in (tmp_path / "e").iterdir()} == {
        "confusion_all.svg", "confusion_mll.svg", "confusion_pbc.svg",
        "metrics.json", "predictions.csv", "rejects.csv",
    }  # fmt: skip
    sealed = load_bundle(str(toy_bundle.folder))
    assert sealed.evaluation is not None
    assert sealed.evaluation["split_hash"] == split.hash
    figures = sealed.evaluation["sets"]["all"]["macro_f1"]["value"]
    assert figures == result.sets[-1].macro_f1.value
    card = (toy_bundle.folder / "MODEL_CARD.md").read_text()
    assert f"{result.sets[-1].accuracy.value:.3f}" in card
    assert "PLM (plasma cell)**: 0 training images of 3 in all, 9 needed." in card
    metrics = json.loads((tmp_path / "e/metrics.json").read_text())
    assert metrics["model_sha256"] == sealed.model_sha256
    assert metrics["sets"].keys() == {"mll", "pbc", "all"}


def test_cells_not_covered_are_counted_where_no_source_is_named(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    unnamed = replace(
        split,
        rows=tuple(replace(row, cell=replace(row.cell, source="")) for row in split.rows),
    )
    result = evaluate(toy_bundle, manifest, unnamed, tmp_path / "e", rounds=100)
    assert [each.name for each in result.sets] == ["unnamed source"]
    assert result.sets[0].not_covered["PLM"] == 3


def test_means_over_too_few_cells_are_not_given(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=100, rounds=100)
    assert all(math.isnan(each.macro_f1.value) for each in result.sets)
    metrics = json.loads((tmp_path / "e/metrics.json").read_text())
    assert metrics["sets"]["all"]["macro_f1"] == {"value": None, "low": None, "high": None}
    assert "too few cells" in (toy_bundle.folder / "MODEL_CARD.md").read_text()


def test_another_part_is_measured_but_not_sealed(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    evaluate(toy_bundle, manifest, split, tmp_path / "e", part="val", least_support=1, rounds=200)
    assert load_bundle(str(toy_bundle.folder)).evaluation is None


def test_predictions_are_those_of_the_serving_predictor(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=200)
    with (tmp_path / "e/predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    served = Predictor(toy_bundle, threads=1).classify(
        Picture(manifest.root / row["path"]) for row in rows
    )
    assert [row["label"] for row in rows] == [each.label for each in served]  # type: ignore[union-attr]


def test_another_split_than_the_bundle_was_trained_with_is_refused(
    toy_bundle: Bundle, manifest: Manifest, tmp_path: Path
) -> None:
    other = divide(manifest.cells, plan=SplitPlan(min_stratum=10, seed=1))
    with pytest.raises(SplitError, match="its test cells may be training cells"):
        evaluate(toy_bundle, manifest, other, tmp_path / "e")


def test_cells_that_share_pixels_with_other_parts_are_left_out_and_counted(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    test, train = (split.part(part) for part in ("test", "train"))
    overlaps = [
        (test[0].cell.path, train[0].cell.path),
        (train[1].cell.path, test[0].cell.path),
        (train[0].cell.path, train[1].cell.path),
        (test[1].cell.path, test[2].cell.path),
    ]
    evaluate(toy_bundle, manifest, split, tmp_path / "e", pairs=overlaps, rounds=100)
    with (tmp_path / "e/predictions.csv").open(newline="") as file:
        paths = {row["path"] for row in csv.DictReader(file)}
    assert paths == {row.cell.path for row in test[1:]}
    card = (toy_bundle.folder / "MODEL_CARD.md").read_text()
    assert "by a list of 4 pairs: 1 cells." in card
    with pytest.raises(SplitError, match=r"names gone\.jpg, which the data does not have"):
        evaluate(
            toy_bundle, manifest, split, tmp_path / "f", pairs=[("gone.jpg", test[0].cell.path)]
        )


def test_data_that_lacks_test_cells_is_refused(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match="are not in the data given"):
        evaluate(toy_bundle, replace(manifest, cells=manifest.cells[:50]), split, tmp_path / "e")


def test_an_unknown_part_is_told_with_the_known_ones(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    with pytest.raises(SplitError) as caught:
        evaluate(toy_bundle, manifest, split, tmp_path / "e", part="exam")
    assert str(caught.value) == "the split has no part 'exam'; it has test, train, val"


def test_a_test_cell_that_cannot_be_read_is_a_counted_reject(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    """The cells are copied, one is destroyed after the manifest was read."""
    import shutil

    shutil.copytree(manifest.root, tmp_path / "data")
    copied = read_manifest(tmp_path / "data/cells.csv")
    victim = split.part("test")[0].cell.path
    (tmp_path / "data" / victim).write_bytes(b"")
    result = evaluate(toy_bundle, copied, split, tmp_path / "e", least_support=1, rounds=200)
    assert [(r.path, r.reason) for r in result.rejects] == [(victim, "the file is empty (0 bytes)")]
