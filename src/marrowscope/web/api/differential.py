"""The differential of a case as it stands, and which cells to review until it is certain."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from marrowscope.differential.accumulator import Tally
from marrowscope.differential.error_correction import adjust
from marrowscope.store.blind_reading import find_open_reading, labels_in
from marrowscope.store.case_model import check_model
from marrowscope.store.cases import find_case
from marrowscope.store.live_count import CaseCount, case_predictions, count_case
from marrowscope.taxonomy import CLASSES
from marrowscope.web.api.schemas import plain, plain_fields
from marrowscope.web.auth import InRoom, Me
from marrowscope.web.blind_view import check_not_blind
from marrowscope.web.params import CaseId

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
            code=row.code,
            name=row.name,
            lineage=row.lineage,
            counted=row.counted,
            covered=row.code in room.bundle.classes,
        )
        for row in CLASSES.values()
    ]


@router.get("/cases/{case_id}/differential")
def differential(caller: Me, room: InRoom, case_id: CaseId) -> dict[str, Any]:
    """Count a case as it stands for you, with limits, thresholds and what to review first.

    While you read it blind, your own classes count and no other person's.
    """
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        reading = find_open_reading(session, case, caller.user)
        key = case.public_id, case.version, reading and reading.id

        def count_now() -> CaseCount:
            blind = labels_in(session, reading) if reading else None
            return count_case(session, case, room.bundle, blind=blind)

        return _out(room.counts.get(key, count_now))


def _out(counted: CaseCount) -> dict[str, Any]:
    """Give a count; `until_certain` is how many reviews the hardest open threshold needs."""
    work, counts = counted.work, counted.differential
    needed = [review.reviews for review in work.reviews]
    return plain_fields(counts) | {
        "version": counted.version,
        "fates": {fate.value: cells for fate, cells in counted.fates.items()},
        "blasts": plain(work.blasts),
        "blasts_in_words": work.in_words,
        "reviews": plain(work.reviews),
        "until_certain": None if None in needed else max(filter(None, needed), default=0),
        "review_first": [int(cell.path) for cell in work.first],
        "in_words": {
            "findings": [finding.in_words for finding in counts.findings],
            "ratio": counts.ratio.in_words,
        },
    }


@router.get("/cases/{case_id}/differential/adjusted")
def adjusted(caller: Me, room: InRoom, case_id: CaseId) -> dict[str, Any]:
    """Give the shares of blasts and plasma cells less the model's errors on its test cells.

    It takes a second, and is refused while you read the case blind.
    """
    with room.store.read() as session:
        case = find_case(session, caller.user, case_id)
        check_not_blind(session, case, caller.user)
        check_model(case, room.bundle)
        tally = Tally(room.bundle.novelty)
        counted_cells = [
            prediction
            for prediction in case_predictions(session, case)
            if not tally.sets_aside(prediction)
        ]
        key = case.public_id, case.version
        return plain_fields(room.adjusted.get(key, lambda: adjust(counted_cells, room.bundle)))
