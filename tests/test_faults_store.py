"""A reading room whose disk is full, whose clock is set back, or that two processes write to."""

import json
import re
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import SAMPLES
from faults import STORE, Commands, Outcome, commands
from sqlalchemy import select
from store_fixtures import picture, read_case

from marrowscope.cases.case import read_case as read_case_of
from marrowscope.errors import DeniedError, MissingExtraError
from marrowscope.store import audit, credentials, invitations, jobs, timestamps
from marrowscope.store.audit import Event, append, verify
from marrowscope.store.credentials import find_login, open_login
from marrowscope.store.database import Store
from marrowscope.store.decisions import decide
from marrowscope.store.enums import Role
from marrowscope.store.import_case import bring
from marrowscope.store.invitations import look_at_link, make_link
from marrowscope.store.jobs import add_job, take_job
from marrowscope.store.signing import mark_reviewed
from marrowscope.store.tables import CaseCell
from marrowscope.store.users import make_user, user_called
from marrowscope.store.workspace import open_room

SMALLEST = 32_768
"""Bytes of the file that SQLite needs to read at all."""
ADD = "case add cells --um-per-px 0.1 --user Ada --json"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def command() -> Iterator[Commands]:
    with commands((*STORE, "marrowscope.web.server")) as running:
        yield running


@pytest.fixture
def desk(command: Commands, tmp_path: Path) -> Path:
    """A folder with four cells and a room in which Ada reviews."""
    (tmp_path / "cells").mkdir()
    for file in sorted((SAMPLES / "cells/mll/NGS").iterdir())[:4]:
        shutil.copy(file, tmp_path / "cells")
    done = command.run(tmp_path, *["user", "add", "Ada", "--role", "reviewer"])
    assert done.code == 0, done.text
    return tmp_path


def failed(outcome: Outcome, why: str) -> None:
    """Check that a command ended with one sentence."""
    assert outcome.code == 1, outcome.text
    assert re.search(rf"^error: .*{why}", outcome.text, re.MULTILINE), outcome.text
    assert "Traceback" not in outcome.text


def cases(command: Commands, desk: Path) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(command.run(desk, "case", "list", "--json").text)
    whole = command.run(desk, "audit-log", "verify")
    assert whole.code == 0, whole.text
    return listed


@pytest.mark.parametrize("largest", [1000, 20_000], ids=["pictures", "database"])
def test_a_case_that_the_disk_does_not_hold_is_not_half_there(
    command: Commands, desk: Path, largest: int
) -> None:
    failed(command.run(desk, *ADD.split(), largest=largest), "cannot be (kept|used)")
    assert cases(command, desk) == []
    assert command.run(desk, *ADD.split()).code == 0
    assert len(cases(command, desk)) == 1


@pytest.mark.parametrize(
    "words",
    [ADD, "user add Ben", "user reset Ada", "case export --output out.csv",
     "audit-log export --output out.jsonl"],
)  # fmt: skip
def test_a_room_that_may_not_be_written_to_is_named(
    command: Commands, desk: Path, words: str
) -> None:
    lock(desk)
    outcome = command.run(desk, *words.split(), locked=".")
    unlock(desk)
    failed(outcome, "")
    assert cases(command, desk) == []


def lock(desk: Path) -> None:
    for each in (desk / "room", *(desk / "room").rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)


def unlock(desk: Path) -> None:
    for each in (desk, desk / "room", *(desk / "room").rglob("*")):
        each.chmod(0o755)


def test_a_killed_case_add_leaves_no_case_and_can_be_given_again(
    command: Commands, desk: Path
) -> None:
    for step in (1, 4, 7):
        assert command.run(desk, *ADD.split(), dies_at=step).code == -signal.SIGKILL
        assert cases(command, desk) == []
    assert command.run(desk, *ADD.split()).code == 0
    assert len(cases(command, desk)) == 1


@pytest.mark.parametrize("words", ["user add Ben", "user reset Ada"])
def test_what_the_database_has_no_room_for_is_not_done(
    command: Commands, desk: Path, words: str
) -> None:
    """Another process has the database open, so that its file of what is new has grown already."""
    with closing(open_room(desk / "room")) as room:
        with room.store.write() as session:
            for _ in range(50):
                append(session, Event("Ada", "look"))
        before = command.run(desk, "user", "list")
        outcome = command.run(desk, *words.split(), largest=SMALLEST)
        failed(outcome, "the database cannot be used")
        assert "/welcome" not in outcome.text
        assert command.run(desk, "user", "list") == before
        assert cases(command, desk) == []
        assert command.run(desk, *words.split()).code == 0


@pytest.mark.parametrize("words", ["case export", "audit-log export"])
def test_an_export_that_the_disk_does_not_hold_leaves_the_earlier_one(
    command: Commands, desk: Path, words: str
) -> None:
    reviewed(desk)
    out = desk / "out.csv"
    out.write_text("of an earlier day")
    export = *words.split(), "--output", "out.csv"
    failed(command.run(desk, *export, largest=SMALLEST), "out.csv: File too large")
    assert out.read_text() == "of an earlier day"
    assert command.run(desk, *export).code == 0
    assert out.stat().st_size > SMALLEST


def reviewed(desk: Path) -> None:
    """Let Ada review a case of 400 cells."""
    with closing(open_room(desk / "room")) as room:
        with room.store.write() as session:
            ada = user_called(session, "Ada")
            case = read_case(session, ada, 400)
            cells = session.scalars(select(CaseCell.id).where(CaseCell.case_id == case.id)).all()
            decide(session, ada, case, cells, "LYT")
            mark_reviewed(session, ada, case, case.version)
        (room.blobs.root / "00").mkdir()
        for number in range(400):
            room.blobs.path(picture(number).sha256).touch()


@pytest.mark.parametrize("fault", [{"largest": 1000}, {"locked": "."}], ids=str)
def test_a_room_that_cannot_be_written_to_is_not_opened(
    command: Commands, desk: Path, fault: dict[str, int | str]
) -> None:
    lock(desk)
    failed(command.run(desk, "serve", "--port", 0, **fault), "room.db: cannot be used")
    unlock(desk)
    assert cases(command, desk) == []


def test_an_extra_that_a_field_needs_is_said_before_anything_is_kept(
    desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk / "cells/z.svs").touch()
    monkeypatch.setitem(sys.modules, "openslide", None)
    with closing(open_room(desk / "room")) as room:
        with pytest.raises(MissingExtraError, match=r"pip install 'marrowscope\[slides\]'"):
            bring(room, "Ada", read_case_of(desk / "cells", fields=True))
        assert list(room.blobs.root.iterdir()) == []


def test_two_processes_add_cases_to_one_room_side_by_side(command: Commands, desk: Path) -> None:
    codes: list[int] = []
    with commands(STORE) as other:
        sides = [
            threading.Thread(
                target=lambda each: codes.extend(each.run(desk, *ADD.split()).code for _ in "abc"),
                args=[each],
            )
            for each in (command, other)
        ]
        for side in sides:
            side.start()
        for side in sides:
            side.join()
    assert codes == [0] * 6
    assert len(cases(command, desk)) == 6


def at(monkeypatch: pytest.MonkeyPatch, shift: timedelta) -> None:
    """Set the clock of the store."""
    for module in (audit, credentials, invitations, jobs):
        monkeypatch.setattr(module, "now", lambda: timestamps.now() + shift)


def test_the_log_stays_whole_when_the_clock_is_set_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in (0, -400, 3, -1):
        at(monkeypatch, days * DAY)
        with store.write() as session:
            append(session, Event("Ada", "decide"))
    with store.read() as session:
        assert verify(session) is None
        lines = [json.loads(line) for line in audit.export(session)]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    assert [line["at"] for line in lines] != sorted(line["at"] for line in lines)


def test_a_clock_set_back_gives_no_login_and_no_link_more_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as session:
        ada = make_user(session, "Ada", Role.READER, "a marrow of words")
        login, link = open_login(session, ada).secret, make_link(session, ada, "Root")
    for shift, holds in (
        (timedelta(0), True),
        (timedelta(minutes=-4), True),
        (timedelta(minutes=-6), False),
        (-DAY, False),
        (30 * DAY, False),
    ):
        at(monkeypatch, shift)
        with store.read() as session:
            assert (find_login(session, login) is not None) == holds
            if holds:
                assert look_at_link(session, link) is not None
            else:
                with pytest.raises(DeniedError):
                    look_at_link(session, link)


def test_a_dead_workers_job_is_taken_up_although_the_clock_was_set_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.write() as session:
        add_job(session, "read")
        assert take_job(session, "first") is not None
    with store.write() as session:
        assert take_job(session, "second") is None
    at(monkeypatch, -DAY)
    with store.write() as session:
        taken = take_job(session, "second")
        assert taken is not None
        assert taken.owner == "second"
