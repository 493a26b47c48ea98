"""Counting and reporting a case of the store: the same figures as a case on the disk gives."""

import csv
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import SAMPLES
from store_fixtures import BUNDLE, a_room, picture, reading

from marrowscope.cases.case import read_case
from marrowscope.cases.report import report_case
from marrowscope.differential.accumulator import Fate
from marrowscope.differential.count import count
from marrowscope.errors import StoreError
from marrowscope.store.case_model import name_model
from marrowscope.store.cases import Facts, find_case, make_case
from marrowscope.store.cells import (
    NewCell,
    add_cells,
    counted_prediction,
    keep_readings,
    list_cells,
    waiting,
)
from marrowscope.store.decisions import decide, undo
from marrowscope.store.import_case import bring
from marrowscope.store.live_count import case_predictions, count_case
from marrowscope.store.report_input import read_case_input
from marrowscope.store.users import user_called
from marrowscope.store.workspace import Room

CELLS = SAMPLES / "cells" / "pbc"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return a_room(tmp_path / "room")


def test_a_decision_moves_the_differential_and_makes_its_cell_sure(room: Room) -> None:
    with room.store.write() as session:
        ada = user_called(session, "Ada")
        case = make_case(session, ada, Facts("A-1"))
        add_cells(session, ada, case, "1", list(map(picture, range(26))))
        name_model(session, case, BUNDLE)
        strange = BUNDLE.novelty.threshold + 1 if BUNDLE.novelty else 0.0
        rows = list_cells(session, case).rows
        outcomes = {
            row.id: reading(number, strange if number == 25 else 0.0)
            for number, row in enumerate(rows)
        }
        keep_readings(session, case, BUNDLE, outcomes)
        before = count_case(session, case, BUNDLE)
        assert before.fates[Fate.UNLIKE] == 1
        assert sum(before.fates.values()) == 26
        blasts = [row.id for row in rows if row.machine == "BLA"]
        assert len(blasts) == 2
        decide(session, ada, case, [rows[25].id, *blasts], "PMO")
        after = count_case(session, case, BUNDLE)
        assert after.version == before.version + 1
        assert after.fates[Fate.UNLIKE] == 0
        labels = Counter(cell.counts_as for cell in list_cells(session, case).rows)
        assert after.differential == count(labels, BUNDLE.classes)
        (row,) = (row for row in after.differential.rows if row.code == "PMO")
        assert row.cells == 2 + 3
        assert before.work.blasts is not None
        assert after.work.blasts is not None
        assert after.work.blasts.cells < before.work.blasts.cells + 1
        assert not {str(number) for number in blasts} & {each.path for each in after.work.first}
        cells = list_cells(session, case).rows
        same = sorted(map(repr, case_predictions(session, case)))
        assert same == sorted(repr(counted_prediction(cell)) for cell in cells)
        undo(session, ada, case)
        again = count_case(session, case, BUNDLE)
        assert (again.differential, again.fates) == (before.differential, before.fates)


def test_a_large_case_is_counted_fast_enough_to_be_live(room: Room) -> None:
    """2,000 cells; far below a second even on a busy machine, as pages count after each key."""
    with room.store.write() as session:
        ada = user_called(session, "Ada")
        case = make_case(session, ada, Facts("A-1"))
        add_cells(session, ada, case, "1", list(map(picture, range(2000))))
        name_model(session, case, BUNDLE)
        rows = waiting(session, case, 2000)
        keep_readings(session, case, BUNDLE, {row.id: reading(row.id) for row in rows})
    with room.store.read() as session:
        count_case(session, case, BUNDLE)
    with room.store.read() as session:
        begun = time.process_time()
        counted = count_case(session, case, BUNDLE)
        assert time.process_time() - begun < 1
    assert sum(counted.fates.values()) == 2000


def test_a_case_comes_out_as_a_report(room: Room, tmp_path: Path) -> None:
    folder = tmp_path / "A 1"
    folder.mkdir()
    for number, file in enumerate(sorted(CELLS.rglob("*.jpg"))[:6]):
        (folder / f"{number} é.jpg").write_bytes(file.read_bytes())
    brought = bring(room, "Ada", read_case(folder, 0.1))
    with room.store.write() as session:
        ada = user_called(session, "Ada")
        case = find_case(session, ada, brought.case)
        name_model(session, case, BUNDLE)
        rows = list_cells(session, case).rows
        with pytest.raises(StoreError, match="6 cells of the case A 1 wait to be read; report it"):
            read_case_input(session, case, BUNDLE, room.blobs)
        keep_readings(session, case, BUNDLE, {row.id: reading(row.id) for row in rows})
        decide(session, ada, case, [rows[0].id], "BLA")
        decide(session, ada, case, [rows[0].id, rows[1].id], "LYT")
        decide(session, ada, case, [rows[2].id], "MON")
        undo(session, ada, case)
        read = read_case_input(session, case, BUNDLE, room.blobs)
        case.bundle_sha256 = ""
        before = read_case_input(session, case, BUNDLE, room.blobs)
        counted = count_case(session, case, BUNDLE)
    assert read.differential == counted.differential
    assert [cell.decision and cell.decision.label for cell in read.cells] == [
        *("LYT", "LYT"),
        *[None] * 4,
    ]
    assert [each.label for each in read.decisions.overruled] == ["BLA"]
    out = tmp_path / "out"
    out.mkdir()
    report_case(before, out)
    assert "the bundle not known, as the cells were read before it was kept, of the model" in (
        out / "report.html"
    ).read_text(encoding="utf-8")
    assert '"bundle, SHA-256"' not in (out / "fhir.json").read_text(encoding="utf-8")
    report_case(read, out)
    assert BUNDLE.sha256 in (out / "report.html").read_text(encoding="utf-8")
    assert BUNDLE.sha256 in (out / "fhir.json").read_text(encoding="utf-8")
    assert (out / "report.pdf").read_bytes().startswith(b"%PDF")
    with (out / "cells.csv").open(newline="", encoding="utf-8") as lines:
        table = list(csv.DictReader(lines))
    assert [row["path"] for row in table] == [
        f"A_1/{row.id}-{number}_é.jpg" for number, row in enumerate(rows)
    ]
    assert [row["reviewer"] for row in table] == ["Ada", "Ada", "", "", "", ""]


def test_names_of_slides_and_files_lead_nowhere_else(room: Room) -> None:
    with room.store.write() as session:
        ada = user_called(session, "Ada")
        case = make_case(session, ada, Facts("A-1"))
        name = room.blobs.put(next(CELLS.rglob("*.jpg")).read_bytes())
        add_cells(session, ada, case, "../..", [NewCell("../../../a.jpg", name, 9, 9)])
        name_model(session, case, BUNDLE)
        (row,) = list_cells(session, case).rows
        keep_readings(session, case, BUNDLE, {row.id: reading(0)})
        read = read_case_input(session, case, BUNDLE, room.blobs)
    (cell,) = read.cells
    assert cell.machine.path == f"_/{row.id}-.._.._.._a.jpg"
    assert read.load is not None
    assert read.load(cell.machine).size == (360, 363)
