"""Whole fields, and where on them cells lie."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables `fields` and `places`."""
    _make_fields()
    _make_places()


def _make_fields() -> None:
    op.create_table(
        "fields",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("case_id", sa.Integer(), nullable=False),
        sa.Column("slide_id", sa.Integer(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("um_per_px", sa.Double(), nullable=True),
        sa.Column("scale", sa.Text(), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column(
            "state",
            _words("state", "waiting", "found", "flagged", "rejected"),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("keep_flagged", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_fields_case_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["slide_id"], ["slides.id"], name=op.f("fk_fields_slide_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fields")),
        sa.UniqueConstraint("case_id", "sha256", name=op.f("uq_fields_case_id_sha256")),
    )
    op.create_index(op.f("ix_fields_sha256"), "fields", ["sha256"], unique=False)
    op.create_index(op.f("ix_fields_slide_id"), "fields", ["slide_id"], unique=False)


def _make_places() -> None:
    op.create_table(
        "places",
        sa.Column("cell_id", sa.Integer(), nullable=False),
        sa.Column("field_id", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("x0", "y0", "x1", "y1")),
        sa.Column("origin", _words("origin", "found", "drawn"), nullable=False),
        sa.Column("removed_by", sa.Integer(), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["cell_id"], ["cells.id"], name=op.f("fk_places_cell_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["field_id"], ["fields.id"], name=op.f("fk_places_field_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["removed_by"], ["users.id"], name=op.f("fk_places_removed_by")),
        sa.PrimaryKeyConstraint("cell_id", name=op.f("pk_places")),
        sa.UniqueConstraint(
            *("field_id", "x0", "y0", "x1", "y1"), name=op.f("uq_places_field_id_x0_y0_x1_y1")
        ),
    )


def _words(name: str, *words: str) -> sa.Enum:
    return sa.Enum(*words, name=name, native_enum=False, length=16, create_constraint=True)
