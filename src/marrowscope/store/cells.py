"""The cells of a case: added as pictures, read by the model, listed for review."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy import case as when
from sqlalchemy.orm import Session, joinedload

from marrowscope.errors import NotThereError, StoreError
from marrowscope.model.bundle import Bundle
from marrowscope.store.audit import Event, append
from marrowscope.store.cases import Page, change
from marrowscope.store.enums import CellState, Role
from marrowscope.store.tables import Case, CaseCell, Slide, User
from marrowscope.store.users import check_role
from marrowscope.store.validation import needed
from marrowscope.types import Prediction, Reject

PAGE = 200
LONGEST = 255
"""Characters of a file's name."""
BATCH = 64


@dataclass(frozen=True)
class NewCell:
    """The picture of a cell that came in and can be decoded; its bytes are among the blobs."""

    file: str
    """Its name as it came."""
    sha256: str
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True)
class Added:
    """What became of pictures that were added."""

    new: int
    known: int
    """Pictures that the case had already; each counts once."""


class Order(StrEnum):
    """In which order cells are listed."""

    FIRST = "first"
    """As they came."""
    DOUBTFUL = "doubtful"
    """Those nobody decided on first; of them the strange ones, then by the smallest margin."""
    CLASS = "class"
    """By the class that counts, within one as `doubtful`."""


@dataclass(frozen=True)
class Wanted:
    """Which cells of a case to list; None for all."""

    label: str | None = None
    """Probability of the class that counts."""
    state: CellState | None = None
    slide: str | None = None
    decided: bool | None = None
    """By a person."""
    novel: bool | None = None


def slide_called(session: Session, case: Case, name: str) -> Slide:
    """Give the slide of a name, which is made if the case has none; the case must be locked.

    Raises:
        StoreError: the name is empty, longer than 64 characters or not one line.
    """
    called = needed("name of the slide", name, 64)
    query = select(Slide).where(Slide.case_id == case.id, Slide.name == called)
    slide = session.scalar(query)
    if slide is None:
        slide = Slide(case_id=case.id, name=called)
        session.add(slide)
        session.flush()
    return slide


def add_cells(
    session: Session, actor: User, case: Case, slide: str, cells: Sequence[NewCell]
) -> Added:
    """Add pictures to a slide of a case; one that the case has already is not added again.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        StoreError: a name is empty, not one line or too long (a slide's has 64 characters, a
            file's 255).
    """
    check_role(actor, Role.REVIEWER, "adding cells")
    change(session, case)
    place = slide_called(session, case, slide)
    had = {sha256 for (sha256,) in session.execute(_hashes(case))}
    fresh: dict[str, NewCell] = {}
    for cell in cells:
        if cell.sha256 not in had:
            fresh.setdefault(cell.sha256, cell)
    for cell in fresh.values():
        session.add(
            CaseCell(
                case_id=case.id,
                slide_id=place.id,
                file=needed("name of the file", cell.file, LONGEST),
                sha256=cell.sha256,
                width=cell.width,
                height=cell.height,
                state=CellState.WAITING,
                label="",
                machine="",
            )
        )
    added = Added(len(fresh), len(cells) - len(fresh))
    after = {"slide": place.name} | asdict(added)
    append(session, Event(actor.name, "cells add", case.public_id, after=after))
    return added


def _hashes(case: Case) -> Any:
    return select(CaseCell.sha256).where(CaseCell.case_id == case.id)


def waiting(session: Session, case: Case, limit: int = BATCH) -> Sequence[CaseCell]:
    """Give some cells that the model has not read yet, as they came."""
    query = select(CaseCell).where(CaseCell.case_id == case.id, CaseCell.state == CellState.WAITING)
    return session.scalars(query.order_by(CaseCell.id).limit(limit)).all()


def keep_readings(
    session: Session, case: Case, bundle: Bundle, outcomes: Mapping[int, Prediction | Reject]
) -> int:
    """Keep what the model made of cells, by their numbers; give how many were waiting for it.

    A cell that was read before, or that was deleted meanwhile, stays as it is.

    Raises:
        FrozenError: the case is signed or archived.
    """
    change(session, case)
    query = select(CaseCell).where(
        CaseCell.case_id == case.id,
        CaseCell.id.in_(outcomes),
        CaseCell.state == CellState.WAITING,
    )
    cells = session.scalars(query).all()
    for cell in cells:
        outcome = outcomes[cell.id]
        if isinstance(outcome, Reject):
            cell.state, cell.reason = CellState.REJECTED, outcome.reason
        else:
            _keep(cell, outcome, bundle)
    session.flush()
    return len(cells)


def _keep(cell: CaseCell, prediction: Prediction, bundle: Bundle) -> None:
    first, second = sorted((*prediction.probabilities, 0.0), reverse=True)[:2]
    cell.state = CellState.READ
    cell.machine, cell.probability = prediction.label, prediction.probability
    cell.probabilities = list(prediction.probabilities)
    cell.margin = first - second
    cell.set = None if prediction.set is None else list(prediction.set)
    cell.novelty = None if math.isnan(prediction.novelty) else prediction.novelty
    cell.novel = bundle.novelty is not None and bundle.novelty.is_novel(prediction.novelty)


def machine_prediction(cell: CaseCell, path: str) -> Prediction:
    """Give what the model read, under a path.

    Raises:
        StoreError: it was not read.
    """
    if cell.state is not CellState.READ:
        raise StoreError(f"cell {cell.id} is {cell.state}; only a cell that was read is counted")
    return Prediction(
        path,
        cell.machine,
        cell.probability,
        tuple(cell.probabilities),
        None if cell.set is None else tuple(cell.set),
        math.nan if cell.novelty is None else cell.novelty,
    )


def counted_prediction(cell: CaseCell) -> Prediction:
    """Give a cell with the class that counts; its path is its number.

    Raises:
        StoreError: it was not read.
    """
    machine = machine_prediction(cell, str(cell.id))
    if not cell.label:
        return machine
    return replace(machine, label=cell.label, reviewer=str(cell.decided_by))


def find_cell(session: Session, case: Case, number: int) -> CaseCell:
    """Give a cell of a case by its number.

    Raises:
        NotThereError: the case has no such cell.
    """
    cell = session.get(CaseCell, number)
    if cell is None or cell.case_id != case.id:
        raise NotThereError(f"the case {case.title} has no cell {number}")
    return cell


def list_cells(
    session: Session,
    case: Case,
    wishes: Wanted | None = None,
    order: Order = Order.FIRST,
    *,
    offset: int = 0,
    limit: int = PAGE,
) -> Page[CaseCell]:
    """List the cells of a case that are wanted, and count them all."""
    query = select(CaseCell).where(CaseCell.case_id == case.id, *_filters(wishes or Wanted()))
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    rows = query.order_by(*ORDERS[order], CaseCell.id).offset(offset).limit(limit)
    return Page(session.scalars(rows.options(joinedload(CaseCell.slide))).all(), total)


def _filters(wishes: Wanted) -> Iterable[Any]:
    if wishes.label is not None:
        yield wishes.label == COUNTS_AS
    if wishes.state is not None:
        yield CaseCell.state == wishes.state
    if wishes.slide is not None:
        yield CaseCell.slide_id.in_(select(Slide.id).where(Slide.name == wishes.slide))
    if wishes.decided is not None:
        yield (CaseCell.label != "") if wishes.decided else (CaseCell.label == "")
    if wishes.novel is not None:
        yield CaseCell.novel.is_(wishes.novel)


COUNTS_AS: ColumnElement[str] = when((CaseCell.label != "", CaseCell.label), else_=CaseCell.machine)
"""The class code that counts: a person's, else the model's."""
_DOUBT = ((CaseCell.label != ""), CaseCell.novel.desc(), CaseCell.margin)
ORDERS: Mapping[Order, tuple[Any, ...]] = {
    Order.FIRST: (),
    Order.DOUBTFUL: _DOUBT,
    Order.CLASS: (COUNTS_AS, *_DOUBT),
}


@dataclass(frozen=True)
class Progress:
    """How many cells of a case are in which state."""

    waiting: int
    read: int
    rejected: int
    decided: int
    """Cells that were read and that a person decided on."""

    @property
    def total(self) -> int:
        """All cells."""
        return self.waiting + self.read + self.rejected


def case_progress(session: Session, case: Case) -> Progress:
    """Count the cells of a case by their state."""
    by_state = select(
        CaseCell.state, func.count(), func.sum(when((CaseCell.label != "", 1), else_=0))
    )
    rows = session.execute(by_state.where(CaseCell.case_id == case.id).group_by(CaseCell.state))
    counts = {state: (cells, int(decided or 0)) for state, cells, decided in rows}
    count = {state: counts.get(state, (0, 0)) for state in CellState}
    return Progress(
        count[CellState.WAITING][0],
        count[CellState.READ][0],
        count[CellState.REJECTED][0],
        count[CellState.READ][1],
    )


def progress_by_case(session: Session, cases: Sequence[Case]) -> dict[int, Progress]:
    """Count the cells of several cases by their state, in one query; by the cases' `id`."""
    decided = func.sum(when((CaseCell.label != "", 1), else_=0))
    query = select(CaseCell.case_id, CaseCell.state, func.count(), decided)
    query = query.where(CaseCell.case_id.in_([case.id for case in cases]))
    rows = session.execute(query.group_by(CaseCell.case_id, CaseCell.state))
    counts = {(row[0], row[1]): (row[2], int(row[3] or 0)) for row in rows}
    return {case.id: _progress(counts, case.id) for case in cases}


def _progress(counts: Mapping[tuple[int, CellState], tuple[int, int]], number: int) -> Progress:
    waiting, read, rejected = (counts.get((number, state), (0, 0)) for state in CellState)
    return Progress(waiting[0], read[0], rejected[0], read[1])
