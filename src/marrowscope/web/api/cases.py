"""Cases: list, make, change, share, archive and delete them."""

from dataclasses import replace
from typing import Annotated, Any, Generic, TypeVar

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from marrowscope.errors import ConflictError
from marrowscope.store.cases import (
    Facts,
    archive,
    case_facts,
    change_facts,
    check_open,
    checked,
    delete_case,
    find_case,
    list_cases,
    list_members,
    lock,
    make_case,
    restore,
    share,
    unshare,
)
from marrowscope.store.cells import case_progress, progress_by_case
from marrowscope.store.enums import CaseState, FieldState, Role
from marrowscope.store.fields import FIND, fields_by_state
from marrowscope.store.import_case import READ
from marrowscope.store.jobs import add_job_once, list_jobs
from marrowscope.store.tables import Case
from marrowscope.store.users import check_role, user_called
from marrowscope.web.api.schemas import CaseFull, CaseOut, JobOut, case_full, case_out, job_out
from marrowscope.web.auth import InRoom, Me
from marrowscope.web.idempotency import Key, once
from marrowscope.web.params import CaseId, Offset, Search, Words
from marrowscope.web.state import Room

router = APIRouter(tags=["cases"])
Row = TypeVar("Row")


class PageOut(BaseModel, Generic[Row]):
    """Some rows of a list, and how many there are in all."""

    total: int
    rows: list[Row]


class FactsIn(BaseModel):
    """What is known of a sample; `um_per_px` is the side of a pixel, in micrometres."""

    title: Words
    date: Words = ""
    material: Words = ""
    stain: Words = ""
    um_per_px: float | None = Field(None, allow_inf_nan=False)


class NewCase(FactsIn):
    """A new case."""

    fields: bool = False
    """Whether whole fields will come, so that the size of a pixel need not be known before."""


class FactsChange(BaseModel):
    """What is to be changed of a sample's facts; what is left away stays.

    Null stands for left away too, but makes `um_per_px` unknown.
    """

    title: Words | None = None
    date: Words | None = None
    material: Words | None = None
    stain: Words | None = None
    um_per_px: float | None = Field(None, allow_inf_nan=False)


class Confirmation(BaseModel):
    """The title of the case, typed by who deletes it."""

    title: Words


@router.get("/cases")
def cases(
    caller: Me,
    room: InRoom,
    search: Search = "",
    state: CaseState | None = None,
    archived: bool = False,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> PageOut[CaseOut]:
    """List the cases that you may see, the latest first."""
    with room.store.read() as session:
        page = list_cases(
            session, caller.user, search, state, archived=archived, offset=offset, limit=limit
        )
        progress = progress_by_case(session, page.rows)
        rows = [case_out(case, progress[case.id]) for case in page.rows]
    return PageOut(total=page.total, rows=rows)


@router.post("/cases", status_code=201)
def add_case(caller: Me, room: InRoom, case: NewCase, key: Key = None) -> CaseOut:
    """Make a case; it is yours."""
    facts = checked(Facts(**case.model_dump(exclude={"fields"})))
    if not case.fields:
        check_scale(room, facts)

    def do(session: Session) -> dict[str, Any]:
        made = make_case(session, caller.user, facts)
        session.flush()
        return case_out(made, case_progress(session, made)).model_dump(mode="json")

    answer = once(room.store, caller.user, key, ["case", case.model_dump()], do)
    return CaseOut.model_validate(answer)


def check_scale(room: Room, facts: Facts) -> None:
    """Check that the model of a room can read cells of such a case.

    Raises:
        SettingsError: it needs the size of a pixel.
    """
    room.bundle.preprocessing.check_scale(facts.um_per_px)


@router.get("/cases/{case_id}")
def show_case(caller: Me, room: InRoom, case_id: CaseId) -> CaseFull:
    """Show a case with its progress, its fields by their state and its latest job."""
    with room.store.read() as session:
        return case_full(session, find_case(session, caller.user, case_id), caller.user)


@router.patch("/cases/{case_id}")
def edit_case(caller: Me, room: InRoom, case_id: CaseId, change: FactsChange) -> CaseFull:
    """Change what is known of a sample; the size of a pixel, until its first cell was read."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        facts = _changed(case_facts(case), change)
        if facts.um_per_px != case.um_per_px and case_progress(session, case).read:
            raise ConflictError(
                f"cells of the case {case.title} were read with {case.um_per_px} micrometres a "
                "pixel; make a new case for another size"
            )
        if facts.um_per_px != case.um_per_px:
            check_scale(room, checked(facts))
        change_facts(session, caller.user, case, facts)
        return case_full(session, case, caller.user)


def _changed(facts: Facts, change: FactsChange) -> Facts:
    """Give facts with changes; only the size of a pixel can be made unknown again."""
    changes = change.model_dump(exclude_unset=True)
    values = {name: value for name, value in changes.items() if value is not None}
    if "um_per_px" in changes:
        values["um_per_px"] = changes["um_per_px"]
    return replace(facts, **values)


@router.delete("/cases/{case_id}", status_code=204)
def remove_case(caller: Me, room: InRoom, case_id: CaseId, confirmed: Confirmation) -> Response:
    """Delete a case for good; its title confirms it. A signed one must be reopened first."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        delete_case(session, caller.user, case, confirmed.title)
    return Response(status_code=204)


@router.post("/cases/{case_id}/archive")
def put_away(caller: Me, room: InRoom, case_id: CaseId) -> CaseFull:
    """Put a case into the archive: it is listed apart, and cannot be changed until restored."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        archive(session, caller.user, case)
        return case_full(session, case, caller.user)


@router.post("/cases/{case_id}/restore")
def take_out(caller: Me, room: InRoom, case_id: CaseId) -> CaseFull:
    """Take a case out of the archive; what of it still waits is read."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        restore(session, caller.user, case)
        _read_on(session, case)
        full = case_full(session, case, caller.user)
    room.called()
    return full


@router.post("/cases/{case_id}/read")
def read_on(caller: Me, room: InRoom, case_id: CaseId) -> CaseFull:
    """Go on with the cells and fields that still wait, after a job of theirs has failed."""
    check_role(caller.user, Role.REVIEWER, "reading cells")
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        lock(session, case)
        check_open(case)
        _read_on(session, case)
        full = case_full(session, case, caller.user)
    room.called()
    return full


def _read_on(session: Session, case: Case) -> None:
    progress = case_progress(session, case)
    if progress.waiting:
        add_job_once(session, READ, case, progress.total)
    if looking := fields_by_state(session, case)[FieldState.WAITING]:
        add_job_once(session, FIND, case, looking)
    session.flush()


@router.get("/cases/{case_id}/members")
def members(caller: Me, room: InRoom, case_id: CaseId) -> list[str]:
    """Name the users who may see a case besides its owner and administrators."""
    with room.store.read() as session:
        return [user.name for user in list_members(session, _case(session, caller, case_id))]


def _case(session: Session, caller: Me, case_id: str) -> Case:
    return find_case(session, caller.user, case_id)


@router.put("/cases/{case_id}/members/{name}", status_code=204)
def add_member(caller: Me, room: InRoom, case_id: CaseId, name: Words) -> Response:
    """Let another user see a case."""
    with room.store.write() as session:
        case = _case(session, caller, case_id)
        share(session, caller.user, case, user_called(session, name))
    return Response(status_code=204)


@router.delete("/cases/{case_id}/members/{name}", status_code=204)
def remove_member(caller: Me, room: InRoom, case_id: CaseId, name: Words) -> Response:
    """Take a case from the sight of a user it was shared with."""
    with room.store.write() as session:
        case = _case(session, caller, case_id)
        unshare(session, caller.user, case, user_called(session, name))
    return Response(status_code=204)


@router.get("/cases/{case_id}/jobs")
def jobs(caller: Me, room: InRoom, case_id: CaseId) -> list[JobOut]:
    """List the 20 latest jobs of a case, the latest first."""
    with room.store.read() as session:
        return [job_out(job) for job in list_jobs(session, _case(session, caller, case_id))]
