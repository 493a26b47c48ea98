"""Review: decide on cells, take that back, sign off, read blind and compare."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from marrowscope.store.blind_reading import (
    close_reading,
    compare_readings,
    list_readings,
    open_reading,
)
from marrowscope.store.cases import find_case
from marrowscope.store.decisions import AT_ONCE, decide, undo
from marrowscope.store.enums import CaseState
from marrowscope.store.signing import mark_reviewed, reopen, seal_holds, sign
from marrowscope.store.tables import BlindReading, Case, CaseCell, CellDecision
from marrowscope.store.users import user_called
from marrowscope.web.api.schemas import CaseFull, case_full, plain_fields
from marrowscope.web.auth import InRoom, Me
from marrowscope.web.params import LARGEST, CaseId, Words

router = APIRouter(tags=["review"])
CellNumber = Annotated[int, Field(ge=1, le=LARGEST)]
Request = Annotated[
    Words,
    Field(description="Chosen by the sender, at most 64 characters; the same is done once."),
]


class DecideIn(BaseModel):
    """A class for cells."""

    cells: list[CellNumber] = Field(max_length=AT_ONCE)
    label: Words
    request: Request = ""


class UndoIn(BaseModel):
    """What names a request to take the last decision back."""

    request: Request = ""


class SeenVersion(BaseModel):
    """The version of the case as it was looked at."""

    version: int = Field(ge=1, le=LARGEST)


class Reason(BaseModel):
    """Why a signed case is reopened."""

    reason: Words


class Decided(BaseModel):
    """What became of one cell."""

    cell: int
    label: str
    """The class that counts now."""
    machine: str
    decided: bool
    """By a person."""


class DecisionsOut(BaseModel):
    """What was decided or taken back."""

    request: str
    version: int
    """Of the case, after it."""
    state: CaseState
    cells: list[Decided]


class ReadingOut(BaseModel):
    """A blind reading of a case."""

    who: str
    opened_at: datetime
    closed_at: datetime | None


class Seal(BaseModel):
    """Whether a signed case is what was signed."""

    seal: str
    holds: bool


@router.post("/cases/{case_id}/decisions")
def decide_cells(caller: Me, room: InRoom, case_id: CaseId, wanted: DecideIn) -> DecisionsOut:
    """Give 1 to 5,000 cells a class, all of them or none; in your blind reading, if one is open."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        made = decide(
            session, caller.user, case, wanted.cells, wanted.label, request=wanted.request
        )
        return _decisions(session, case, made)


@router.post("/cases/{case_id}/undo")
def undo_last(caller: Me, room: InRoom, case_id: CaseId, wanted: UndoIn) -> DecisionsOut:
    """Take back what you decided last; once more, what you decided before that."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        made = undo(session, caller.user, case, request=wanted.request)
        return _decisions(session, case, made)


def _decisions(session: Session, case: Case, made: Sequence[CellDecision]) -> DecisionsOut:
    query = select(CaseCell.id, CaseCell.machine).where(
        CaseCell.id.in_([decision.cell_id for decision in made])
    )
    machine: dict[int, str] = {row[0]: row[1] for row in session.execute(query)}
    return DecisionsOut(
        request=made[0].request,
        version=case.version,
        state=case.state,
        cells=[
            Decided(
                cell=decision.cell_id,
                label=decision.after or machine[decision.cell_id],
                machine=machine[decision.cell_id],
                decided=bool(decision.after),
            )
            for decision in made
        ],
    )


@router.post("/cases/{case_id}/review")
def finish_review(caller: Me, room: InRoom, case_id: CaseId, seen: SeenVersion) -> CaseFull:
    """Say that the review of a case is done; a later change of it makes it a draft again.

    409 says that it has changed since the `version` that you saw, or that something is not done.
    """
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        mark_reviewed(session, caller.user, case, seen.version)
        return case_full(session, case, caller.user)


@router.post("/cases/{case_id}/sign")
def sign_case(caller: Me, room: InRoom, case_id: CaseId, seen: SeenVersion) -> CaseFull:
    """Sign a reviewed case: it is frozen until it is reopened.

    409 says that it is a draft, or has changed since the `version` that you saw.
    """
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        sign(session, caller.user, case, seen.version)
        return case_full(session, case, caller.user)


@router.post("/cases/{case_id}/reopen")
def reopen_case(caller: Me, room: InRoom, case_id: CaseId, why: Reason) -> CaseFull:
    """Make a signed case a draft again, for a reason that is recorded."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        reopen(session, caller.user, case, why.reason)
        return case_full(session, case, caller.user)


@router.get("/cases/{case_id}/seal")
def check_seal(caller: Me, room: InRoom, case_id: CaseId) -> Seal:
    """Tell whether a signed case is still what was signed; false for one that is not signed."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        return Seal(seal=case.seal, holds=seal_holds(session, case))


@router.get("/cases/{case_id}/readings")
def readings(caller: Me, room: InRoom, case_id: CaseId) -> list[ReadingOut]:
    """List the blind readings of a case."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        return [_reading(reading) for reading in list_readings(session, case)]


def _reading(reading: BlindReading) -> ReadingOut:
    return ReadingOut(
        who=reading.user.name, opened_at=reading.opened_at, closed_at=reading.closed_at
    )


@router.post("/cases/{case_id}/readings/open")
def read_blind(caller: Me, room: InRoom, case_id: CaseId) -> CaseFull:
    """Begin to read a case blind, or go on; your decisions go to that reading until its end."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        open_reading(session, caller.user, case)
        session.flush()
        return case_full(session, case, caller.user)


@router.post("/cases/{case_id}/readings/close")
def end_blind(caller: Me, room: InRoom, case_id: CaseId) -> CaseFull:
    """End your blind reading of a case."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        close_reading(session, caller.user, case)
        session.flush()
        return case_full(session, case, caller.user)


@router.get("/cases/{case_id}/agreement")
def agreement(
    caller: Me,
    room: InRoom,
    case_id: CaseId,
    first: Annotated[Words, Query()],
    other: Annotated[Words, Query()],
) -> dict[str, Any]:
    """Compare the closed blind readings of two users; refused while you read the case blind."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        one, two = user_called(session, first), user_called(session, other)
        agreement_result = compare_readings(session, caller.user, case, one, two)
    words = agreement_result.same.in_words if agreement_result.same else ""
    return plain_fields(agreement_result) | {"in_words": words}
