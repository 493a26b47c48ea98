"""Which whole bundle read a case; empty for cases that were read before."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give cases the digest of their bundle."""
    op.add_column("cases", sa.Column("bundle_sha256", sa.Text(), nullable=False, server_default=""))
