"""Whole fields: uploaded, listed, shown with the boxes of their cells; cells drawn and removed."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from marrowscope.detection.field_cells import why
from marrowscope.store.boxes import (
    boxes_on,
    cells_by_field,
    draw_cell,
    place_drawn,
    remove_cell,
    restore_cell,
)
from marrowscope.store.cases import check_open, find_case
from marrowscope.store.cells import find_cell
from marrowscope.store.detect import cut_out
from marrowscope.store.enums import CellState, FieldState, Origin, Role
from marrowscope.store.fields import FIND, add_fields, find_field, list_fields, look_again
from marrowscope.store.import_case import READ
from marrowscope.store.jobs import add_job_once
from marrowscope.store.tables import Case, CellPlace
from marrowscope.store.tables import Field as FieldRow
from marrowscope.store.users import check_role
from marrowscope.web.api.cells import answer_picture
from marrowscope.web.api.files import BODY, PARTS, UploadOut, incoming, upload_out, while_told
from marrowscope.web.api.schemas import CellOut, cell_out
from marrowscope.web.auth import Caller, InRoom, Me
from marrowscope.web.blind_view import SeenCell, check_not_blind, see
from marrowscope.web.idempotency import Key, once
from marrowscope.web.images import FIELD_SIDES, field_picture
from marrowscope.web.params import LARGEST, CaseId, Number
from marrowscope.web.state import Room
from marrowscope.web.uploads import FieldsTakenIn, take_in_fields

router = APIRouter(tags=["fields"])
Side = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]


class FieldOut(BaseModel):
    """A whole field of a case."""

    id: int
    file: str
    slide: str
    sha256: str
    width: int
    height: int
    um_per_px: float | None
    scale: str
    """What it rests on: given, file, red cells, other fields, unknown; empty before a look."""
    flags: list[str]
    """Why it is outside the plain range."""
    flags_in_words: str
    state: FieldState
    reason: str
    cells: int
    """Boxes that stand."""
    removed: int
    """Boxes that were removed."""


class BoxOut(BaseModel):
    """The box of a cell on a field, in pixels of the field."""

    cell: int
    """Number of the cell."""
    x0: int
    y0: int
    x1: int
    y1: int
    origin: Origin
    removed: bool
    state: CellState
    label: str
    """The class that counts; empty before the model has read it."""
    decided: bool


class FieldFull(FieldOut):
    """A field with the boxes of its cells, in reading order."""

    boxes: list[BoxOut]


class BoxIn(BaseModel):
    """A box around a missed cell, in pixels of the field."""

    x0: Side
    y0: Side
    x1: Side
    y1: Side


@router.post("/cases/{case_id}/fields", openapi_extra=BODY)
async def upload_fields(
    request: Request, caller: Me, room: InRoom, case_id: CaseId, key: Key = None
) -> UploadOut:
    """Add whole fields to a slide of a case, as files or zip archives; their cells are found next.

    `new` and `known` count fields. The same upload with the same Idempotency-Key is done once.
    """
    await run_in_threadpool(_check_may, room, caller, case_id)
    async with request.form(max_files=PARTS, max_fields=PARTS) as form:
        parts = form.getlist("files")
        slide = str(form.get("slide", "1"))
        return await run_in_threadpool(_take, room, caller, case_id, parts, slide, key)


def _check_may(room: Room, caller: Caller, case_id: str) -> None:
    """Refuse what can be refused before the body is read."""
    check_role(caller.user, Role.REVIEWER, "adding fields")
    with room.store.read() as session:
        check_open(find_case(session, caller.user, case_id))


def _take(
    room: Room,
    caller: Caller,
    case_id: str,
    parts: list[UploadFile | str],
    slide: str,
    key: str | None,
) -> UploadOut:
    files, limits = incoming(parts), room.settings.limits
    taken = while_told(
        room, caller, key, lambda tell: take_in_fields(files, room.blobs, limits, tell)
    )
    what = ["fields", case_id, slide, [[field.file, field.sha256] for field in taken.fields]]

    def do(session: Session) -> dict[str, Any]:
        return _add(session, caller, case_id, slide, taken)

    answer = once(room.store, caller.user, key, what, do)
    room.called()
    return UploadOut.model_validate(answer)


def _add(
    session: Session, caller: Caller, case_id: str, slide: str, taken: FieldsTakenIn
) -> dict[str, Any]:
    case = find_case(session, caller.user, case_id)
    added = add_fields(session, caller.user, case, slide, taken.fields)
    job = add_job_once(session, FIND, case, added.new) if added.new else None
    return upload_out(case, added, taken.refused, job)


@router.get("/cases/{case_id}/fields")
def fields(caller: Me, room: InRoom, case_id: CaseId) -> list[FieldOut]:
    """List the whole fields of a case, as they came."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        counts = cells_by_field(session, case)
        return [_field(field, counts) for field in list_fields(session, case)]


def _field(field: FieldRow, counts: dict[int, tuple[int, int]]) -> FieldOut:
    cells, removed = counts.get(field.id, (0, 0))
    return FieldOut(
        id=field.id,
        file=field.file,
        slide=field.slide.name,
        sha256=field.sha256,
        width=field.width,
        height=field.height,
        um_per_px=field.um_per_px,
        scale=field.scale,
        flags=field.flags,
        flags_in_words=why(field.flags),
        state=field.state,
        reason=field.reason,
        cells=cells,
        removed=removed,
    )


@router.get("/cases/{case_id}/fields/{number}")
def show_field(caller: Me, room: InRoom, case_id: CaseId, number: Number) -> FieldFull:
    """Show a field with the boxes of its cells; a blind reader sees no other person's classes."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        return _full(session, caller, case, find_field(session, case, number))


def _full(session: Session, caller: Caller, case: Case, field: FieldRow) -> FieldFull:
    places = boxes_on(session, field)
    cells = see(session, case, caller.user, [place.cell for place in places])
    facts = _field(field, cells_by_field(session, case)).model_dump()
    return FieldFull(**facts, boxes=_boxes(places, cells))


def _boxes(places: Sequence[CellPlace], cells: Sequence[SeenCell]) -> list[BoxOut]:
    return [
        BoxOut(
            cell=place.cell_id,
            x0=place.x0,
            y0=place.y0,
            x1=place.x1,
            y1=place.y1,
            origin=place.origin,
            removed=place.removed_by is not None,
            state=place.cell.state,
            label=cell.counts_as,
            decided=bool(cell.label),
        )
        for place, cell in zip(places, cells, strict=True)
    ]


@router.get("/cases/{case_id}/fields/{number}/picture", response_class=Response)
def show_field_picture(
    request: Request,
    caller: Me,
    room: InRoom,
    case_id: CaseId,
    number: Number,
    side: Annotated[
        int, Query(description=f"One of {', '.join(map(str, FIELD_SIDES))}.")
    ] = FIELD_SIDES[-1],
) -> Response:
    """Give the picture of a field, at most `side` pixels a side: as it came, or a JPEG of it."""
    with room.store.read() as session:
        field = find_field(session, find_case(session, caller.user, case_id), number)
    tag = f"{field.sha256}-field-{side}"
    return answer_picture(request, tag, lambda: field_picture(room, field, side))


@router.post("/cases/{case_id}/fields/{number}/read")
def read_flagged(caller: Me, room: InRoom, case_id: CaseId, number: Number) -> FieldFull:
    """Let the cells of a field that is flagged, or of no use, be found and read all the same."""
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        field = find_field(session, case, number)
        look_again(session, caller.user, case, field)
        add_job_once(session, FIND, case, 1)
        answer = _full(session, caller, case, field)
    room.called()
    return answer


@router.post("/cases/{case_id}/fields/{number}/cells", status_code=201)
def add_cell(caller: Me, room: InRoom, case_id: CaseId, number: Number, box: BoxIn) -> CellOut:
    """Add a cell that was missed, by a box of 8 pixels a side or more; a job reads it next.

    It is refused while you read the case blind.
    """
    check_role(caller.user, Role.REVIEWER, "adding a cell")
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        check_open(case)
        check_not_blind(session, case, caller.user)
        field = find_field(session, case, number)
    place = place_drawn(field, box.x0, box.y0, box.x1, box.y1)
    cut = cut_out(room.blobs, field, place, room.bundle.preprocessing.field_um)
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        drawn = draw_cell(session, caller.user, case, find_field(session, case, number), cut)
        add_job_once(session, READ, case, 1)
        cell_view = see(session, case, caller.user, [drawn])[0]
        answer = cell_out(cell_view, case.classes)
    room.called()
    return answer


@router.post("/cases/{case_id}/cells/{number}/remove")
def remove(caller: Me, room: InRoom, case_id: CaseId, number: Number) -> CellOut:
    """Say that what lies in a box on a field is no cell; `restore` takes that back.

    It is refused while you read the case blind.
    """
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        check_not_blind(session, case, caller.user)
        cell = find_cell(session, case, number)
        remove_cell(session, caller.user, case, cell)
        return cell_out(see(session, case, caller.user, [cell])[0], case.classes)


@router.post("/cases/{case_id}/cells/{number}/restore")
def put_back(caller: Me, room: InRoom, case_id: CaseId, number: Number) -> CellOut:
    """Take a removal back: the cell counts as it did; one that was never read waits for it.

    It is refused while you read the case blind.
    """
    with room.store.write() as session:
        case = find_case(session, caller.user, case_id)
        check_not_blind(session, case, caller.user)
        cell = find_cell(session, case, number)
        restore_cell(session, caller.user, case, cell)
        if cell.state is CellState.WAITING:
            add_job_once(session, READ, case, 1)
        answer = cell_out(see(session, case, caller.user, [cell])[0], case.classes)
    room.called()
    return answer
