"""The states and roles that the store knows, by the words it keeps for them."""

from enum import StrEnum

from marrowscope.errors import StoreError


class Role(StrEnum):
    """What a user may do; each may do what those before it may."""

    READER = "reader"
    """Sees the cases that are shared with it, and reads them blind."""
    REVIEWER = "reviewer"
    """Makes cases, decides on cells, signs."""
    ADMIN = "admin"
    """Sees all cases and the audit log; makes users."""


class CaseState(StrEnum):
    """How far a case has come."""

    DRAFT = "draft"
    REVIEWED = "reviewed"
    SIGNED = "signed"
    """Frozen: nothing of it changes before it is reopened."""


class CellState(StrEnum):
    """Whether the model has read a cell, and whether it is one."""

    WAITING = "waiting"
    READ = "read"
    REJECTED = "rejected"
    """It cannot be read, or a person said that it is no cell; the reason stands beside."""


class FieldState(StrEnum):
    """Whether the cells of a whole field were found."""

    WAITING = "waiting"
    FOUND = "found"
    FLAGGED = "flagged"
    """Outside the plain range: its cells are not read before a person says so."""
    REJECTED = "rejected"
    """It cannot be used; the reason stands beside."""


class Origin(StrEnum):
    """How a cell on a field came to be one."""

    FOUND = "found"
    DRAWN = "drawn"
    """By a person, around one that was missed."""


class JobState(StrEnum):
    """What became of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


ROLES = tuple(Role)


def at_least(role: Role, needed_role: Role) -> bool:
    """Tell whether a role may do what another may: a reviewer, all that a reader may."""
    return ROLES.index(role) >= ROLES.index(needed_role)


def role_called(word: str) -> Role:
    """Give the role of a word.

    Raises:
        StoreError: there is none.
    """
    if word not in ROLES:
        raise StoreError(f"there is no role {word!r}; roles are {', '.join(ROLES)}")
    return Role(word)
