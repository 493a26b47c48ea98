"""The database behind the store: SQLite by default, PostgreSQL by URL, brought up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from marrowscope.errors import MissingExtraError, StoreError

PLACE = "marrowscope.store:migrations"
ONE_AT_A_TIME = 5_201_314_071
"""Key of the lock that who upgrades a PostgreSQL database holds."""


def config_for(connection: Connection) -> Config:
    """Make the settings of Alembic for an open connection."""
    config = Config()
    config.set_main_option("script_location", PLACE)
    config.attributes["connection"] = connection
    return config


def upgrade(engine: Engine) -> None:
    """Run the migrations that a database lacks, all in one transaction; several may try at once.

    Raises:
        StoreError: the database was made by a newer marrowscope.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({ONE_AT_A_TIME})"))
        config = config_for(connection)
        script = ScriptDirectory.from_config(config)
        stands = MigrationContext.configure(connection).get_current_revision()
        revisions = {revision.revision for revision in script.walk_revisions()}
        if stands is not None and stands not in revisions:
            raise StoreError(
                f"it was made by a newer marrowscope (step {stands}; this one knows steps up to "
                f"{script.get_current_head()}); update marrowscope"
            )
        if stands != script.get_current_head():
            command.upgrade(config, "head")


DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
"""Drivers of the supported engines, by the name in a URL."""
WRITES = "marrowscope_writes"
CONNECTIONS = 40
"""To an SQLite file that are kept open: as many as a server answers requests side by side."""
PATIENCE = 30
"""Seconds that a writer waits for another one on SQLite."""
PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {PATIENCE * 1000}",
)


class Store:
    """An open database: `write()` and `read()` give sessions, each one transaction."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._writing = engine.execution_options(**{WRITES: True})

    @property
    def kind(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.engine.dialect.name

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session that is committed at the end, and rolled back by any error.

        On SQLite it holds the only right to write from its begin on.
        """
        with Session(self._writing, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session for looking; nothing done in it is kept."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_store(url: str) -> Store:
    """Open a database by its URL and bring its tables up to date.

    `sqlite:///room.db` is a file in this folder, `sqlite:////srv/room.db` one by its whole path,
    `postgresql://user:secret@host/name` a database that is there.

    Raises:
        StoreError: the URL is none of these, the database cannot be reached, or a newer
            marrowscope has made it.
        MissingExtraError: it is PostgreSQL, and its driver is not installed.
    """
    parsed = _url(url)
    engine = _engine(parsed)
    try:
        upgrade(engine.execution_options(**{WRITES: True}))
    except DBAPIError as error:
        engine.dispose()
        raise StoreError(f"{_shown(parsed)}: cannot be used ({_reason(error)})") from None
    except StoreError as error:
        engine.dispose()
        raise StoreError(f"{_shown(parsed)}: {error}") from None
    return Store(engine)


@contextmanager
def failures_in_words() -> Iterator[None]:
    """Turn what a database raises when its disk is full or locked into an error of ours.

    Raises:
        StoreError: the database cannot be used; what the transaction did is undone.
    """
    try:
        yield
    except OperationalError as error:
        raise StoreError(
            f"the database cannot be used ({_reason(error)}); what was begun is undone"
        ) from None


def _url(text: str) -> URL:
    try:
        url = make_url(text)
    except ArgumentError:
        raise StoreError(
            "the address of the database is no URL; give one such as "
            "sqlite:///room.db or postgresql://user@host/name"
        ) from None
    kind = url.get_backend_name()
    if kind not in DRIVERS or (kind == "sqlite" and url.database in {None, "", ":memory:"}):
        raise StoreError(
            f"{_shown(url)}: no database that can be used; give a file such as "
            "sqlite:///room.db, or postgresql://user@host/name"
        )
    return url.set(drivername=DRIVERS[kind])


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        if find_spec("psycopg") is None:
            raise MissingExtraError(
                "PostgreSQL needs psycopg; install it with: pip install 'marrowscope[postgres]'"
            )
        return create_engine(url, pool_pre_ping=True)
    options = {"timeout": PATIENCE, "check_same_thread": False}
    engine = create_engine(url, connect_args=options, pool_size=CONNECTIONS)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, record: object) -> None:  # noqa: ARG001 - as SQLAlchemy calls it
    """Leave transactions to `_begin`: Python's module would begin them too late to be safe."""
    connection.isolation_level = None
    for line in PRAGMAS:
        connection.execute(line)


def _begin(connection: Connection) -> None:
    """Begin a transaction; one that writes waits for its turn now, so that it cannot fail later."""
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _reason(error: DBAPIError) -> str:
    return str(error.orig).strip().split("\n", maxsplit=1)[0]
