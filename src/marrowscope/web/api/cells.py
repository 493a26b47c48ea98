"""Cells: listed as one reviews them, one by one with their history, their pictures."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from marrowscope.store.blind_reading import find_open_reading
from marrowscope.store.cases import find_case
from marrowscope.store.cells import Order, Wanted, find_cell
from marrowscope.store.decisions import history
from marrowscope.store.enums import CellState
from marrowscope.store.fields import cell_scales
from marrowscope.store.tables import CaseCell, CellDecision
from marrowscope.web.api.cases import PageOut
from marrowscope.web.api.schemas import CellOut, Guess, cell_out
from marrowscope.web.auth import Caller, InRoom, Me
from marrowscope.web.blind_view import list_seen, see
from marrowscope.web.explain import explanation, known_cell
from marrowscope.web.explain_schema import Explanation
from marrowscope.web.images import GALLERY, SIDES, Shown, picture, thumbnail
from marrowscope.web.params import LARGEST, CaseId, Number, Offset, Words
from marrowscope.web.state import Room

router = APIRouter(tags=["cells"])
FOR_GOOD = "private, max-age=31536000, immutable"


class PastDecision(BaseModel):
    """A decision on a cell; `before` and `after` are a person's class, empty for the model's."""

    who: str
    at: datetime
    before: str
    """Class by a person; empty for the model's."""
    after: str
    undoes: bool
    """Whether it took an earlier one back."""
    undone: bool
    """Whether it was taken back."""


class CellFull(CellOut):
    """A cell with all probabilities and what was decided on it."""

    probabilities: list[Guess]
    history: list[PastDecision]


@router.get("/cases/{case_id}/cells")
def cells(
    caller: Me,
    room: InRoom,
    case_id: CaseId,
    label: Words | None = None,
    state: CellState | None = None,
    slide: Words | None = None,
    decided: bool | None = None,
    novel: bool | None = None,
    order: Order = Order.FIRST,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=2000)] = 200,
) -> PageOut[CellOut]:
    """List the cells of a case that fit all that is given; `label` is the class that counts."""
    wanted = Wanted(label, state, slide, decided, novel)
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        page = list_seen(session, case, caller.user, wanted, order, offset=offset, limit=limit)
        rows = [cell_out(cell, case.classes) for cell in page.rows]
    return PageOut(total=page.total, rows=rows)


@router.get("/cases/{case_id}/cells/{number}")
def show_cell(caller: Me, room: InRoom, case_id: CaseId, number: Number) -> CellFull:
    """Show a cell with all probabilities and its history; a blind reader sees no history."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        cell = find_cell(session, case, number)
        cell_view = see(session, case, caller.user, [cell])[0]
        blind = find_open_reading(session, case, caller.user) is not None
        past = [] if blind else _history(history(session, cell))
        ranked = sorted(zip(cell.probabilities, case.classes, strict=False), reverse=True)
        guesses = [Guess(code=code, probability=chance) for chance, code in ranked]
        facts = cell_out(cell_view, case.classes).model_dump()
    return CellFull(**facts, probabilities=guesses, history=past)


def _history(decisions: Sequence[CellDecision]) -> list[PastDecision]:
    undone = {decision.undoes for decision in decisions}
    return [
        PastDecision(
            who=decision.user.name,
            at=decision.at,
            before=decision.before,
            after=decision.after,
            undoes=decision.undoes is not None,
            undone=decision.id in undone,
        )
        for decision in decisions
    ]


@router.get("/cases/{case_id}/cells/{number}/picture", response_class=Response)
def show_picture(
    request: Request, caller: Me, room: InRoom, case_id: CaseId, number: Number
) -> Response:
    """Give the picture of a cell as it came, or as PNG where browsers do not show its format."""
    cell = _cell(room, caller, case_id, number)
    return answer_picture(request, f"{cell.sha256}-full", lambda: picture(room, cell.sha256))


@router.get("/cases/{case_id}/cells/{number}/thumbnail", response_class=Response)
def show_thumbnail(
    request: Request,
    caller: Me,
    room: InRoom,
    case_id: CaseId,
    number: Number,
    side: Annotated[int, Query(description=f"One of {', '.join(map(str, SIDES))}.")] = GALLERY,
) -> Response:
    """Give a JPEG of a cell, at most `side` pixels a side."""
    cell = _cell(room, caller, case_id, number)
    return answer_picture(
        request, f"{cell.sha256}-{side}", lambda: thumbnail(room, cell.sha256, side)
    )


@router.get("/cases/{case_id}/cells/{number}/explanation")
def explain(caller: Me, room: InRoom, case_id: CaseId, number: Number) -> Explanation:
    """Show where the model sees the likeliest classes in a cell, and the known cells most alike."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        cell = find_cell(session, case, number)
        um_per_px = cell_scales(session, case, [cell])[cell.id]
    return explanation(room, cell.sha256, um_per_px)


@router.get("/cases/{case_id}/known-cells/{seal}/{row}", response_class=Response)
def show_known_cell(
    request: Request,
    caller: Me,
    room: InRoom,
    case_id: CaseId,
    seal: Annotated[Words, Path()],
    row: Annotated[int, Path(ge=0, le=LARGEST)],
) -> Response:
    """Give the small JPEG of a known cell, as an explanation of a cell of the case names it."""
    with room.store.read() as session:
        find_case(session, caller.user, case_id)
    shown = Shown(known_cell(room, seal, row), "image/jpeg")
    return answer_picture(request, f"{seal}-{row}", lambda: shown)


def _cell(room: Room, caller: Caller, case_id: str, number: int) -> CaseCell:
    with room.store.read() as session:
        return find_cell(session, find_case(session, caller.user, case_id), number)


def answer_picture(request: Request, tag: str, make: Callable[[], Shown]) -> Response:
    """Answer with a picture, or with 304 if the browser has it; its content never changes."""
    headers = {"ETag": f'"{tag}"', "Cache-Control": FOR_GOOD}
    if f'"{tag}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    shown = make()
    return Response(shown.content, media_type=shown.media, headers=headers)
