"""The audit log: a chain whose hashes are worked by hand, and every way to break it is found."""

import hashlib
import json

import pytest
from sqlalchemy import text
from sqlalchemy.exc import StatementError

from marrowscope.store.audit import FIRST, Event, append, count, export, verify
from marrowscope.store.database import Store

EVENTS = [Event("Ada", "decide", "abc", str(number), after={"label": "é"}) for number in range(5)]
GUARDS = {
    "sqlite": ("DROP TRIGGER never_update_audit", "DROP TRIGGER never_delete_audit"),
    "postgresql": (
        "DROP TRIGGER never_update_audit ON audit",
        "DROP TRIGGER never_delete_audit ON audit",
    ),
}


@pytest.fixture
def written(store: Store) -> Store:
    """A store with five lines, and without the guards that keep others from changing them."""
    with store.write() as session:
        append(session, *EVENTS[:2])
    with store.write() as session:
        append(session, *EVENTS[2:])
        for line in GUARDS[store.kind]:
            session.execute(text(line))
    return store


def test_a_whole_log_is_whole(written: Store) -> None:
    with written.read() as session:
        assert verify(session) is None
        assert (count(session), count(session, "abc"), count(session, "other")) == (5, 5, 0)


def test_hashes_are_those_worked_out_by_hand(written: Store) -> None:
    with written.read() as session:
        rows = list(map(json.loads, export(session)))
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5]
    first = rows[0]
    fields = [FIRST, 1, first["at"], "Ada", "decide", "abc", "0", "", '{"label": "é"}', ""]
    written_down = json.dumps(fields, ensure_ascii=False).encode()
    assert first["hash"] == hashlib.sha256(written_down).hexdigest()
    assert rows[1]["previous"] == first["hash"]


@pytest.mark.parametrize(
    ("line", "seq", "reason"),
    [
        ("UPDATE audit SET who = 'Ben' WHERE seq = 3", 3, "line 3 was changed after it was"),
        ("UPDATE audit SET at = '' WHERE seq = 1", 1, "line 1 was changed after it was"),
        ("DELETE FROM audit WHERE seq = 2", 2, "line 2 is missing: line 3 stands in its place"),
        ("DELETE FROM audit WHERE seq = 5", 5, "the log ends at line 4, and should end at line 5"),
        ("DELETE FROM audit", 1, "the log ends at line 0, and should end at line 5"),
        ("UPDATE audit SET seq = 6 - seq WHERE seq <> 3", 1, "line 1 does not follow"),
        ("DELETE FROM audit_head", 6, "the log ends at line 5, and should end at line unknown"),
        ("UPDATE audit SET hash = previous WHERE seq = 4", 4, "line 4 was changed after"),
    ],
)
def test_every_way_to_break_it_is_found(written: Store, line: str, seq: int, reason: str) -> None:
    with written.write() as session:
        if "6 - seq" in line:  # one row after the other, as numbers may not be there twice
            session.execute(text("UPDATE audit SET seq = seq + 10 WHERE seq <> 3"))
            line = "UPDATE audit SET seq = 16 - seq WHERE seq <> 3"
        session.execute(text(line))
    with written.read() as session:
        broken = verify(session)
    assert broken is not None
    assert (broken.seq, broken.reason[: len(reason)]) == (seq, reason)


def test_a_change_that_fails_leaves_no_line(store: Store) -> None:
    with pytest.raises(StatementError), store.write() as session:  # noqa: PT012 - two steps
        append(session, EVENTS[0])
        session.execute(text("no statement"))
    with store.read() as session:
        assert count(session) == 0
        assert verify(session) is None


def test_long_logs_are_read_in_pieces(store: Store) -> None:
    with store.write() as session:
        append(session, *[Event("Ada", "look", cell=str(number)) for number in range(1203)])
    with store.read() as session:
        assert verify(session) is None
        assert len(list(export(session))) == 1203
