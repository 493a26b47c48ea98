"""A reading room whose disk is full, whose clock is set back, or that two processes write to."""

import json
import shutil
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from conftest import SAMPLES
from faults import STORE, Commands, commands

from marrowscope.errors import DeniedError
from marrowscope.store import audit, jobs, links, logins, moments
from marrowscope.store.audit import Event, append, verify
from marrowscope.store.database import Store
from marrowscope.store.jobs import add_job, take_job
from marrowscope.store.kinds import Role
from marrowscope.store.links import look_at_link, make_link
from marrowscope.store.logins import login_of, open_login
from marrowscope.store.users import make_user

ADD = "case add cells --um-per-px 0.1 --user Ada --json"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def command() -> Iterator[Commands]:
    with commands(STORE) as running:
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


def cases(command: Commands, desk: Path) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = json.loads(command.run(desk, "case", "list", "--json").text)
    whole = command.run(desk, "audit-log", "verify")
    assert whole.code == 0, whole.text
    return listed


@pytest.mark.parametrize("largest", [1000, 20_000], ids=["pictures", "database"])
def test_a_case_that_the_disk_does_not_hold_is_not_half_there(
    command: Commands, desk: Path, largest: int
) -> None:
    failed = command.run(desk, *ADD.split(), largest=largest)
    assert failed.code == 1, failed.text
    assert "error: " in failed.text
    assert "Traceback" not in failed.text
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
    for each in (desk / "room", *(desk / "room").rglob("*")):
        each.chmod(0o555 if each.is_dir() else 0o444)
    failed = command.run(desk, *words.split(), locked=".")
    for each in (desk, desk / "room", *(desk / "room").rglob("*")):
        each.chmod(0o755)
    assert failed.code == 1, failed.text
    assert "error: " in failed.text
    assert "Traceback" not in failed.text
    assert cases(command, desk) == []


def test_a_killed_case_add_leaves_no_case_and_can_be_given_again(
    command: Commands, desk: Path
) -> None:
    for step in (1, 4, 7):
        assert command.run(desk, *ADD.split(), dies_at=step).code == -signal.SIGKILL
        assert cases(command, desk) == []
    assert command.run(desk, *ADD.split()).code == 0
    assert len(cases(command, desk)) == 1


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
    for module in (audit, jobs, links, logins):
        monkeypatch.setattr(module, "now", lambda: moments.now() + shift)


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
            assert (login_of(session, login) is not None) == holds
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
