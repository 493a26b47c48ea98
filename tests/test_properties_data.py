"""Whatever the cells are called and however they come: tables keep them, splits do not leak."""

import random
import tempfile
from collections import Counter, defaultdict
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from properties import bounded, codes, names, words

from marrowscope.data.manifest import manifest_file, read_manifest
from marrowscope.data.partition import divide
from marrowscope.data.split import Split, read_split, write_split
from marrowscope.data.split_plan import SplitPlan
from marrowscope.detection.boxes import HEADER, Box, iou, merge, read_boxes, write_boxes
from marrowscope.errors import FieldError, ManifestError
from marrowscope.inference.checkpoint import Outcomes
from marrowscope.inference.predictor import BATCH_SIZE
from marrowscope.io.tables import (
    REJECT_HEADER,
    CellRows,
    FieldCellRows,
    csv_file,
    prediction_row,
    read_predictions,
    reject_row,
    rounded,
)
from marrowscope.types import Cell, Picture, Place, Prediction, Reject

CLASSES = ("BLA", "LYT")
PARTS = ("train", "val", "test")


@some.composite
def labelled(draw: some.DrawFn) -> dict[str, Cell]:
    """Cells by their file's name, with the content `b"<name>"`."""
    cells = {}
    for name in draw(some.lists(names, min_size=1, max_size=6, unique=True)):
        scale = draw(some.none() | some.floats(0.001, 99, allow_subnormal=False))
        source, patient, slide, field = (draw(words) for _ in range(4))
        digest = sha256(name.encode()).hexdigest()
        cells[name] = Cell(name, digest, draw(codes), source, patient, slide, field, scale)
    return cells


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@bounded
@given(cells=labelled())
def test_a_manifest_gives_back_what_was_written(suffix: str, cells: dict[str, Cell]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "cells"
        root.mkdir()
        for name in cells:
            (root / name).write_bytes(name.encode())
        file = root.with_name(f"m{suffix}")
        with manifest_file(file) as add:
            for cell in cells.values():
                add(replace(cell, path=f"cells/{cell.path}"))
        read = read_manifest(file)
    otherwise = "m" if suffix == ".parquet" else ""
    assert not read.rejects
    assert read.cells == tuple(
        replace(cell, path=f"cells/{cell.path}", source=cell.source or otherwise)
        for cell in cells.values()
    )


@bounded
@given(
    content=some.binary(max_size=60) | words.map(lambda text: f"path,label\n{text}".encode()),
    suffix=some.sampled_from((".csv", ".parquet", ".zip", ".tar")),
)
def test_whatever_stands_in_a_manifest_is_named(content: bytes, suffix: str) -> None:
    if b"://" in content:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"m{suffix}"
        file.write_bytes(content)
        with pytest.raises(ManifestError, match="m"):
            read_manifest(file)


@bounded
@given(
    sides=some.lists(some.text("0123456789-.enax", max_size=6), min_size=4, max_size=4),
    before=some.integers(0, 5),
)
def test_a_row_that_is_no_box_is_named_by_its_line(sides: list[str], before: int) -> None:
    rows = [",".join(HEADER[:-1]), *["a.jpg,WBC,0,0,9,9"] * before, ",".join(["b.jpg,WBC", *sides])]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "boxes.csv"
        file.write_text("\n".join(rows))
        try:
            found = read_boxes(file)
        except FieldError as error:
            assert str(error).startswith(f"{file}, line {before + 2}: ")  # noqa: PT017
        else:
            box = found["b.jpg"][0]
            assert box.x0 < box.x1
            assert box.y0 < box.y1


cells_of_patients = some.lists(
    some.tuples(
        some.sampled_from(["", "p1", "p2", "p3"]),
        some.sampled_from(["", "s1", "s2"]),
        some.sampled_from(["mll", "pbc"]),
        some.sampled_from(CLASSES),
        some.integers(0, 30),
    ),
    min_size=1,
    max_size=40,
)


file_paths = words.filter(str.strip).map(lambda text: str(Path(text)))
"""As the command writes them."""


def made(rows: list[tuple[str, str, str, str, int]]) -> list[Cell]:
    """Cells of patients, slides, sources, classes and contents; some are copies."""
    return [
        Cell(f"{number}.jpg", f"{content:064x}", label, source, patient, slide)
        for number, (patient, slide, source, label, content) in enumerate(rows)
    ]


@settings(bounded, max_examples=100)
@given(
    rows=cells_of_patients,
    pairs=some.lists(some.tuples(some.integers(0, 39), some.integers(0, 39)), max_size=5),
    seed=some.integers(0, 3),
    cap=some.integers(0, 6),
)
def test_no_split_leaks_or_loses_a_cell(
    rows: list[tuple[str, str, str, str, int]], pairs: list[tuple[int, int]], seed: int, cap: int
) -> None:
    cells = made(rows)
    named = [(cells[a % len(cells)].path, cells[b % len(cells)].path) for a, b in pairs]
    plan = SplitPlan(seed=seed, cap=cap, min_stratum=3)
    split = divide(cells, named, plan)
    paths = [row.cell.path for row in split.rows]
    assert len(paths) == len(set(paths))
    assert len(paths) + sum(split.left_out.values()) == len(cells)
    parts: dict[tuple[str, ...], set[str]] = defaultdict(set)
    part_of = {row.cell.path: row.part for row in split.rows}
    for row in split.rows:
        parts["content", row.cell.sha256].add(row.part)
        if row.cell.patient:
            parts["patient", row.cell.source, row.cell.patient].add(row.part)
        if row.cell.slide:
            parts["slide", row.cell.source, row.cell.patient, row.cell.slide].add(row.part)
    assert all(len(of) == 1 for of in parts.values())
    assert all(part_of[a] == part_of[b] for a, b in named if a in part_of and b in part_of)
    mixed = cells.copy()
    random.Random(1).shuffle(mixed)
    assert divide(mixed, named, plan).hash == split.hash


@bounded
@given(
    sizes=some.lists(some.integers(1, 8), min_size=1, max_size=25),
    weights=some.lists(some.integers(1, 9), min_size=3, max_size=3),
    seed=some.integers(0, 5),
)
def test_no_part_gets_more_than_its_share_and_one_group(
    sizes: list[int], weights: list[int], seed: int
) -> None:
    cells = [
        Cell(f"{group}-{index}.jpg", f"{group:032x}{index:032x}", "BLA", "mll", f"p{group}")
        for group, size in enumerate(sizes)
        for index in range(size)
    ]
    shares = {part: weight / sum(weights) for part, weight in zip(PARTS, weights, strict=True)}
    split = divide(cells, plan=SplitPlan(shares=shares, seed=seed, min_stratum=0))
    have = Counter(row.part for row in split.rows)
    for part, share in shares.items():
        assert have[part] < share * len(cells) + max(sizes)


@settings(bounded, max_examples=25)
@given(cells=labelled())
def test_a_split_is_read_back_as_it_was_sealed(cells: dict[str, Cell]) -> None:
    split = divide(tuple(cells.values()), plan=SplitPlan(min_stratum=0))
    with tempfile.TemporaryDirectory() as folder:
        write_split(split, Path(folder))
        read: Split = read_split(Path(folder))
    assert read.hash == split.hash
    assert [(r.cell.path, r.part) for r in read.rows] == [(r.cell.path, r.part) for r in split.rows]


@some.composite
def predictions(draw: some.DrawFn, *, on_fields: bool) -> Prediction:
    """A prediction with any path."""
    chance = draw(some.floats(0, 1))
    sides = sorted(draw(some.lists(some.integers(0, 9999), min_size=4, max_size=4)))
    scale = draw(some.floats(0.02, 1))
    place = Place(draw(words), sides[0], sides[1], sides[2], sides[3], scale)
    return Prediction(
        place.path if on_fields else draw(words),
        draw(some.sampled_from(CLASSES)),
        max(chance, 1 - chance),
        (chance, 1 - chance),
        draw(some.none() | some.lists(some.sampled_from(CLASSES), unique=True).map(tuple)),
        draw(some.floats(0, 9) | some.just(float("nan"))),
        place=place if on_fields else None,
    )


def same(one: Prediction, other: Prediction) -> bool:
    return prediction_row(one) == prediction_row(other)


@pytest.mark.parametrize("on_fields", [False, True])
@bounded
@given(data=some.data())
def test_predictions_come_back_from_their_table(on_fields: bool, data: some.DataObject) -> None:
    written = data.draw(some.lists(predictions(on_fields=on_fields), max_size=5))
    row_format = FieldCellRows(CLASSES) if on_fields else CellRows(CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "predictions.csv"
        with csv_file(file, row_format.header) as rows:
            for each in written:
                rows.writerow(prediction_row(each))
        read = list(read_predictions(file))
    assert len(read) == len(written)
    assert all(map(same, read, written))
    assert all(same(rounded(each), each) for each in read)


@bounded
@given(
    paths=some.lists(file_paths, min_size=1, max_size=45, unique=True),
    written=some.integers(0, 45),
    begun=some.integers(0, 30),
)
def test_tables_cut_off_by_a_kill_give_whole_outcomes_in_order(
    paths: list[str], written: int, begun: int
) -> None:
    """Some rows were written and the next one begun; what is kept ends where a row does."""
    outcomes = [
        Reject(path, "odd") if number % 5 == 0 else Prediction(path, "BLA", 0.9, (0.9, 0.1))
        for number, path in enumerate(paths)
    ]
    written = min(written, len(paths))
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / "predictions.csv", Path(folder) / "rejects.csv"
        write_outcomes(tables, outcomes[:written])
        whole = [table.read_bytes() for table in tables]
        write_outcomes(tables, outcomes[: written + 1])
        for table, before in zip(tables, whole, strict=True):
            table.write_bytes(table.read_bytes()[: len(before) + begun])
        taken: list[object] = []
        with Outcomes(*tables, CellRows(CLASSES)) as kept:
            rest = list(kept.replay([Picture(Path(path)) for path in paths], taken.append))
        contents = [table.read_bytes() for table in tables]
    assert len(taken) + len(rest) == len(paths)
    assert len(taken) >= written - written % BATCH_SIZE
    assert [str(each) for each in taken] == [str(outcome) for outcome in outcomes[: len(taken)]]
    for content, end in zip(contents, kept.keep, strict=True):
        assert content[:end][-1:] in {b"\n", b""}


def write_outcomes(tables: tuple[Path, Path], outcomes: list[Reject | Prediction]) -> None:
    with (
        csv_file(tables[0], CellRows(CLASSES).header) as good,
        csv_file(tables[1], REJECT_HEADER) as bad,
    ):
        for outcome in outcomes:
            if isinstance(outcome, Reject):
                bad.writerow(reject_row(outcome))
            else:
                good.writerow(prediction_row(outcome))


sides = some.floats(-50, 50, allow_nan=False)
boxes = some.builds(
    lambda x, y, width, height, score: Box(x, y, x + width, y + height, score),
    sides, sides, some.floats(1, 40), some.floats(1, 40), some.floats(0, 1),
)  # fmt: skip


@bounded
@given(one=boxes, other=boxes)
def test_overlap_is_the_same_from_both_sides(one: Box, other: Box) -> None:
    assert iou(one, other) == pytest.approx(iou(other, one))
    assert 0 <= iou(one, other) <= 1 + 1e-9
    assert iou(one, one) == pytest.approx(1)
    assert iou(one.moved(3, -4, 2), other.moved(3, -4, 2)) == pytest.approx(
        iou(one, other), abs=1e-6
    )


@bounded
@given(found=some.lists(boxes, max_size=12), most=some.floats(0.1, 0.9))
def test_merged_boxes_merge_no_further(found: list[Box], most: float) -> None:
    kept = merge(found, most)
    assert merge(kept, most) == kept
    assert set(kept) <= set(found)
    assert all(iou(a, b) <= most for a in kept for b in kept if a is not b)
    assert bool(kept) == bool(found)


@bounded
@given(found=some.dictionaries(words.filter(bool), some.lists(boxes, min_size=1, max_size=3)))
def test_boxes_come_back_from_their_table(found: dict[str, list[Box]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "boxes.csv"
        write_boxes(file, found)
        read = read_boxes(file)
    assert list(read) == list(found)
    for name, there in read.items():
        for box, written in zip(there, found[name], strict=True):
            assert (box.x0, box.y1) == pytest.approx((written.x0, written.y1), abs=0.051)
            assert box.score == pytest.approx(written.score, abs=1e-4)
