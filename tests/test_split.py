"""Splits that are stratified, sealed and free of leaks, whatever they are asked to look like."""

import csv
import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from marrowscope.commands.data_output import in_one_part
from marrowscope.data.partition import divide, folds
from marrowscope.data.split import (
    HELD_OUT,
    Split,
    check_split,
    located,
    read_damaged,
    read_pairs,
    read_split,
    write_split,
)
from marrowscope.data.split_plan import SplitPlan, read_lists, read_names, read_shares
from marrowscope.errors import SplitError
from marrowscope.types import Cell


def many_cells() -> list[Cell]:
    """400 cells of two sources and two classes, as a manifest lists them."""
    return [
        Cell(f"{n}.jpg", f"{n:064x}", "BLA" if n % 4 else "LYT", "a" if n % 2 else "b")
        for n in range(400)
    ]


def test_shares_hold_in_every_stratum() -> None:
    split = divide(many_cells())
    assert split.grouped_by.startswith("same content, no list of overlapping pictures")
    assert divide(many_cells(), []).grouped_by.startswith("same content, 0 pairs of an audit")
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
    assert divide(cells).hash == divide(shuffled).hash
    assert divide(cells).hash != divide(cells, plan=SplitPlan(seed=1)).hash


def test_a_stratum_that_is_too_small_is_only_tested_on() -> None:
    few = [Cell(f"few{n}.jpg", f"f{n:063x}", "EBO", "a") for n in range(19)]
    split = divide(many_cells() + few)
    assert {row.part for row in split.rows if row.cell.label == "EBO"} == {"test"}
    assert in_one_part(split) == {"test": ["EBO"]}


def test_what_overlaps_shares_content_or_patient_stays_together() -> None:
    cells = many_cells()
    cells.append(replace(cells[0], path="copy.jpg"))
    cells[5] = replace(cells[5], patient="p1")
    cells[7] = replace(cells[7], patient="p1")
    chain = [(f"{n}.jpg", f"{n + 1}.jpg") for n in range(100, 130)]
    split = divide(cells, chain)
    rows = {row.cell.path: row for row in split.rows}
    assert len({(rows[a].group, rows[a].part) for pair in chain for a in pair}) == 1
    assert rows["0.jpg"].group == rows["copy.jpg"].group
    assert rows["5.jpg"].group == rows["7.jpg"].group
    assert split.grouped_by == "patient, same content, 30 pairs of an audit"


def test_held_out_cells_take_their_group_with_them() -> None:
    cells = many_cells()
    split = divide(cells, [("3.jpg", "4.jpg")], SplitPlan(held_out=frozenset({cells[3].sha256})))
    held = {row.cell.path for row in split.part(HELD_OUT)}
    assert held == {"3.jpg", "4.jpg"}


def test_a_pair_of_unknown_cells_is_an_error() -> None:
    with pytest.raises(SplitError, match=r"names gone.jpg, which the data does not have"):
        divide(many_cells(), [("1.jpg", "gone.jpg")])


@pytest.mark.parametrize(
    "shares", [{}, {"train": 0.5}, {"train": 1.5, "test": -0.5}, {"train": math.nan, "test": 1}]
)
def test_shares_that_make_no_whole(shares: dict[str, float]) -> None:
    with pytest.raises(SplitError, match="shares must be at least 0 and add up to 1"):
        SplitPlan(shares=shares)


def test_a_leak_is_an_error_that_names_the_files() -> None:
    split = divide(many_cells(), [("1.jpg", "2.jpg")])
    rows = [
        replace(row, part="train" if row.cell.path == "1.jpg" else "test") for row in split.rows
    ]
    with pytest.raises(SplitError) as caught:
        check_split(Split(tuple(rows), 0, ""))
    assert str(caught.value) == (
        "the split leaks: 1.jpg (train) and 2.jpg (test) have the same group; make the split again"
    )


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    split = divide(many_cells(), [("1.jpg", "2.jpg")])
    write_split(split, tmp_path)
    assert read_split(tmp_path) == split
    seal = json.loads((tmp_path / "split.json").read_text())
    assert seal["cells"] == dict(Counter(row.part for row in split.rows))


@pytest.mark.parametrize(("column", "value"), [("part", "test"), ("label", "MON"), ("group", "0")])
def test_a_changed_split_is_refused(tmp_path: Path, column: str, value: str) -> None:
    write_split(divide(many_cells()), tmp_path)
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


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("split.json", "[]"),
        ("split.json", '{"seed": 1e999, "grouped_by": "", "hash": ""}'),
        ("split.csv", f"path,sha256,label,source,group,part\n{'x' * 140_000},a,BLA,a,0,train"),
    ],
)
def test_a_split_that_cannot_be_read_is_refused_in_words(
    name: str, content: str, tmp_path: Path
) -> None:
    write_split(divide(many_cells()), tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(SplitError, match="its split cannot be read"):
        read_split(tmp_path)


def test_a_folder_without_a_split(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="no split there"):
        read_split(tmp_path)


def test_lists_of_pairs(tmp_path: Path) -> None:
    file = tmp_path / "overlaps.csv"
    file.write_text("path_a,path_b,ncc\na.jpg,b.jpg,1.0\n")
    assert read_pairs(file) == [("a.jpg", "b.jpg")]
    (tmp_path / "duplicates.csv").write_text("path_a,path_b\nb.jpg,c.jpg\n")
    assert read_pairs(tmp_path) == [("a.jpg", "b.jpg"), ("b.jpg", "c.jpg")]
    file.write_text("a,b\n1,2\n")
    with pytest.raises(SplitError, match="no column path_a or path_b; it has a, b"):
        read_pairs(file)


def test_patients_slides_and_fields_stay_together_within_their_source() -> None:
    cells = many_cells()
    cells[0] = replace(cells[0], patient="1")
    cells[2] = replace(cells[2], patient="1", slide="s")
    cells[1] = replace(cells[1], patient="1")
    cells[11] = replace(cells[11], slide="s", field="7")
    cells[13] = replace(cells[13], slide="s")
    cells[21] = replace(cells[21], field="7")
    group = {row.cell.path: row.group for row in divide(cells).rows}
    assert group["0.jpg"] == group["2.jpg"]
    assert group["11.jpg"] == group["13.jpg"]
    assert len({group[name] for name in ("0.jpg", "1.jpg", "11.jpg", "21.jpg")}) == 4


def test_a_scheme_a_cap_and_damaged_cells() -> None:
    plan = SplitPlan(classes=("BLA",), cap=100, damaged=frozenset({"1.jpg"}))
    split = divide(many_cells(), plan=plan)
    assert Counter(row.cell.label for row in split.rows) == {"BLA": 100}
    assert "1.jpg" not in {row.cell.path for row in split.rows}
    assert split.left_out == {
        "of a class outside the scheme": 100,
        "unreadable or damaged": 1,
        "above the cap of its class": 199,
    }
    assert divide(many_cells(), plan=plan).hash == split.hash


def test_only_the_sources_asked_for_are_divided() -> None:
    split = divide(many_cells(), plan=SplitPlan(sources=("a",)))
    assert {row.cell.source for row in split.rows} == {"a"}
    assert split.left_out == {"of another source": 200}


def test_parts_may_have_any_names_and_shares() -> None:
    split = divide(many_cells(), plan=SplitPlan(shares=read_shares("a=0.5, b=0.25,c=0.25")))
    parts = Counter(row.part for row in split.rows)
    assert [parts[name] for name in "abc"] == [200, 100, 100]


@pytest.mark.parametrize("text", ["", "train", "train=x", "=1", "a=0.5,a=0.5"])
def test_shares_that_cannot_be_read(text: str) -> None:
    with pytest.raises(SplitError, match="shares are written as train="):
        read_shares(text)


def test_folds_test_every_cell_once_and_never_leak() -> None:
    cells = many_cells() + [Cell(f"few{n}.jpg", f"f{n:063x}", "EBO", "a") for n in range(8)]
    splits = folds(cells, [("1.jpg", "3.jpg")], SplitPlan(), 4)
    tested = [row.cell.path for split in splits for row in split.part("test")]
    assert sorted(tested) == sorted(cell.path for cell in cells)
    for split in splits:
        check_split(split)
        parts = Counter(row.part for row in split.rows)
        assert parts["val"] == pytest.approx(102, abs=1)
        assert {row.cell.label for row in split.part("test")} == {"BLA", "LYT", "EBO"}
    assert len({split.hash for split in splits}) == 4
    with pytest.raises(SplitError, match="at least 3 folds are needed"):
        folds(cells, [], SplitPlan(), 2)
    with pytest.raises(SplitError, match="give either --list or --folds"):
        folds(cells, [], SplitPlan(lists={"test": frozenset({"1.jpg"})}), 3)


def test_a_published_list_makes_up_its_part(tmp_path: Path) -> None:
    names = tmp_path / "test.csv"
    names.write_text("Image Path,Label\n/far/away/5.jpg,LYT\nC:\\far\\6.jpg,BLA\n")
    split = divide(many_cells(), plan=SplitPlan(lists=read_lists([f"test={names}"])))
    assert {row.cell.path for row in split.part("test")} == {"5.jpg", "6.jpg"}
    parts = Counter(row.part for row in split.rows)
    assert parts["train"] + parts["val"] == 398
    assert parts["train"] == pytest.approx(398 * 0.7 / 0.85, abs=2)


def test_cells_that_share_pixels_with_a_listed_one_are_an_error_or_left_out() -> None:
    plan = SplitPlan(lists={"test": frozenset({"5.jpg"})})
    pairs = [("5.jpg", "9.jpg"), ("9.jpg", "10.jpg")]
    with pytest.raises(SplitError) as caught:
        divide(many_cells(), pairs, plan)
    assert str(caught.value) == (
        "2 cells share a group with a cell of a listed part (the first: 9.jpg and 5.jpg); those "
        "that no list names are left out with --leave-out-leaks"
    )
    split = divide(many_cells(), pairs, replace(plan, leave_out_leaks=True))
    assert {row.cell.path for row in split.part("test")} == {"5.jpg"}
    assert not {"9.jpg", "10.jpg"} & {row.cell.path for row in split.rows}
    assert split.left_out == {"shares a group with a listed cell": 2}
    two = SplitPlan(
        lists={"test": frozenset({"5.jpg"}), "val": frozenset({"9.jpg"})}, leave_out_leaks=True
    )
    with pytest.raises(SplitError, match="cells share a group with a cell of a listed part"):
        divide(many_cells(), pairs, two)


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"test": {"gone.jpg", "5.jpg"}}, "1 of its 2 file names cannot be used, as gone.jpg is"),
        ({"test": {"5.jpg"}, "val": {"5.jpg"}}, "5.jpg is in the lists of two parts"),
        ({"test": {"twin.jpg"}}, "as twin.jpg is the name of several cells"),
    ],
)
def test_lists_that_do_not_fit_the_data(lists: dict[str, set[str]], message: str) -> None:
    twins = [Cell(f"{folder}/twin.jpg", f"{folder}", "BLA", "a") for folder in "ab"]
    plan = SplitPlan(lists={part: frozenset(names) for part, names in lists.items()})
    with pytest.raises(SplitError) as caught:
        divide(many_cells() + twins, plan=plan)
    assert message in str(caught.value)


def test_copies_of_one_file_are_each_found_once() -> None:
    twins = [Cell(f"{folder}/twin.jpg", "f" * 64, "BLA", "a") for folder in "ba"]
    rows = [row for row in divide(many_cells() + twins).rows if row.cell in twins]
    assert len({row.part for row in rows}) == 1
    moved = [replace(twin, path=f"elsewhere/{twin.path}") for twin in twins]
    for cells in (twins, moved):
        found = located(rows, many_cells() + cells, rows[0].part)
        assert {row.cell.path for row in found} == {cell.path for cell in cells}


def test_a_list_that_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("path\n")
    with pytest.raises(SplitError, match="names no file"):
        read_names(tmp_path / "names.txt")
    with pytest.raises(SplitError, match="a list is given as PART=FILE"):
        read_lists(["test"])
    (tmp_path / "names.txt").write_text("5.jpg\n")
    with pytest.raises(SplitError, match="the part 'test' has two lists; put all its names into"):
        read_lists([f"test={tmp_path / 'names.txt'}"] * 2)


def test_no_share_is_left_beside_a_list() -> None:
    with pytest.raises(SplitError, match=r"beside the list of test, a part needs a share above 0"):
        SplitPlan(shares={"train": 0.0, "test": 1.0}, lists={"test": frozenset({"5.jpg"})})


def test_only_what_cannot_be_used_is_left_out_by_an_audit(tmp_path: Path) -> None:
    (tmp_path / "damaged.csv").write_text(
        "path,kind,reason\na.jpg,damaged,x\nb.jpg,unreadable,x\nc.jpg,odd size,x\n"
    )
    assert read_damaged(tmp_path) == {"a.jpg", "b.jpg"}
    assert read_damaged(tmp_path / "damaged.csv") == frozenset()
