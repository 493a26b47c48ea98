"""Uploads: pictures and zip archives that become cells of a case."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from marrowscope.errors import UploadError
from marrowscope.store.cases import case_facts, check_open, find_case
from marrowscope.store.cells import Added, add_cells, case_progress
from marrowscope.store.enums import Role
from marrowscope.store.import_case import READ
from marrowscope.store.jobs import add_job_once
from marrowscope.store.tables import Case, Job
from marrowscope.store.users import check_role
from marrowscope.web.api.cases import check_scale
from marrowscope.web.auth import Caller, InRoom, Me
from marrowscope.web.idempotency import Key, once
from marrowscope.web.params import CaseId, Words
from marrowscope.web.state import Room
from marrowscope.web.uploads import Incoming, Refused, TakenIn, take_in

router = APIRouter(tags=["cases"])
Tell = Callable[[int, int], None]
"""Hears how many files are done, and of how many."""
Taken = TypeVar("Taken")
PARTS = 200
"""Loose files in one request, as small ones are in memory; a zip archive is one."""
FILES = {
    "type": "array",
    "maxItems": PARTS,
    "items": {"type": "string", "format": "binary"},
}


def form_of(properties: dict[str, Any]) -> dict[str, Any]:
    """Describe the form that a request sends, with the field `files` at least."""
    schema = {"type": "object", "required": ["files"], "properties": properties}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


BODY = form_of({"files": FILES, "slide": {"type": "string", "default": "1"}})


class RefusedOut(BaseModel):
    """A file that was not taken."""

    file: str
    reason: str


class UploadOut(BaseModel):
    """What became of an upload."""

    new: int
    """Cells that were added."""
    known: int
    """Pictures that the case had already, or that came twice."""
    refused: list[RefusedOut]
    job: int | None
    """The job that reads the new cells; null where nothing is new."""
    version: int
    """Of the case."""


class UnpackedOut(BaseModel):
    """Files of an upload that were looked at, of how many."""

    done: int
    total: int


@router.post("/cases/{case_id}/files", openapi_extra=BODY)
async def upload(
    request: Request, caller: Me, room: InRoom, case_id: CaseId, key: Key = None
) -> UploadOut:
    """Add pictures to a slide of a case, as files or zip archives; they are read behind the pages.

    The answer comes once all of them are on the disk. The same upload with the same
    Idempotency-Key is done once.
    """
    await run_in_threadpool(_check_may, room, caller, case_id)
    async with request.form(max_files=PARTS, max_fields=PARTS) as form:
        parts = form.getlist("files")
        slide = str(form.get("slide", "1"))
        return await run_in_threadpool(_take, room, caller, case_id, parts, slide, key)


@router.get("/uploads/{key}")
def unpacked(caller: Me, room: InRoom, key: Annotated[Words, Path()]) -> UnpackedOut:
    """Say how far your upload with this Idempotency-Key is; 0 of 0 before and after."""
    progress = room.unpacking.of((caller.user.id, key))
    return UnpackedOut(done=progress.done, total=progress.total)


def _check_may(room: Room, caller: Caller, case_id: str) -> None:
    """Refuse what can be refused before the body is read."""
    check_role(caller.user, Role.REVIEWER, "adding cells")
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        check_open(case)
        check_scale(room, case_facts(case))


def incoming(parts: list[UploadFile | str]) -> list[Incoming]:
    """Give the files of a form.

    Raises:
        UploadError: there are none, or one is a text.
    """
    if not parts or any(isinstance(part, str) for part in parts):
        raise UploadError("send pictures or zip archives as files in the field `files`")
    return [
        Incoming(part.filename or "", part.file) for part in parts if isinstance(part, UploadFile)
    ]


def while_told(room: Room, caller: Caller, key: str | None, take: Callable[[Tell], Taken]) -> Taken:
    """Take files in, while who sent them with a key can ask how far that is."""
    sent = caller.user.id, key or ""

    def tell(done: int, total: int) -> None:
        if key:
            room.unpacking.tell(sent, done, total)

    with room.unpacking.going(sent):
        return take(tell)


def upload_out(
    case: Case, added: Added, refused: Sequence[Refused], job: Job | None
) -> dict[str, Any]:
    """Say what became of an upload, as it is kept for the same one sent again."""
    return UploadOut(
        new=added.new,
        known=added.known,
        refused=[RefusedOut(file=file.file, reason=file.reason) for file in refused],
        job=None if job is None else job.id,
        version=case.version,
    ).model_dump(mode="json")


def _take(
    room: Room,
    caller: Caller,
    case_id: str,
    parts: list[UploadFile | str],
    slide: str,
    key: str | None,
) -> UploadOut:
    files, limits = incoming(parts), room.settings.limits
    taken = while_told(room, caller, key, lambda tell: take_in(files, room.blobs, limits, tell))
    what = ["files", case_id, slide, [[cell.file, cell.sha256] for cell in taken.cells]]

    def do(session: Session) -> dict[str, Any]:
        return _add(session, room, caller, case_id, slide, taken)

    answer = once(room.store, caller.user, key, what, do)
    room.called()
    return UploadOut.model_validate(answer)


def _add(
    session: Session, room: Room, caller: Caller, case_id: str, slide: str, taken: TakenIn
) -> dict[str, Any]:
    case = find_case(session, caller.user, case_id)
    added = add_cells(session, caller.user, case, slide, taken.cells)
    progress = case_progress(session, case)
    most = room.settings.limits.cells
    if progress.total > most:
        raise UploadError(
            f"a case has at most {most:,} cells; this one would have {progress.total:,}"
        )
    job = add_job_once(session, READ, case, progress.total) if added.new else None
    return upload_out(case, added, taken.refused, job)
