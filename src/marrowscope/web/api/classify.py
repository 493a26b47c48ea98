"""Classify pictures at once, without a case; nothing of them is kept."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from marrowscope.differential.accumulator import Tally
from marrowscope.differential.count import count
from marrowscope.store.blobs import Blobs
from marrowscope.types import Picture, Prediction
from marrowscope.web.api.files import FILES, PARTS, RefusedOut, form_of, incoming
from marrowscope.web.api.schemas import Guess, plain
from marrowscope.web.auth import InRoom, Me
from marrowscope.web.state import Room
from marrowscope.web.uploads import Incoming, take_in

router = APIRouter(tags=["classify"])
Scale = Annotated[
    float | None,
    Query(ge=0.001, le=10, description="Side of a pixel on the slide, in micrometres."),
]


class Classified(BaseModel):
    """A picture and what the model read in it."""

    file: str
    label: str
    guesses: list[Guess]
    """All classes, the likeliest first."""
    novelty: float | None
    novel: bool
    """Unlike the known cells: not counted."""


class ClassifiedOut(BaseModel):
    """What the model read in pictures, and their differential."""

    bundle: str
    bundle_sha256: str
    model_sha256: str
    cells: list[Classified]
    refused: list[RefusedOut]
    differential: dict[str, Any]
    warning: str


@router.post("/classify", openapi_extra=form_of({"files": FILES}))
async def classify(
    request: Request,
    caller: Me,  # noqa: ARG001 - it needs a login
    room: InRoom,
    um_per_px: Scale = None,
) -> ClassifiedOut:
    """Classify pictures, as files or in zip archives, and count them; nothing of them is kept.

    The differential leaves out the cells that are `novel`. 422 says that `um_per_px` is missing
    where the model needs it, 503 that the model is still being loaded.
    """
    room.predictor()
    room.bundle.preprocessing.check_scale(um_per_px)
    async with request.form(max_files=PARTS, max_fields=PARTS) as form:
        files = incoming(form.getlist("files"))
        return await run_in_threadpool(_classify, room, files, um_per_px)


def _classify(room: Room, files: list[Incoming], um_per_px: float | None) -> ClassifiedOut:
    with tempfile.TemporaryDirectory(prefix="marrowscope-") as folder:
        blobs = Blobs(Path(folder))
        taken = take_in(files, blobs, room.settings.limits)
        pictures = [Picture(blobs.path(cell.sha256), um_per_px) for cell in taken.cells]
        outcomes = list(room.predictor().classify(pictures))
    tally, cells = Tally(room.bundle.novelty), []
    refused = [RefusedOut(file=file.file, reason=file.reason) for file in taken.refused]
    for cell, outcome in zip(taken.cells, outcomes, strict=True):
        tally.add(outcome)
        if isinstance(outcome, Prediction):
            cells.append(_cell(room, cell.file, outcome))
        else:
            refused.append(RefusedOut(file=cell.file, reason=outcome.reason))
    return ClassifiedOut(
        bundle=room.bundle.name,
        bundle_sha256=room.bundle.sha256,
        model_sha256=room.bundle.model_sha256,
        cells=cells,
        refused=refused,
        differential=plain(count(tally.gallery.cells, room.bundle.classes)),
        warning=room.bundle.evaluation_in_words,
    )


def _cell(room: Room, file: str, read: Prediction) -> Classified:
    ranked = sorted(zip(read.probabilities, room.bundle.classes, strict=True), reverse=True)
    novelty = room.bundle.novelty
    return Classified(
        file=file,
        label=read.label,
        guesses=[Guess(code=code, probability=chance) for chance, code in ranked],
        novelty=plain(read.novelty),
        novel=novelty is not None and novelty.is_novel(read.novelty),
    )
