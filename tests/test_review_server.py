"""The reading room from the command line: cells in, decisions, and a manifest out for train."""

import json
from pathlib import Path

import pytest
from conftest import SAMPLES
from store_fixtures import BUNDLE, a_room, people, read_case, reading
from test_classify import run

from marrowscope.cases.case import read_case as read_case_file
from marrowscope.data.manifest import read_manifest
from marrowscope.errors import CaseError, NotThereError, StoreError
from marrowscope.store.active_learning import most_worth, waiting_for_a_look
from marrowscope.store.audit import verify
from marrowscope.store.case_model import name_model
from marrowscope.store.cases import archive, delete_case, find_case, list_cases
from marrowscope.store.cells import keep_readings, list_cells, waiting
from marrowscope.store.credentials import find_token
from marrowscope.store.database import Store
from marrowscope.store.decisions import decide
from marrowscope.store.export_labels import Exported, export_reviewed
from marrowscope.store.import_case import bring
from marrowscope.store.jobs import list_jobs, take_job
from marrowscope.store.signing import mark_reviewed, sign
from marrowscope.store.tables import Case, User
from marrowscope.store.users import user_called
from marrowscope.store.workspace import Room, find_room, sweep

CELLS = SAMPLES / "cells" / "pbc"


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return a_room(tmp_path / "room")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Three pictures of cells, one of them twice, and a file that is none."""
    folder = tmp_path / "cells"
    folder.mkdir()
    pictures = sorted(CELLS.rglob("*.jpg"))[:3]
    for number, file in enumerate([*pictures, pictures[0]]):
        (folder / f"{number}.jpg").write_bytes(file.read_bytes())
    (folder / "notes.txt").write_text("no picture")
    return folder


def read_all(room: Room, public_id: str, who: str) -> tuple[Case, User]:
    """Let a model that is none read the cells of a case."""
    with room.store.write() as session:
        user = user_called(session, who)
        case = find_case(session, user, public_id)
        name_model(session, case, BUNDLE)
        outcomes = {cell.id: reading(cell.id) for cell in waiting(session, case)}
        keep_readings(session, case, BUNDLE, outcomes)
    return case, user


def test_a_folder_becomes_a_case_whose_cells_wait(room: Room, cells: Path) -> None:
    brought = bring(room, "Ada", read_case_file(cells, 0.1))
    assert (brought.added.new, brought.added.known) == (3, 1)
    assert [Path(reject.path).name for reject in brought.rejects] == ["notes.txt"]
    with room.store.write() as session:
        ada = user_called(session, "Ada")
        case = find_case(session, ada, brought.case)
        assert (case.title, case.um_per_px, case.owner_id) == ("cells", 0.1, ada.id)
        rows = list_cells(session, case).rows
        assert [room.blobs.read(cell.sha256) for cell in rows] == [
            (cells / cell.file).read_bytes() for cell in rows
        ]
        assert {(cell.width, cell.height) for cell in rows} != {(0, 0)}
        assert take_job(session, "w", ["read"]) is list_jobs(session, case)[0]
        assert verify(session) is None


def test_pictures_go_a_day_after_the_last_case_that_has_them(room: Room, cells: Path) -> None:
    taken = [bring(room, "Ada", read_case_file(cells, 0.1)).case for _ in range(2)]
    for public_id, left in zip(taken, (3, 0), strict=True):
        with room.store.write() as session:
            ada = user_called(session, "Ada")
            delete_case(session, ada, find_case(session, ada, public_id), "cells")
        assert sweep(room) == 0
        assert sweep(room, older=-60) == 3 - left
        assert len(list(room.blobs.names())) == left


def test_a_folder_without_pictures_makes_no_case(room: Room, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.jpg").write_text("no picture")
    with pytest.raises(CaseError, match="texts: no file is the picture of a cell; the first of 1:"):
        bring(room, "Ada", read_case_file(tmp_path / "texts"))
    with room.store.read() as session:
        assert list_cases(session, user_called(session, "Root")).total == 0


def test_reviewed_cells_become_a_manifest_that_train_reads(room: Room, cells: Path) -> None:
    brought = bring(room, "Ada", read_case_file(cells, 0.1))
    case, ada = read_all(room, brought.case, "Ada")
    file = room.folder / "reviewed.csv"
    with room.store.write() as session:
        case = find_case(session, ada, brought.case)
        with pytest.raises(NotThereError, match="no reviewed or signed case has a cell that a p"):
            export_reviewed(session, room.blobs, file)
        rows = list_cells(session, case).rows
        decide(session, ada, case, [row.id for row in rows[:2]], "LYT")
        mark_reviewed(session, ada, case, case.version)
        assert export_reviewed(session, room.blobs, file, "lab") == Exported(2, 1, 0, 0)
    manifest = read_manifest(file)
    assert manifest.rejects == ()
    found = [
        (cell.label, cell.source, cell.patient, cell.slide, cell.um_per_px, cell.sha256)
        for cell in manifest.cells
    ]
    assert found == [("LYT", "lab", brought.case, "cells", 0.1, row.sha256) for row in rows[:2]]


def test_a_picture_with_two_classes_in_two_cases_is_left_out(room: Room, cells: Path) -> None:
    taken = [bring(room, name, read_case_file(cells, 0.1)).case for name in ("Ada", "Ben")]
    for public_id, name, labels in zip(
        taken, ("Ada", "Ben"), (("LYT", "MON"), ("LYT", "BLA")), strict=True
    ):
        read_all(room, public_id, name)
        with room.store.write() as session:
            user = user_called(session, name)
            case = find_case(session, user, public_id)
            for row, label in zip(list_cells(session, case).rows, labels, strict=False):
                decide(session, user, case, [row.id], label)
            mark_reviewed(session, user, case, case.version)
    file = room.folder / "reviewed.csv"
    with room.store.write() as session:
        assert export_reviewed(session, room.blobs, file) == Exported(2, 2, 2, 0)
        case = find_case(session, user_called(session, "Ben"), taken[1])
        last = list_cells(session, case).rows[-1]
        decide(session, user_called(session, "Ben"), case, [last.id], "EOS")
        assert export_reviewed(session, room.blobs, file) == Exported(2, 1, 0, 3)


def test_the_queue_takes_the_best_of_each_case_in_turn(store: Store) -> None:
    """With `reading`, the first cells of a case are the least certain: margins 0.46, 0.68, 0.75."""
    with store.write() as session:
        them = people(session)
        one, other = read_case(session, them.ada, 4), read_case(session, them.ben, 3, "A-2")
        of_one = [cell.id for cell in list_cells(session, one).rows]
        of_other = [cell.id for cell in list_cells(session, other).rows]
        list_cells(session, other).rows[2].novel = True
        decide(session, them.ada, one, of_one[:1], "BLA")
        found = most_worth(session, 5)
        assert [each.cell for each in found] == [
            *(of_other[2], of_one[1]),
            *(of_other[0], of_one[2]),
            *(of_other[1],),
        ][:5]
        assert found[0].worth == pytest.approx(2 - found[0].margin)
        assert waiting_for_a_look(session) == 6
        mark_reviewed(session, them.ada, one, one.version)
        sign(session, them.ada, one, one.version)
        archive(session, them.ben, other)
        assert most_worth(session) == []


def test_a_room_that_is_not_there_is_not_made_by_looking(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="room: no reading room; name its folder with --room, or"):
        find_room(tmp_path / "room")
    assert list(tmp_path.iterdir()) == []


def test_the_commands_tell_what_is_in_a_room(tmp_path: Path, cells: Path) -> None:
    at = "--room", str(tmp_path / "made")
    made = run("user", "add", "ada", "--role", "reviewer", *at)
    assert made.stdout.startswith("ada is a reviewer; to choose a password: /welcome#link_")
    assert run("user", "add", "ada", *at).stderr.startswith("error: there is a user 'ada' already")
    added = run("case", "add", str(cells), "--user", "ada", "--um-per-px", "0.1", *at)
    assert added.returncode == 3
    assert "3 cells wait to be read" in added.stdout
    assert "1 pictures came twice and count once" in added.stdout
    assert f"rejected: {cells / 'notes.txt'}: not a picture" in added.stdout
    (case,) = json.loads(run("case", "list", "--json", *at).stdout)
    assert (case["title"], case["state"], case["owner"]) == ("cells", "draft", "ada")
    assert run("case", "list", "--search", "other", *at).stdout == "no cases\n"
    assert run("queue", *at).stdout == "no cells wait for a look\n"
    assert json.loads(run("user", "list", "--json", *at).stdout) == [
        {"name": "ada", "role": "reviewer", "active": "yes"}
    ]
    assert run("user", "reset", "ada", *at).stdout.startswith("for ada to choose a password: /wel")
    token = run("user", "token", "ada", "--name", "import", *at).stdout.strip()
    with find_room(tmp_path / "made").store.read() as session:
        found = find_token(session, token)
        assert found is not None
        assert (found.user.name, found.name) == ("ada", "import")
    exported = run("audit-log", "export", "--output", str(tmp_path / "audit.jsonl"), *at)
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert exported.stdout == f"{tmp_path / 'audit.jsonl'}: {len(lines)} lines\n"
    whole = run("audit-log", "verify", *at)
    last = json.loads(lines[-1])["hash"]
    assert whole.stdout == f"the audit log is whole: {len(lines)} lines, last {last}\n"
    export = run("case", "export", "--output", str(tmp_path / "reviewed.csv"), *at)
    assert export.returncode == 1


def test_a_broken_log_is_told_by_its_own_exit_code(tmp_path: Path) -> None:
    at = "--room", str(tmp_path / "made")
    run("user", "add", "ada", *at)
    opened = find_room(tmp_path / "made")
    with opened.store.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER never_update_audit")
        connection.exec_driver_sql("UPDATE audit SET who = 'other' WHERE seq = 1")
    opened.close()
    broken = run("audit-log", "verify", *at)
    assert broken.returncode == 4
    assert broken.stdout == ("the audit log is broken: line 1 was changed after it was written\n")
