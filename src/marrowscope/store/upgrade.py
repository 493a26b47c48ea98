"""Bring the tables of a database up to date, from whatever released version made them."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from marrowscope.errors import StoreError

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
        known = {revision.revision for revision in script.walk_revisions()}
        if stands is not None and stands not in known:
            raise StoreError(
                f"it was made by a newer marrowscope (step {stands}; this one knows steps up to "
                f"{script.get_current_head()}); update marrowscope"
            )
        if stands != script.get_current_head():
            command.upgrade(config, "head")
