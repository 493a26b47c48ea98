"""The audit log: looked at, checked and exported by administrators; that of a case by its users."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from marrowscope.store.audit import as_dict, count, entries, export, verify
from marrowscope.store.cases import find_case
from marrowscope.web.api.cases import PageOut
from marrowscope.web.auth import Admin, InRoom, Me
from marrowscope.web.blind_view import check_not_blind
from marrowscope.web.params import LARGEST, CaseId, Words
from marrowscope.web.state import Room

router = APIRouter(tags=["audit"])
After = Annotated[int, Query(ge=0, le=LARGEST, description="Lines after this number.")]
Limit = Annotated[int, Query(ge=1, le=500)]


class BrokenOut(BaseModel):
    """Where the log is not what was written."""

    seq: int
    reason: str


class Verified(BaseModel):
    """The outcome of a check."""

    lines: int
    broken: BrokenOut | None


@router.get("/audit")
def audit(
    caller: Admin,  # noqa: ARG001 - it needs one
    room: InRoom,
    case: Annotated[Words, Query()] = "",
    after: After = 0,
    limit: Limit = 100,
) -> PageOut[dict[str, Any]]:
    """Show lines of the audit log, the oldest first; for administrators."""
    return _lines(room, case, after, limit)


@router.get("/cases/{case_id}/audit")
def audit_of_case(
    caller: Me, room: InRoom, case_id: CaseId, after: After = 0, limit: Limit = 100
) -> PageOut[dict[str, Any]]:
    """Show the lines of one case, the oldest first; not to who reads it blind."""
    with room.store.read() as session:
        check_not_blind(session, find_case(session, caller.user, case_id), caller.user)
    return _lines(room, case_id, after, limit)


def _lines(room: Room, case: str, after: int, limit: int) -> PageOut[dict[str, Any]]:
    with room.store.read() as session:
        rows = [as_dict(entry) for entry in islice(entries(session, case, after), limit)]
        return PageOut(total=count(session, case), rows=rows)


@router.get("/audit/verify")
def check(caller: Admin, room: InRoom) -> Verified:  # noqa: ARG001 - it needs one
    """Check every line of the log against its hash and the line before it; for administrators."""
    with room.store.read() as session:
        fault = verify(session)
        broken = BrokenOut(seq=fault.seq, reason=fault.reason) if fault else None
        return Verified(lines=count(session), broken=broken)


@router.get("/audit/export", response_class=StreamingResponse)
def export_log(
    caller: Admin,  # noqa: ARG001 - it needs one
    room: InRoom,
    case: Annotated[Words, Query()] = "",
) -> StreamingResponse:
    """Give the log, or that of one case, as lines of JSON; for administrators."""

    def lines() -> Iterator[str]:
        with room.store.read() as session:
            for line in export(session, case):
                yield f"{line}\n"

    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(lines(), media_type="application/jsonl", headers=headers)
