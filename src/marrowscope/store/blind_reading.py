"""Blind double reading: readers decide without seeing each other, then their agreement is shown."""

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from marrowscope.cases.agreement import Agreement, agree
from marrowscope.cases.label_sets import Opinion
from marrowscope.errors import ConflictError, DeniedError
from marrowscope.store.audit import Event, append
from marrowscope.store.cases import change, lock
from marrowscope.store.enums import CellState
from marrowscope.store.tables import BlindReading, Case, CaseCell, CellDecision, User
from marrowscope.store.timestamps import now

UNREAD = "not decided on"


def open_reading(session: Session, actor: User, case: Case) -> BlindReading:
    """Begin to read a case blind; again, to go on with one that is open.

    Every user who may see the case can, whatever the role. From then on decisions of this user
    go to this reading, until it is closed.

    Raises:
        FrozenError: the case is signed or archived.
        ConflictError: the user has closed a reading of this case: then it would not be blind.
    """
    change(session, case)
    reading = find_reading(session, case, actor)
    if reading is None:
        reading = BlindReading(case_id=case.id, user_id=actor.id, opened_at=now())
        session.add(reading)
        append(session, Event(actor.name, "reading open", case.public_id))
    if reading.closed_at is not None:
        raise ConflictError(f"{actor.name} has closed a blind reading of the case {case.title}")
    return reading


def close_reading(session: Session, actor: User, case: Case) -> BlindReading:
    """End a blind reading; from then on its reader may see the others'.

    Raises:
        ConflictError: the user reads nothing blind here.
    """
    lock(session, case)
    reading = find_open_reading(session, case, actor)
    if reading is None:
        raise ConflictError(f"{actor.name} has no open blind reading of the case {case.title}")
    reading.closed_at = now()
    cells = {"cells": len(labels_in(session, reading))}
    append(session, Event(actor.name, "reading close", case.public_id, after=cells))
    return reading


def find_reading(session: Session, case: Case, actor: User) -> BlindReading | None:
    """Give a user's blind reading of a case, open or closed; None if there is none."""
    query = select(BlindReading).where(
        BlindReading.case_id == case.id, BlindReading.user_id == actor.id
    )
    return session.scalar(query)


def find_open_reading(session: Session, case: Case, actor: User) -> BlindReading | None:
    """Give a user's open blind reading of a case; None if there is none."""
    reading = find_reading(session, case, actor)
    return reading if reading and reading.closed_at is None else None


def list_readings(session: Session, case: Case) -> Sequence[BlindReading]:
    """Give all blind readings of a case, as they were opened."""
    query = select(BlindReading).where(BlindReading.case_id == case.id)
    return session.scalars(query.order_by(BlindReading.id)).all()


def labels_in(session: Session, reading: BlindReading) -> dict[int, str]:
    """Give the classes of a blind reading by the numbers of the cells, without undecided ones."""
    query = select(CellDecision.cell_id, CellDecision.after).where(
        CellDecision.reading_id == reading.id
    )
    last = {row[0]: row[1] for row in session.execute(query.order_by(CellDecision.id))}
    return {cell: label for cell, label in last.items() if label}


def compare_readings(
    session: Session, actor: User, case: Case, first: User, second: User
) -> Agreement:
    """Compare the closed blind readings of two users.

    Raises:
        DeniedError: who asks reads the case blind just now.
        ConflictError: one of the two has not closed a reading of it.
        ComparisonError: a reading has no decisions.
    """
    if find_open_reading(session, case, actor):
        raise DeniedError(
            f"{actor.name} reads the case {case.title} blind; close that reading to see others"
        )
    return agree(_opinion(session, case, first), _opinion(session, case, second))


def _opinion(session: Session, case: Case, reader: User) -> Opinion:
    reading = find_reading(session, case, reader)
    if reading is None or reading.closed_at is None:
        raise ConflictError(
            f"{reader.name} has not closed a blind reading of the case {case.title}"
        )
    labels = {str(cell): label for cell, label in labels_in(session, reading).items()}
    query = select(CaseCell.id).where(CaseCell.case_id == case.id, CaseCell.state == CellState.READ)
    undecided = len(session.scalars(query).all()) - len(labels)
    without = {UNREAD: undecided} if undecided else {}
    return Opinion(reader.name, Path(reader.name), labels, Path(), without, case=case.title)
