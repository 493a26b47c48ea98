"""The differential of a case as it stands, and which cells to review until it is certain."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from marrowscope.adjusted import adjust
from marrowscope.labels import CLASSES
from marrowscope.store.cases import find_case
from marrowscope.store.cells import prediction_of
from marrowscope.store.kinds import CellState
from marrowscope.web.api.plain import plain, plain_fields
from marrowscope.web.auth import InRoom, Me
from marrowscope.web.counting import Standing, standing
from marrowscope.web.reported import cells_of, check_same_model
from marrowscope.web.seen import check_not_blind
from marrowscope.web.words import CaseId

router = APIRouter(tags=["differential"])


class ClassOut(BaseModel):
    """A class of cells."""

    code: str
    name: str
    lineage: str
    counted: bool
    """Whether it is part of the nucleated differential."""
    covered: bool
    """Whether the model knows it."""


@router.get("/classes")
def classes(caller: Me, room: InRoom) -> list[ClassOut]:  # noqa: ARG001 - it needs a login
    """List all classes that a cell can be given, in the order of the differential."""
    return [
        ClassOut(
            code=each.code,
            name=each.name,
            lineage=each.lineage,
            counted=each.counted,
            covered=each.code in room.bundle.classes,
        )
        for each in CLASSES.values()
    ]


@router.get("/cases/{case_id}/differential")
def differential(caller: Me, room: InRoom, case_id: CaseId) -> dict[str, Any]:
    """Count a case as it stands for you, with limits, thresholds and what to review first."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        key = case.public_id, case.version, caller.user.id
        return _out(room.standings.get(key, lambda: standing(session, case, caller.user)))


def _out(standing: Standing) -> dict[str, Any]:
    """Give a count; `until_certain` is how many reviews the hardest open threshold needs."""
    work = standing.work
    needed = [each.reviews for each in work.reviews]
    return plain_fields(standing.differential) | {
        "version": standing.version,
        "decided": standing.decided,
        "set_aside": standing.set_aside,
        "blasts": plain(work.blasts),
        "blasts_in_words": work.in_words,
        "reviews": plain(work.reviews),
        "until_certain": None if None in needed else max(filter(None, needed), default=0),
        "review_first": [int(each.path) for each in work.first],
        "in_words": {
            "findings": [each.in_words for each in standing.differential.findings],
            "ratio": standing.differential.ratio.in_words,
        },
    }


@router.get("/cases/{case_id}/differential/adjusted")
def adjusted(caller: Me, room: InRoom, case_id: CaseId) -> dict[str, Any]:
    """Give the shares with the model's errors taken out, by its test; it takes a second."""
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        check_not_blind(session, case, caller.user)
        check_same_model(room, case)
        read = cells_of(session, case, CellState.READ)
        predictions = [prediction_of(cell) for cell in read if cell.label or not cell.novel]
        key = case.public_id, case.version
        return plain_fields(room.adjusted.get(key, lambda: adjust(predictions, room.bundle)))
