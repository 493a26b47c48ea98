"""Figures of a bundle: equal to scikit-learn's on its predictions, sealed, never leaking."""

import csv
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    cohen_kappa_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.partition import divide
from marrowscope.data.split import Split
from marrowscope.data.split_plan import SplitPlan
from marrowscope.errors import PredictionError, SplitError
from marrowscope.evaluation.artifacts import CAPTION, MARGIN, TILE, write_card
from marrowscope.evaluation.evaluate import VOUCHED, evaluate
from marrowscope.evaluation.page import write_page
from marrowscope.inference.predictor import Predictor
from marrowscope.io.hashes import file_hash
from marrowscope.metrics.prevalence import Prevalence
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.types import Picture


def test_figures_equal_those_of_scikit_learn_on_the_predictions(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=200)
    with (tmp_path / "e/predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["truth"] in toy_bundle.classes]
    truth, predicted = [row["truth"] for row in rows], [row["label"] for row in rows]
    figures = next(set_ for set_ in result.sets if set_.name == "all")
    assert figures.cells == len(rows)
    assert figures.accuracy.value == pytest.approx(accuracy_score(truth, predicted))
    theirs = precision_recall_fscore_support(
        truth, predicted, labels=toy_bundle.classes, average=None, zero_division=0
    )
    for index, row in enumerate(figures.per_class):
        ours = (row.precision, row.recall, row.f1, row.support)
        assert ours == pytest.approx([values[index] for values in theirs])
        assert math.isnan(row.recall_low) or row.recall_low <= row.recall <= row.recall_high


def test_other_ways_of_scoring_equal_scikit_learn_on_the_predictions(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=100)
    with (tmp_path / "e/predictions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["truth"] in toy_bundle.classes]
    truth, predicted = [row["truth"] for row in rows], [row["label"] for row in rows]
    index_of = {code: index for index, code in enumerate(toy_bundle.classes)}
    chances = np.array([[float(row[code]) for code in toy_bundle.classes] for row in rows])
    metrics = json.loads((tmp_path / "e/metrics.json").read_text())
    scores = metrics["sets"]["all"]["scores"]
    assert [(score["scoring"], score["mix"]) for score in scores] == [
        ("strict", "test"), ("tolerant", "test"), ("lineage", "test"),
        ("strict", "marrow"), ("tolerant", "marrow"), ("lineage", "marrow"),
    ]  # fmt: skip
    ours = {name: interval["value"] for name, interval in scores[0]["figures"].items()}
    assert scores[0]["cells"] == len(rows)
    assert ours["kappa"] == pytest.approx(cohen_kappa_score(truth, predicted))
    assert ours["mcc"] == pytest.approx(matthews_corrcoef(truth, predicted))
    numbers = [index_of[code] for code in truth]
    top2 = top_k_accuracy_score(numbers, chances, k=2, labels=range(len(index_of)))
    assert ours["top2"] == pytest.approx(top2)
    for code, figures in scores[0]["per_class"].items():
        mine, chance = [each == code for each in truth], chances[:, index_of[code]]
        assert figures["auroc"]["value"] == pytest.approx(roc_auc_score(mine, chance))
        average = average_precision_score(mine, chance)
        assert figures["average_precision"]["value"] == pytest.approx(average)
        assert scores[0]["support"][code] == sum(mine)
    assert ["PMO", "MYB"] in metrics["tolerated"]
    assert metrics["prevalence"]["percent"]["EBO"] == 17.5


def test_a_stated_mix_says_what_it_leaves_out(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    mix = Prevalence({"BLA": 30.0, "NGS": 50.0, "HAC": 20.0}, "ours.csv")
    result = evaluate(
        toy_bundle, manifest, split, tmp_path / "e", prevalence=mix, least_support=1, rounds=100
    )
    widest = result.sets[-1]
    assert widest.mix_covered == pytest.approx(0.8)
    assert {"BLA", "NGS"}.isdisjoint(widest.outside_mix)
    marrow = next(score for score in widest.scores if score.mix == "marrow")
    assert marrow.cells == widest.cells - sum(widest.outside_mix.values())
    card = (toy_bundle.folder / "MODEL_CARD.md").read_text()
    assert "weigh as in a marrow (ours.csv)" in card
    assert "The classes with enough cells make up 80% of the marrow's mix. Cells that weigh" in card


def test_a_class_without_true_cells_is_named(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=100)
    blood = next(set_ for set_ in result.sets if set_.name == "pbc")
    assert "BLA" in blood.without_cells
    row = next(row for row in blood.per_class if row.code == "BLA")
    assert row.support == 0
    assert math.isnan(row.auroc.value)
    card = (toy_bundle.folder / "MODEL_CARD.md").read_text()
    named = ", ".join(blood.without_cells)
    assert f"No true cell in this set, and so no figure: {named}." in card


def test_a_model_that_gives_no_numbers_is_refused(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    model = onnx.load(toy_bundle.model_file)
    for weights in model.graph.initializer:
        if weights.data_type == onnx.TensorProto.FLOAT:
            broken = np.full_like(onnx.numpy_helper.to_array(weights), np.nan)
            weights.CopyFrom(onnx.numpy_helper.from_array(broken, weights.name))
    onnx.save(model, toy_bundle.model_file)
    bundle = replace(toy_bundle, model_sha256=file_hash(toy_bundle.model_file))
    cells = len(split.part("test"))
    with pytest.raises(PredictionError, match=f"^{cells} of {cells} cells have no probabilities"):
        evaluate(bundle, manifest, split, tmp_path / "e", rounds=100)
    assert not (tmp_path / "e/metrics.json").exists()


def test_a_test_cell_that_is_a_training_cell_too_is_refused(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    test = split.part("test")[0]
    leaking = replace(split, rows=(*split.rows, replace(test, group=10**6, part="train")))
    bundle = replace(toy_bundle, split_hash=leaking.hash)
    with pytest.raises(SplitError, match="have the same content; make the split again"):
        evaluate(bundle, manifest, leaking, tmp_path / "e")


def test_rows_without_a_label_or_with_an_unknown_one_are_counted_rejects(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    shutil.copytree(manifest.root, tmp_path / "data")
    path = manifest.cells[0].path
    columns = (tmp_path / "data/cells.csv").read_text().splitlines()[0].split(",")
    with (tmp_path / "data/cells.csv").open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writerow({"path": path, "label": " "})
        writer.writerow({"path": path, "label": "XYZ"})
    copied = read_manifest(tmp_path / "data/cells.csv")
    reasons = [reject.reason for reject in copied.rejects]
    assert reasons[0] == "it has no label; give its class code in the column label"
    assert reasons[1].startswith("unknown class 'XYZ'; known classes are BLA, ")
    evaluate(toy_bundle, copied, split, tmp_path / "e", rounds=100)
    metrics = json.loads((tmp_path / "e/metrics.json").read_text())
    assert metrics["rejects_of_the_data"] == 2


def test_a_bundle_sealed_with_fewer_figures_still_has_its_card(tmp_path: Path) -> None:
    shutil.copytree(load_bundle("default").folder, tmp_path / "old")
    old = load_bundle(str(tmp_path / "old"))
    assert old.evaluation is not None
    for figures in old.evaluation["sets"].values():
        for name in ("scores", "without_cells", "outside_mix", "mix_covered", "trust"):
            figures.pop(name, None)
        for row in figures["per_class"]:
            for name in ("auroc", "average_precision", "marrow_precision"):
                row.pop(name, None)
    old.evaluation.pop("domains", None)
    write_card(old)
    card = (tmp_path / "old/MODEL_CARD.md").read_text()
    assert "| class | n | precision | recall | recall, 95% interval | F1 |\n" in card
    assert "scored in other ways" not in card


def test_the_sets_add_up_and_what_is_not_covered_is_counted(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=200)
    sets = {set_.name: set_ for set_ in result.sets}
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
    confusion = np.array(result.sets[-1].confusion)
    wrong = int(confusion.sum() - np.trace(confusion))
    failures = sealed.evaluation["failures"]
    assert (failures["wrong"], 0 < failures["shown"] <= wrong) == (wrong, True)
    assert f"{failures['shown']} of {wrong} mistakes" in card
    with Image.open(toy_bundle.folder / "failures.jpg") as sheet:
        rows = np.count_nonzero(confusion.sum(axis=1) - np.diag(confusion))
        assert sheet.height == MARGIN + rows * (TILE + CAPTION + MARGIN)
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
    assert [set_.name for set_ in result.sets] == ["unnamed source"]
    assert result.sets[0].not_covered["PLM"] == 3


def test_means_over_too_few_cells_are_not_given(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=100, rounds=100)
    assert all(math.isnan(set_.macro_f1.value) for set_ in result.sets)
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


def test_a_bundle_trained_elsewhere_is_measured_on_ones_word_and_not_sealed(
    toy_bundle: Bundle, manifest: Manifest, tmp_path: Path
) -> None:
    other = divide(manifest.cells, plan=SplitPlan(min_stratum=10, seed=1))
    before = {file.name: file_hash(file) for file in toy_bundle.folder.iterdir()}
    result = evaluate(toy_bundle, manifest, other, tmp_path / "e", unseen=True, rounds=100)
    assert result.sets[-1].cells
    assert {file.name: file_hash(file) for file in toy_bundle.folder.iterdir()} == before
    metrics = json.loads((tmp_path / "e/metrics.json").read_text())
    assert metrics["method"].endswith(VOUCHED)
    assert VOUCHED in write_page(tmp_path / "e", toy_bundle, manifest).read_text()


def test_where_no_cell_can_be_read_the_error_says_why(
    manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    cells = tuple(replace(cell, um_per_px=None) for cell in manifest.cells)
    rows = tuple(replace(row, cell=replace(row.cell, um_per_px=None)) for row in split.rows)
    manifest, split = replace(manifest, cells=cells), replace(split, rows=rows)
    with pytest.raises(SplitError, match=r"0 are of classes .* could not be read, such as .*pixel"):
        evaluate(load_bundle("default"), manifest, split, tmp_path / "e", unseen=True)


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
    shutil.copytree(manifest.root, tmp_path / "data")
    copied = read_manifest(tmp_path / "data/cells.csv")
    victim = split.part("test")[0].cell.path
    (tmp_path / "data" / victim).write_bytes(b"")
    result = evaluate(toy_bundle, copied, split, tmp_path / "e", least_support=1, rounds=200)
    assert [(r.path, r.reason) for r in result.rejects] == [(victim, "the file is empty (0 bytes)")]
