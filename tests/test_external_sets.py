"""Further labelled sets beside the test: measured, never leaking, each exclusion counted."""

import csv
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from sklearn.metrics import accuracy_score
from test_classify import rows_of, run

from marrowscope.commands.evaluate_output import show_evaluation
from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.split import Split, write_split
from marrowscope.errors import SplitError
from marrowscope.evaluation.evaluate import evaluate
from marrowscope.evaluation.external_sets import Other, other_of
from marrowscope.evaluation.page import write_page
from marrowscope.model.bundle import Bundle, load_bundle


@pytest.fixture
def ours(manifest: Manifest, split: Split, tmp_path: Path) -> Path:
    """Cells of another laboratory: those of the test part as other files, one of them twice."""
    test = [row.cell for row in split.part("test")]
    for number, cell in enumerate([*test, test[0]]):
        file = tmp_path / "ours" / cell.label / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest.root / cell.path, file)
    return tmp_path / "ours"


def test_a_further_set_gets_its_own_figures_files_and_drop(
    toy_bundle: Bundle, manifest: Manifest, split: Split, ours: Path, tmp_path: Path
) -> None:
    others = [Other("ours", read_manifest(ours))]
    result = evaluate(
        toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=100, others=others
    )
    rows = rows_of(tmp_path / "e/predictions_ours.csv")
    assert len(rows) == len(split.part("test")) + 1
    assert len({row["group"] for row in rows}) == len(split.part("test"))
    covered = [row for row in rows if row["truth"] in toy_bundle.classes]
    metrics = json.loads((tmp_path / "e/metrics.json").read_text())
    assert list(metrics["sets"]) == ["mll", "pbc", "ours", "all"]
    figures = metrics["sets"]["ours"]
    assert figures["cells"] == len(covered)
    accuracy = accuracy_score([r["truth"] for r in covered], [r["label"] for r in covered])
    assert figures["accuracy"]["value"] == pytest.approx(accuracy)
    counted = Counter(row["truth"] for row in rows if row["truth"] not in toy_bundle.classes)
    assert figures["not_covered"] == dict(counted)
    assert (tmp_path / "e/confusion_ours.svg").is_file()
    assert {metric["name"]: metric["reference"] for metric in metrics["domains"]} == {
        "pbc": "mll",
        "ours": "mll",
    }
    drop = metrics["domains"][1]
    assert drop["drop"]["value"] == pytest.approx(
        drop["macro_f1_reference"]["value"] - drop["macro_f1"]["value"]
    )
    assert [set_.name for set_ in result.sets] == ["mll", "pbc", "all"]
    assert [other.name for other in result.others] == ["ours"]


def test_the_cells_of_the_split_have_the_figures_they_have_without(
    toy_bundle: Bundle, manifest: Manifest, split: Split, ours: Path, tmp_path: Path
) -> None:
    alone = evaluate(toy_bundle, manifest, split, tmp_path / "a", rounds=100)
    beside = evaluate(
        toy_bundle, manifest, split, tmp_path / "b", rounds=100,
        others=[Other("ours", read_manifest(ours))],
    )  # fmt: skip
    assert [set_.confusion for set_ in alone.sets] == [set_.confusion for set_ in beside.sets]


def test_the_drop_is_sealed_and_on_the_card(
    toy_bundle: Bundle, manifest: Manifest, split: Split, ours: Path, tmp_path: Path
) -> None:
    others = [Other("ours", read_manifest(ours))]
    evaluate(
        toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=100, others=others
    )
    sealed = load_bundle(str(toy_bundle.folder)).evaluation
    assert sealed is not None
    drop = sealed["domains"][1]
    card = (toy_bundle.folder / "MODEL_CARD.md").read_text()
    (line,) = (line for line in card.splitlines() if line.startswith("| ours |") and "mll" in line)
    assert f"| {drop['drop']['value']:.3f} (" in line
    assert line.endswith(f"| {drop['verdict']} |")
    assert "Other sets: ours (groups: same content, no list of overlapping pictures" in card


def test_cells_of_the_training_are_refused_by_name(
    toy_bundle: Bundle, manifest: Manifest, split: Split, ours: Path, tmp_path: Path
) -> None:
    leak = split.part("train")[0].cell
    shutil.copy(manifest.root / leak.path, ours / "EOS/leak.jpg")
    seen = split.part("val")[0].cell
    shutil.copy(manifest.root / seen.path, ours / "EOS/seen.jpg")
    others = [Other("ours", read_manifest(ours))]
    with pytest.raises(SplitError) as caught:
        evaluate(toy_bundle, manifest, split, tmp_path / "e", others=others)
    cells = len(split.part("test")) + 3
    assert str(caught.value) == (
        f"2 of {cells} cells of 'ours' are cells of the training (EOS/leak.jpg (train), "
        "EOS/seen.jpg (val)); give data that the model has not seen, or --leave-out-leaks to "
        "leave them out"
    )
    assert not (tmp_path / "e").exists()
    evaluate(
        toy_bundle, manifest, split, tmp_path / "e", rounds=100, others=others,
        leave_out_leaks=True,
    )  # fmt: skip
    (details,) = json.loads((tmp_path / "e/metrics.json").read_text())["others"]
    assert details["cells_of_the_training_left_out"] == ["EOS/leak.jpg", "EOS/seen.jpg"]
    assert len(rows_of(tmp_path / "e/predictions_ours.csv")) == cells - 2
    card = (toy_bundle.folder / "MODEL_CARD.md").read_text()
    assert "2 cells of the training left out)." in card


def test_a_set_of_training_cells_alone_is_refused(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    learnt = replace(manifest, cells=tuple(row.cell for row in split.part("train")))
    with pytest.raises(SplitError, match=r"^all \d+ cells of 'ours' are cells of the training"):
        evaluate(
            toy_bundle, manifest, split, tmp_path / "e", others=[Other("ours", learnt)],
            leave_out_leaks=True,
        )  # fmt: skip


def test_a_set_without_a_covered_class_is_refused(
    toy_bundle: Bundle, manifest: Manifest, split: Split, ours: Path, tmp_path: Path
) -> None:
    given = read_manifest(ours)
    plasma = replace(given, cells=tuple(cell for cell in given.cells if cell.label == "PLM"))
    with pytest.raises(SplitError, match="no cell of 'ours' belongs to a class that the bundle"):
        evaluate(toy_bundle, manifest, split, tmp_path / "e", others=[Other("ours", plasma)])


@pytest.mark.parametrize("name", ["mll", "PBC", "all", "a b", "../up", ""])
def test_a_name_that_is_taken_or_no_file_name_is_refused(
    name: str, toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    with pytest.raises(SplitError, match="give --other NAME=PATH"):
        evaluate(toy_bundle, manifest, split, tmp_path / "e", others=[Other(name, manifest)])


def test_two_sets_cannot_have_one_name(
    toy_bundle: Bundle, manifest: Manifest, split: Split, ours: Path, tmp_path: Path
) -> None:
    twice = [Other("ours", read_manifest(ours)), Other("Ours", read_manifest(ours))]
    with pytest.raises(SplitError, match="there are already figures of 'Ours'"):
        evaluate(toy_bundle, manifest, split, tmp_path / "e", others=twice)


def test_a_path_names_its_set(tmp_path: Path) -> None:
    (tmp_path / "clinic.v2").mkdir()
    assert other_of(str(tmp_path / "clinic.v2")) == ("clinic.v2", tmp_path / "clinic.v2")
    assert other_of("far/cells.csv") == ("cells", Path("far/cells.csv"))
    assert other_of("ours=far/cells.csv") == ("ours", Path("far/cells.csv"))


def test_the_command_names_every_exclusion(
    toy_bundle: Bundle, split: Split, ours: Path, tmp_path: Path
) -> None:
    """A row without a label, one with an unknown label and a picture that is none."""
    (ours / "BLA").mkdir(exist_ok=True)
    (ours / "BLA/broken.jpg").write_bytes(b"no picture")
    files = [(str(file.relative_to(ours)), file.parent.name) for file in ours.rglob("*.jpg")]
    with (ours / "cells.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("path", "label"), *files, (files[0][0], ""), (files[0][0], "XYZ")]
        )
    write_split(split, tmp_path / "split")
    done = run(
        "evaluate", toy_bundle.folder, "--data", ROOT / "samples/cells.csv", "--split",
        tmp_path / "split", "--other", f"ours={ours / 'cells.csv'}", "--output", tmp_path / "e",
        "--rounds", 100, "--least-support", 1,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "it has no label; give its class code in the column label" in done.stderr
    assert "unknown class 'XYZ'" in done.stderr
    assert "rejected: BLA/broken.jpg" in done.stderr
    assert "Drop from mll, on the classes that both sets have" in done.stdout
    (details,) = json.loads((tmp_path / "e/metrics.json").read_text())["others"]
    assert len(details["rejects_of_the_data"]) == 2
    assert [detail["path"] for detail in details["rejects"]] == ["BLA/broken.jpg"]


def test_the_drop_is_in_the_json(
    toy_bundle: Bundle,
    manifest: Manifest,
    split: Split,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=1, rounds=100)
    show_evaluation(result, as_json=True)
    shown = json.loads(capsys.readouterr().out)["domains"]
    assert shown == json.loads((tmp_path / "e/metrics.json").read_text())["domains"]
    assert [(each["name"], each["reference"]) for each in shown] == [("pbc", "mll")]


def test_the_page_shows_a_drop_that_nothing_shared_gives(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    result = evaluate(toy_bundle, manifest, split, tmp_path / "e", least_support=99, rounds=100)
    page = write_page(tmp_path / "e", result.bundle, manifest).read_text()
    assert "no class has enough cells in both" in page
    assert "no class has enough cells in both" in (toy_bundle.folder / "MODEL_CARD.md").read_text()
