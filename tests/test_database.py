"""The database: made and brought up to date on real engines, by several at once, in words."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from conftest import PATIENCE_S
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from marrowscope.errors import StoreError
from marrowscope.store.audit import Event, append
from marrowscope.store.database import Store, open_store
from marrowscope.store.tables import Base, Token

OPEN = "import sys; from marrowscope.store.database import open_store; open_store(sys.argv[1])"


def test_the_steps_make_the_tables_that_the_code_knows(store: Store) -> None:
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_a_store_is_opened_again_without_a_change(database: str, store: Store) -> None:
    with store.write() as session:
        session.execute(text("UPDATE audit_head SET seq = 7"))
    with closing(open_store(database)) as again, again.read() as session:
        assert session.scalar(text("SELECT seq FROM audit_head")) == 7


def test_several_processes_may_open_a_new_database_at_once(database: str) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", OPEN, database], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    errors = [each.communicate(timeout=PATIENCE_S)[1].decode() for each in started]
    assert errors == ["", "", ""]


def test_what_is_only_added_to_is_guarded_by_the_database(store: Store) -> None:
    with store.write() as session:
        append(session, Event("Ada", "look"))
    for line in ("UPDATE audit SET who = 'other'", "DELETE FROM audit"):
        with (
            pytest.raises(DBAPIError, match="rows of audit are only added"),
            store.write() as session,
        ):
            session.execute(text(line))


def test_an_error_takes_a_whole_transaction_back(store: Store) -> None:
    with pytest.raises(DBAPIError), store.write() as session:  # noqa: PT012 - two steps
        session.execute(text("UPDATE audit_head SET seq = 7"))
        session.execute(text("no statement"))
    with store.read() as session:
        assert session.scalar(text("SELECT seq FROM audit_head")) == 0


def test_rows_need_the_rows_they_point_to(store: Store) -> None:
    with pytest.raises(DBAPIError), store.write() as session:
        session.execute(
            text(
                "INSERT INTO tokens (id, secret_hash, user_id, name, created_at) "
                "VALUES (1, 'a', 99, 'b', '2026-03-02')"
            )
        )
    with store.read() as session:
        assert session.scalars(select(Token)).all() == []


def test_a_newer_database_is_refused(database: str, store: Store) -> None:
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"was made by a newer marrowscope .step 9999; this one"):
        open_store(database)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("room", "the address of the database is no URL"),
        ("mysql://me:secret@host/room", "mysql://me:[*]{3}@host/room: no database that can be"),
        ("sqlite://", "no database that can be used"),
        ("postgresql://me:secret@127.0.0.1:1/room", "cannot be used [(]connection failed"),
    ],
)
def test_an_address_that_is_none_is_named_without_its_password(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as raised:
        open_store(url)
    assert "secret" not in str(raised.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "room.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"cannot be used [(]file is not a database"):
        open_store(f"sqlite:///{tmp_path / 'room.db'}")
