"""Manifests from CSV and folders; splits that are stratified, sealed and free of leaks."""

import csv
import json
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import SAMPLES

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.split import (
    HELD_OUT,
    Split,
    check_split,
    read_overlaps,
    read_split,
    split_cells,
    write_split,
)
from marrowscope.errors import ManifestError, SplitError
from marrowscope.records import Cell


def test_the_samples_carry_every_class_of_both_sources(manifest: Manifest) -> None:
    assert not manifest.rejects
    classes = Counter((cell.source, cell.label) for cell in manifest.cells)
    assert len({code for source, code in classes if source == "mll"}) == 20
    assert len({code for source, code in classes if source == "pbc"}) == 11


def test_class_folders_give_the_cells_of_the_csv(manifest: Manifest) -> None:
    by_folder = read_manifest(SAMPLES / "cells" / "pbc")
    in_csv = {(c.sha256, c.label) for c in manifest.cells if c.source == "pbc"}
    assert {(cell.sha256, cell.label) for cell in by_folder.cells} == in_csv
    assert {cell.source for cell in by_folder.cells} == {"pbc"}


def test_files_that_are_no_cells_of_a_class_become_rejects(tmp_path: Path) -> None:
    for folder in ("LYT", "XYZ"):
        (tmp_path / folder).mkdir()
        shutil.copy(next((SAMPLES / "cells/pbc/LY").iterdir()), tmp_path / folder / "a.jpg")
    (tmp_path / "LYT/notes.txt").touch()
    (tmp_path / "readme.jpg").touch()
    manifest = read_manifest(tmp_path)
    assert [cell.path for cell in manifest.cells] == ["LYT/a.jpg"]
    reasons = {reject.path: reject.reason for reject in manifest.rejects}
    assert reasons["LYT/notes.txt"].startswith("no picture by its name (.jpg, .jpeg,")
    assert reasons["readme.jpg"] == "it lies in no class folder"
    assert reasons["XYZ/a.jpg"].startswith("unknown class 'XYZ'")


def test_rows_that_cannot_be_used_become_rejects_with_reasons(tmp_path: Path) -> None:
    shutil.copy(next((SAMPLES / "cells/pbc/LY").iterdir()), tmp_path / "a.jpg")
    (tmp_path / "m.csv").write_text(
        "path,label,sha256\na.jpg,LYT,\na.jpg,XYZ,\ngone.jpg,LYT,\na.jpg,LYT,0123\n"
    )
    manifest = read_manifest(tmp_path / "m.csv")
    assert [cell.label for cell in manifest.cells] == ["LYT"]
    reasons = [reject.reason for reject in manifest.rejects]
    assert reasons[0].startswith("unknown class 'XYZ'; known classes are BLA,")
    assert reasons[1:] == [
        "cannot be read: No such file or directory",
        "its content is not what the manifest's sha256 says",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\n", "no column path; its first line has file, label"),
        ("", "no column path or label; its first line has nothing"),
        ("path,label\n", "no labelled cell found; a folder needs one folder for each class"),
    ],
)
def test_a_csv_without_its_columns_or_cells(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_manifest(tmp_path / "m.csv")
    assert message in str(caught.value)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or folder; give a CSV manifest"):
        read_manifest(tmp_path / "gone")


def many_cells() -> list[Cell]:
    """400 cells of two sources and two classes, as a manifest lists them."""
    return [
        Cell(f"{n}.jpg", f"{n:064x}", "BLA" if n % 4 else "LYT", "a" if n % 2 else "b")
        for n in range(400)
    ]


def test_shares_hold_in_every_stratum() -> None:
    split = split_cells(many_cells())
    for stratum in {(cell.label, cell.source) for cell in many_cells()}:
        parts = Counter(
            row.part for row in split.rows if (row.cell.label, row.cell.source) == stratum
        )
        total = parts.total()
        assert parts["train"] == pytest.approx(0.7 * total, abs=1)
        assert parts["val"] == pytest.approx(0.15 * total, abs=1)


def test_the_split_depends_on_the_seed_but_not_on_the_order_of_rows() -> None:
    cells = many_cells()
    shuffled = random.Random(1).sample(cells, len(cells))
    assert split_cells(cells).hash == split_cells(shuffled).hash
    assert split_cells(cells).hash != split_cells(cells, seed=1).hash


def test_a_stratum_that_is_too_small_is_only_tested_on() -> None:
    few = [Cell(f"few{n}.jpg", f"f{n:063x}", "EBO", "a") for n in range(19)]
    split = split_cells(many_cells() + few)
    assert {row.part for row in split.rows if row.cell.label == "EBO"} == {"test"}


def test_what_overlaps_shares_content_or_patient_stays_together() -> None:
    cells = many_cells()
    cells.append(replace(cells[0], path="copy.jpg"))
    cells[5] = replace(cells[5], patient="p1")
    cells[6] = replace(cells[6], patient="p1")
    chain = [(f"{n}.jpg", f"{n + 1}.jpg") for n in range(100, 130)]
    split = split_cells(cells, chain)
    rows = {row.cell.path: row for row in split.rows}
    assert len({(rows[a].group, rows[a].part) for pair in chain for a in pair}) == 1
    assert rows["0.jpg"].group == rows["copy.jpg"].group
    assert rows["5.jpg"].group == rows["6.jpg"].group
    assert split.grouped_by.startswith("patient")


def test_held_out_cells_take_their_group_with_them() -> None:
    cells = many_cells()
    split = split_cells(cells, [("3.jpg", "4.jpg")], held_out={cells[3].sha256})
    held = {row.cell.path for row in split.part(HELD_OUT)}
    assert held == {"3.jpg", "4.jpg"}


def test_an_overlap_of_unknown_cells_is_an_error() -> None:
    with pytest.raises(SplitError, match=r"names gone.jpg, which the data does not have"):
        split_cells(many_cells(), [("1.jpg", "gone.jpg")])


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}])
def test_shares_that_make_no_whole(shares: dict[str, float]) -> None:
    with pytest.raises(SplitError, match="shares must be at least 0 and add up to 1"):
        split_cells(many_cells(), shares=shares)


def test_a_leak_is_an_error_that_names_the_files() -> None:
    split = split_cells(many_cells(), [("1.jpg", "2.jpg")])
    rows = [
        replace(row, part="train" if row.cell.path == "1.jpg" else "test") for row in split.rows
    ]
    with pytest.raises(SplitError) as caught:
        check_split(Split(tuple(rows), 0, ""))
    assert str(caught.value) == (
        "the split leaks: 1.jpg (train) and 2.jpg (test) have the same group; make the split again"
    )


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    split = split_cells(many_cells(), [("1.jpg", "2.jpg")])
    write_split(split, tmp_path)
    assert read_split(tmp_path) == split
    seal = json.loads((tmp_path / "split.json").read_text())
    assert seal["cells"] == dict(Counter(row.part for row in split.rows))


@pytest.mark.parametrize(("column", "value"), [("part", "test"), ("label", "MON"), ("group", "0")])
def test_a_changed_split_is_refused(tmp_path: Path, column: str, value: str) -> None:
    write_split(split_cells(many_cells()), tmp_path)
    file = tmp_path / "split.csv"
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    victim = next(row for row in rows if row["part"] == "train" and row[column] != value)
    victim[column] = value
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(SplitError, match="was changed after it was sealed"):
        read_split(tmp_path)


def test_a_folder_without_a_split(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="no split there"):
        read_split(tmp_path)


def test_overlap_lists(tmp_path: Path) -> None:
    file = tmp_path / "overlaps.csv"
    file.write_text("path_a,path_b,ncc\na.jpg,b.jpg,1.0\n")
    assert read_overlaps(file) == [("a.jpg", "b.jpg")]
    file.write_text("a,b\n1,2\n")
    with pytest.raises(SplitError, match="has no column 'path_a'"):
        read_overlaps(file)
