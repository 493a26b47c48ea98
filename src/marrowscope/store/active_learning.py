"""The queue: which cells that nobody looked at would teach the model most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select, true
from sqlalchemy import case as when
from sqlalchemy.orm import Session

from marrowscope.store.cases import is_visible_to
from marrowscope.store.enums import CaseState, CellState
from marrowscope.store.tables import BlindReading, Case, CaseCell, Slide, User

SHOWN = 50


@dataclass(frozen=True)
class Worth:
    """A cell to look at, and why."""

    case: str
    """Public id."""
    title: str
    """Title of the case."""
    cell: int
    slide: str
    file: str
    label: str
    """Class code by the model."""
    margin: float
    """The highest probability less the second, 0..1."""
    novel: bool
    """Unlike the cells that the model knows."""
    worth: float
    """1 - margin, and 1 more for a novel cell: 0..2."""


def most_worth(session: Session, limit: int = SHOWN, actor: User | None = None) -> Sequence[Worth]:
    """Give the cells to look at first, spread over cases; of a user's alone, if one is named.

    First comes the best cell of each case, then the second of each, and so on; within a case and
    within such a round, the cell that is worth most. A cell with 0.40 and 0.35 as its highest
    probabilities is worth 1 - 0.05 = 0.95; if it is unlike the known cells, 1.95. Cells of signed
    and archived cases are left out, as nobody can decide on them, and those that the user reads
    blind, as the queue tells which cells others decided on.
    """
    worth = _worth()
    place = func.row_number().over(
        partition_by=CaseCell.case_id, order_by=(worth.desc(), CaseCell.id)
    )
    columns = (
        Case.public_id,
        Case.title,
        CaseCell.id,
        Slide.name,
        CaseCell.file,
        CaseCell.machine,
        CaseCell.margin,
        CaseCell.novel,
        worth,
    )
    query = (
        select(*columns)
        .join(Case, Case.id == CaseCell.case_id)
        .join(Slide, Slide.id == CaseCell.slide_id)
        .where(*_open(actor))
        .order_by(place, worth.desc(), CaseCell.id)
        .limit(limit)
    )
    return [Worth(*row) for row in session.execute(query)]


def waiting_for_a_look(session: Session, actor: User | None = None) -> int:
    """Count the cells that `most_worth` chooses from: nobody decided on them, and somebody can."""
    query = select(func.count()).select_from(CaseCell).join(Case, Case.id == CaseCell.case_id)
    return session.scalar(query.where(*_open(actor))) or 0


def _worth() -> ColumnElement[float]:
    return 1 - CaseCell.margin + when((CaseCell.novel, 1.0), else_=0.0)


def _open(actor: User | None) -> tuple[Any, ...]:
    return (
        true() if actor is None else is_visible_to(actor) & ~_reads_blind(actor),
        CaseCell.state == CellState.READ,
        CaseCell.label == "",
        Case.state != CaseState.SIGNED,
        Case.archived_at.is_(None),
    )


def _reads_blind(actor: User) -> ColumnElement[bool]:
    query = select(BlindReading.id).where(
        BlindReading.case_id == Case.id,
        BlindReading.user_id == actor.id,
        BlindReading.closed_at.is_(None),
    )
    return query.exists()
