"""Decisions: a person gives cells a class, or takes that back; each is kept for good."""

import secrets
from collections.abc import Iterator, Sequence

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from marrowscope.errors import ConflictError, NotThereError, StoreError
from marrowscope.store.audit import Event, append
from marrowscope.store.blind_reading import find_open_reading, labels_in
from marrowscope.store.cases import change
from marrowscope.store.enums import CellState, Role
from marrowscope.store.tables import BlindReading, Case, CaseCell, CellDecision, User
from marrowscope.store.timestamps import now
from marrowscope.store.users import check_role
from marrowscope.taxonomy import cell_class

AT_ONCE = 5000
"""Cells that can be decided on at once."""
REUSED = "the request {!r} was used for another decision; choose a new name"


def decide(
    session: Session,
    actor: User,
    case: Case,
    cells: Sequence[int],
    label: str,
    *,
    request: str = "",
) -> Sequence[CellDecision]:
    """Give cells of a case a class, all of them or none; give what was decided.

    The same `request` (1 to 64 characters, chosen by the caller; empty for a new one) is not done
    twice: the decisions of the first time come back. While the user reads the case blind, decisions
    go to that reading.

    Raises:
        DeniedError: the user is a reader and reads nothing blind here.
        FrozenError: the case is signed or archived.
        NotThereError: a cell is not of the case.
        ConflictError: a cell was not read yet, or the request was one for something else.
        UnknownClassError: there is no such class.
        StoreError: no cells or more than 5,000, or the request is too long or not one line.
    """
    code = cell_class(label).code
    named = _checked_request(request)
    numbers = _checked_numbers(cells)
    change(session, case)
    reading = find_open_reading(session, case, actor)
    if reading is None:
        check_role(actor, Role.REVIEWER, "deciding on cells")
    if earlier := _of_request(session, case, named):
        _check_same(earlier, actor, numbers, code)
        return earlier
    decisions = [
        CellDecision(
            case_id=case.id,
            cell_id=cell.id,
            user_id=actor.id,
            reading_id=reading and reading.id,
            request=named,
            before=before,
            after=code,
            at=now(),
            model_sha256=case.model_sha256,
        )
        for cell, before in _with_labels(session, _cells(session, case, numbers), reading)
    ]
    return _keep(session, actor, case, decisions)


def undo(session: Session, actor: User, case: Case, *, request: str = "") -> Sequence[CellDecision]:
    """Take back what a user decided last on a case and has not taken back; give what that did.

    Nothing that others decided later on the same cells is touched: then it is a conflict. Called
    again, it takes back what was decided before that, but not for the same `request`.

    Raises:
        DeniedError: the user is a reader and reads nothing blind here.
        FrozenError: the case is signed or archived.
        NotThereError: there is nothing to take back.
        ConflictError: another decision came later on one of the cells, or the request was one for
            something else.
        StoreError: the request is too long or not one line.
    """
    named = _checked_request(request)
    change(session, case)
    if earlier := _of_request(session, case, named):
        if any(decision.user_id != actor.id or decision.undoes is None for decision in earlier):
            raise ConflictError(REUSED.format(named))
        return earlier
    reading = find_open_reading(session, case, actor)
    if reading is None:
        check_role(actor, Role.REVIEWER, "taking back what was decided")
    last = _latest_decisions(session, actor, case, reading)
    if not last:
        raise NotThereError(
            f"{actor.name} has decided nothing on the case {case.title} to take back"
        )
    _check_latest(session, last)
    decisions = [_undoing(actor, decision, named) for decision in last]
    return _keep(session, actor, case, decisions)


def history(session: Session, cell: CaseCell) -> Sequence[CellDecision]:
    """Give all decisions on a cell that are no blind reader's, the oldest first."""
    query = select(CellDecision).where(
        CellDecision.cell_id == cell.id, CellDecision.reading_id.is_(None)
    )
    return session.scalars(query.order_by(CellDecision.id)).all()


def _checked_request(request: str) -> str:
    if len(request) > 64 or not request.isprintable():
        raise StoreError("a request is named by at most 64 characters of one line")
    return request or secrets.token_hex(16)


def _checked_numbers(cells: Sequence[int]) -> list[int]:
    numbers = list(dict.fromkeys(cells))
    if not 1 <= len(numbers) <= AT_ONCE:
        raise StoreError(f"decide on 1 to {AT_ONCE:,} cells at once, got {len(numbers):,}")
    return numbers


def _of_request(session: Session, case: Case, request: str) -> Sequence[CellDecision]:
    query = select(CellDecision).where(
        CellDecision.case_id == case.id, CellDecision.request == request
    )
    return session.scalars(query.order_by(CellDecision.id)).all()


def _check_same(
    decisions: Sequence[CellDecision], actor: User, numbers: list[int], code: str
) -> None:
    same = {decision.cell_id for decision in decisions} == set(numbers)
    if not same or any(
        (decision.user_id, decision.after) != (actor.id, code) for decision in decisions
    ):
        raise ConflictError(REUSED.format(decisions[0].request))


def _cells(session: Session, case: Case, numbers: list[int]) -> list[CaseCell]:
    query = select(CaseCell).where(CaseCell.case_id == case.id, CaseCell.id.in_(numbers))
    cells = {cell.id: cell for cell in session.scalars(query)}
    if missing := [number for number in numbers if number not in cells]:
        raise NotThereError(f"the case {case.title} has no cell {missing[0]}")
    for cell in cells.values():
        if cell.state is not CellState.READ:
            raise ConflictError(f"cell {cell.id} is {cell.state}; decide on cells that were read")
    return [cells[number] for number in numbers]


def _with_labels(
    session: Session, cells: Sequence[CaseCell], reading: BlindReading | None
) -> Iterator[tuple[CaseCell, str]]:
    """Give cells with the class that a person gave each, in this reading."""
    blind = labels_in(session, reading) if reading else {}
    for cell in cells:
        yield cell, blind.get(cell.id, "") if reading else cell.label


def _undoing(actor: User, decision: CellDecision, request: str) -> CellDecision:
    return CellDecision(
        case_id=decision.case_id,
        cell_id=decision.cell_id,
        user_id=actor.id,
        reading_id=decision.reading_id,
        request=request,
        before=decision.after,
        after=decision.before,
        at=now(),
        model_sha256=decision.model_sha256,
        undoes=decision.id,
    )


def _latest_decisions(
    session: Session, actor: User, case: Case, reading: BlindReading | None
) -> Sequence[CellDecision]:
    """Give the latest decisions of one request that were not taken back, of a user and reading."""
    undoing = aliased(CellDecision)
    mine = select(CellDecision).where(
        CellDecision.case_id == case.id,
        CellDecision.user_id == actor.id,
        CellDecision.reading_id.is_(None)
        if reading is None
        else CellDecision.reading_id == reading.id,
        CellDecision.undoes.is_(None),
        ~exists().where(undoing.undoes == CellDecision.id),
    )
    latest = session.scalar(mine.order_by(CellDecision.id.desc()).limit(1))
    if latest is None:
        return []
    same = mine.where(CellDecision.request == latest.request)
    return session.scalars(same.order_by(CellDecision.id)).all()


def _check_latest(session: Session, last: Sequence[CellDecision]) -> None:
    """Check that nothing but what was taken back came after these decisions."""
    undoing = aliased(CellDecision)
    newest = (
        select(CellDecision.cell_id, func.max(CellDecision.id))
        .where(
            CellDecision.cell_id.in_([decision.cell_id for decision in last]),
            CellDecision.reading_id.is_(None)
            if last[0].reading_id is None
            else CellDecision.reading_id == last[0].reading_id,
            CellDecision.undoes.is_(None),
            ~exists().where(undoing.undoes == CellDecision.id),
        )
        .group_by(CellDecision.cell_id)
    )
    mine = {decision.cell_id: decision.id for decision in last}
    for cell, number in session.execute(newest):
        if number != mine[cell]:
            raise ConflictError(
                f"cell {cell} was decided on again by another reader; look at it anew"
            )


def _keep(
    session: Session, actor: User, case: Case, decisions: Sequence[CellDecision]
) -> Sequence[CellDecision]:
    """Keep decisions, let those that are no blind reader's count, and write them into the log."""
    session.add_all(decisions)
    session.flush()
    cells = {
        cell.id: cell
        for cell in session.scalars(
            select(CaseCell).where(CaseCell.id.in_([decision.cell_id for decision in decisions]))
        )
    }
    events = [_event(actor, case, cells[decision.cell_id], decision) for decision in decisions]
    for decision in decisions:
        if decision.reading_id is None:
            _let_count(cells[decision.cell_id], decision)
    append(session, *events)
    return decisions


def _let_count(cell: CaseCell, decision: CellDecision) -> None:
    cell.label = decision.after
    cell.decided_by, cell.decided_at = (
        (decision.user_id, decision.at) if decision.after else (None, None)
    )


def _event(actor: User, case: Case, cell: CaseCell, made: CellDecision) -> Event:
    blind = "" if made.reading_id is None else "blind "
    return Event(
        actor.name,
        f"{blind}{'decide' if made.undoes is None else 'undo'}",
        case.public_id,
        str(cell.id),
        _words(cell, made.before),
        _words(cell, made.after),
        made.model_sha256,
    )


def _words(cell: CaseCell, label: str) -> dict[str, str]:
    return {"label": label or cell.machine, "by": "person" if label else "model"}
