"""The tables of the store; `migrations/` makes them, and a test compares the two."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from marrowscope.store.enums import CaseState, CellState, FieldState, JobState, Origin, Role
from marrowscope.store.timestamps import Moment

HASH = String(64)
"""SHA-256 in hexadecimal."""


def enum_column(kind: type[StrEnum], name: str) -> Enum:
    """Give the type of a column for one of a few words, checked by the database."""
    return Enum(
        kind,
        name=name,
        native_enum=False,
        length=16,
        create_constraint=True,
        values_callable=lambda words: [word.value for word in words],
    )


class Base(DeclarativeBase):
    """Base of all tables: names of constraints that both engines know, and types of columns."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text,
        datetime: Moment,
        dict[str, Any]: JSON,
        list[float]: JSON,
        list[str]: JSON,
    }


class User(Base):
    """A person with a local account."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    folded: Mapped[str] = mapped_column(unique=True)
    """The name in small letters: `Ada` and `ada` cannot both be there."""
    role: Mapped[Role] = mapped_column(enum_column(Role, "role"))
    password_hash: Mapped[str]
    """By argon2; empty while no password was set."""
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]


class Login(Base):
    """A browser that a user has logged in with."""

    __tablename__ = "logins"

    id: Mapped[int] = mapped_column(primary_key=True)
    secret_hash: Mapped[str] = mapped_column(HASH, unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    csrf: Mapped[str]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    user: Mapped[User] = relationship()


class Token(Base):
    """A user's key for programs."""

    __tablename__ = "tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    secret_hash: Mapped[str] = mapped_column(HASH, unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str]
    created_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class Link(Base):
    """A link that can be used once, to set a password: the first administrator's, or a new one."""

    __tablename__ = "links"

    id: Mapped[int] = mapped_column(primary_key=True)
    secret_hash: Mapped[str] = mapped_column(HASH, unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    """None for the link that makes the first administrator."""
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class Case(Base):
    """One patient's sample, and how far its review has come."""

    __tablename__ = "cases"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(16), unique=True)
    """Random; stands in addresses."""
    title: Mapped[str]
    """What the laboratory calls it."""
    date: Mapped[str] = mapped_column(default="")
    """Date of the sample, such as 2026-03-02."""
    material: Mapped[str] = mapped_column(default="")
    stain: Mapped[str] = mapped_column(default="")
    um_per_px: Mapped[float | None]
    """Side of a pixel on the slide, in micrometres; None where it is not known."""
    state: Mapped[CaseState] = mapped_column(
        enum_column(CaseState, "state"), default=CaseState.DRAFT
    )
    owner_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    version: Mapped[int] = mapped_column(default=1)
    """Grows with every change; who signs says which one was seen."""
    bundle: Mapped[str] = mapped_column(default="")
    """Name of the bundle that read it; empty before."""
    bundle_sha256: Mapped[str] = mapped_column(default="", server_default="")
    """Digest of that whole bundle; empty before, and where it was read before this was kept."""
    model_sha256: Mapped[str] = mapped_column(default="")
    """Hash of the weights alone."""
    classes: Mapped[list[str]] = mapped_column(default=list)
    """Codes in the order of the cells' probabilities."""
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]
    archived_at: Mapped[datetime | None]
    reviewed_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    reviewed_at: Mapped[datetime | None]
    signed_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    signed_at: Mapped[datetime | None]
    seal: Mapped[str] = mapped_column(default="")
    """SHA-256 of all that was signed; empty before."""
    owner: Mapped[User] = relationship(foreign_keys=owner_id)
    reviewer: Mapped[User | None] = relationship(foreign_keys=reviewed_by)
    signer: Mapped[User | None] = relationship(foreign_keys=signed_by)


class Member(Base):
    """A user, besides the owner and administrators, who may see a case."""

    __tablename__ = "members"

    case_id: Mapped[int] = mapped_column(
        ForeignKey("cases.id", ondelete="CASCADE"), primary_key=True
    )
    user_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class Slide(Base):
    """A slide of a case."""

    __tablename__ = "slides"
    __table_args__ = (UniqueConstraint("case_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    name: Mapped[str]


class CaseCell(Base):
    """One cell of a case: its picture, what the model read, and what people made of it."""

    __tablename__ = "cells"
    __table_args__ = (
        UniqueConstraint("case_id", "sha256"),
        Index("ix_cells_case_id_state", "case_id", "state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    slide_id: Mapped[int] = mapped_column(ForeignKey("slides.id", ondelete="CASCADE"), index=True)
    file: Mapped[str]
    """Name of the picture as it came."""
    sha256: Mapped[str] = mapped_column(HASH, index=True)
    """Hash of the picture's bytes: its name among the blobs."""
    width: Mapped[int]
    """Pixels."""
    height: Mapped[int]
    """Pixels."""
    state: Mapped[CellState] = mapped_column(
        enum_column(CellState, "state"), default=CellState.WAITING
    )
    machine: Mapped[str] = mapped_column(default="")
    """Class code by the model; empty before it was read."""
    probability: Mapped[float] = mapped_column(default=0.0)
    """Probability of that class, 0..1."""
    probabilities: Mapped[list[float]] = mapped_column(default=list)
    """Probabilities of all classes, in the order of the case's."""
    margin: Mapped[float] = mapped_column(default=1.0)
    """The highest probability less the second, 0..1: small where the model doubts."""
    set: Mapped[list[str] | None]
    """Codes that the cell may be of; None where no sets were asked for."""
    novelty: Mapped[float | None]
    """How unlike the known cells it is; None where the bundle cannot tell."""
    novel: Mapped[bool] = mapped_column(default=False)
    """Whether that is above the bundle's threshold."""
    reason: Mapped[str] = mapped_column(default="")
    """Why it was rejected; empty unless it was."""
    label: Mapped[str] = mapped_column(default="")
    """Class code by a person; empty where the model's counts."""
    decided_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    decided_at: Mapped[datetime | None]
    slide: Mapped[Slide] = relationship()

    @property
    def counts_as(self) -> str:
        """The class code that counts: a person's, else the model's; empty before both."""
        return self.label or self.machine


class Field(Base):
    """A whole field of a case, on which cells are found."""

    __tablename__ = "fields"
    __table_args__ = (UniqueConstraint("case_id", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    slide_id: Mapped[int] = mapped_column(ForeignKey("slides.id", ondelete="CASCADE"), index=True)
    file: Mapped[str]
    """Name of the picture as it came."""
    sha256: Mapped[str] = mapped_column(HASH, index=True)
    width: Mapped[int]
    """Pixels."""
    height: Mapped[int]
    """Pixels."""
    um_per_px: Mapped[float | None]
    """Side of a pixel on the slide, in micrometres; None where it is not known."""
    scale: Mapped[str] = mapped_column(default="")
    """What it rests on: given, file, red cells, other fields, unknown; empty before a look."""
    flags: Mapped[list[str]] = mapped_column(default=list)
    """Why it is outside the plain range."""
    state: Mapped[FieldState] = mapped_column(enum_column(FieldState, "state"))
    reason: Mapped[str] = mapped_column(default="")
    keep_flagged: Mapped[bool] = mapped_column(default=False)
    """Whether a person wants its cells read though it is flagged."""
    slide: Mapped[Slide] = relationship()


class CellPlace(Base):
    """Where on a field a cell lies; pixels of the field, x1 and y1 just outside."""

    __tablename__ = "places"
    __table_args__ = (UniqueConstraint("field_id", "x0", "y0", "x1", "y1"),)

    cell_id: Mapped[int] = mapped_column(
        ForeignKey("cells.id", ondelete="CASCADE"), primary_key=True
    )
    field_id: Mapped[int] = mapped_column(ForeignKey("fields.id", ondelete="CASCADE"))
    x0: Mapped[int]
    y0: Mapped[int]
    x1: Mapped[int]
    y1: Mapped[int]
    origin: Mapped[Origin] = mapped_column(enum_column(Origin, "origin"))
    removed_by: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    """Who said that it is no cell; None for one that stands."""
    removed_at: Mapped[datetime | None]
    cell: Mapped[CaseCell] = relationship()


class BlindReading(Base):
    """What one reader makes of a case without seeing what others did."""

    __tablename__ = "readings"
    __table_args__ = (UniqueConstraint("case_id", "user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class CellDecision(Base):
    """That a person gave a cell a class; rows are added, never changed."""

    __tablename__ = "decisions"
    __table_args__ = (
        UniqueConstraint("case_id", "request", "cell_id"),
        Index("ix_decisions_cell_id_id", "cell_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id", ondelete="CASCADE"))
    cell_id: Mapped[int] = mapped_column(ForeignKey("cells.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    reading_id: Mapped[int | None] = mapped_column(
        ForeignKey("readings.id", ondelete="CASCADE"), index=True
    )
    """The blind reading that it belongs to; None for the case's own."""
    request: Mapped[str] = mapped_column(String(64))
    """What was decided at once has one; the same request is not done twice."""
    before: Mapped[str]
    """Class code by a person; empty for the model's."""
    after: Mapped[str]
    """As `before`."""
    at: Mapped[datetime]
    model_sha256: Mapped[str]
    undoes: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"), unique=True)
    """The decision that this one takes back."""
    user: Mapped[User] = relationship()


class Job(Base):
    """Work that goes on behind the pages, and survives a restart."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state_lease_until", "state", "lease_until"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    case_id: Mapped[int | None] = mapped_column(
        ForeignKey("cases.id", ondelete="CASCADE"), index=True
    )
    settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What its kind needs to know."""
    state: Mapped[JobState] = mapped_column(enum_column(JobState, "state"), default=JobState.QUEUED)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str] = mapped_column(default="")
    """The worker that has it; empty for none."""
    lease_until: Mapped[datetime | None]
    """When another worker may take it, if this one is not heard of before."""
    error: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class Upload(Base):
    """What was answered to an upload, so that the same one can be sent again."""

    __tablename__ = "uploads"
    __table_args__ = (UniqueConstraint("user_id", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    key: Mapped[str]
    """As the sender chose it."""
    fingerprint: Mapped[str] = mapped_column(HASH)
    """Hash of what was sent."""
    answer: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(index=True)


class AuditEntry(Base):
    """One line of the audit log; all of it is text, so that its hash is the same everywhere."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """1, 2, 3 and so on, without gaps."""
    at: Mapped[str]
    who: Mapped[str]
    action: Mapped[str]
    case: Mapped[str] = mapped_column(index=True)
    """Public id; empty for none."""
    cell: Mapped[str]
    """Its number; empty for none."""
    before: Mapped[str]
    """JSON; empty for nothing."""
    after: Mapped[str]
    model_sha256: Mapped[str]
    previous: Mapped[str] = mapped_column(HASH)
    hash: Mapped[str] = mapped_column(HASH)


class AuditHead(Base):
    """The last line of the audit log: who appends locks it, and a log cut short is seen by it."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int]
    hash: Mapped[str] = mapped_column(HASH)
