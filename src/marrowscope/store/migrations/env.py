"""Run the steps on the connection that `upgrade` has opened; Alembic calls this file."""

from alembic import context

from marrowscope.store.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
