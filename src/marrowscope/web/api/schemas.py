"""What the interface gives of cases and cells."""

import math
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy.orm import Session

from marrowscope.store.blind_reading import find_open_reading
from marrowscope.store.boxes import cells_by_field
from marrowscope.store.cells import Progress, case_progress
from marrowscope.store.enums import CaseState, CellState, JobState
from marrowscope.store.fields import fields_by_state
from marrowscope.store.jobs import list_jobs
from marrowscope.store.tables import Case, Job, User
from marrowscope.web.blind_view import SeenCell


class ProgressOut(BaseModel):
    """Cells of a case by their state; of those read, `decided` by a person."""

    waiting: int
    read: int
    rejected: int
    decided: int
    total: int


class JobOut(BaseModel):
    """A job of the server for a case: it reads cells, or finds them on whole fields."""

    id: int
    kind: str
    state: JobState
    done: int
    total: int
    attempts: int
    error: str
    changed_at: datetime


class CaseOut(BaseModel):
    """A case."""

    id: str
    title: str
    date: str
    material: str
    stain: str
    um_per_px: float | None
    state: CaseState
    owner: str
    version: int
    bundle: str
    bundle_sha256: str
    """Of the whole bundle that read the case; empty before it was read, and where `model_sha256`
    alone is known, as the case was read before this was kept."""
    model_sha256: str
    """Of its weights alone."""
    classes: list[str]
    created_at: datetime
    changed_at: datetime
    archived_at: datetime | None
    reviewed_by: str | None
    reviewed_at: datetime | None
    signed_by: str | None
    signed_at: datetime | None
    seal: str
    progress: ProgressOut


class FieldsProgress(BaseModel):
    """Whole fields of a case by their state."""

    waiting: int
    found: int
    flagged: int
    rejected: int
    total: int
    removed: int
    """Cells that were found on them and removed by a person."""


class CaseFull(CaseOut):
    """A case with its latest job, its fields by state and whether who asks reads it blind."""

    job: JobOut | None
    blind: bool
    fields: FieldsProgress


class Guess(BaseModel):
    """A class and its probability, 0..1."""

    code: str
    probability: float


class CellOut(BaseModel):
    """A cell as who asks sees it."""

    id: int
    file: str
    slide: str
    sha256: str
    width: int
    height: int
    state: CellState
    label: str
    """The class that counts: a person's, else the model's."""
    decided: bool
    decided_by: str
    decided_at: datetime | None
    machine: str
    probability: float
    margin: float
    guesses: list[Guess]
    """The three likeliest classes."""
    set: list[str] | None
    novelty: float | None
    novel: bool
    reason: str


def progress_out(progress: Progress) -> ProgressOut:
    """Give the progress of a case."""
    return ProgressOut(
        waiting=progress.waiting,
        read=progress.read,
        rejected=progress.rejected,
        decided=progress.decided,
        total=progress.total,
    )


def job_out(job: Job) -> JobOut:
    """Give a job."""
    return JobOut.model_validate(job, from_attributes=True)


def case_out(case: Case, progress: Progress) -> CaseOut:
    """Give a case; within a session, as it looks names up."""
    return CaseOut.model_validate(_fields(case) | {"progress": progress_out(progress)})


def case_full(session: Session, case: Case, who: User) -> CaseFull:
    """Give a case with its progress, fields and latest job, and whether a user reads it blind.

    To who reads it blind, no cell counts as decided.
    """
    blind = find_open_reading(session, case, who) is not None
    job = next(iter(list_jobs(session, case, 1)), None)
    progress = progress_out(case_progress(session, case))
    if blind:
        progress.decided = 0
    states = {state.value: number for state, number in fields_by_state(session, case).items()}
    removed = sum(gone for _, gone in cells_by_field(session, case).values())
    fields = FieldsProgress(**states, total=sum(states.values()), removed=removed)
    more = {"progress": progress, "job": job and job_out(job), "blind": blind, "fields": fields}
    return CaseFull.model_validate(_fields(case) | more)


def _fields(case: Case) -> dict[str, object]:
    named = {
        "id": case.public_id,
        "owner": case.owner.name,
        "reviewed_by": case.reviewer and case.reviewer.name,
        "signed_by": case.signer and case.signer.name,
    }
    same = set(CaseOut.model_fields) - set(named) - {"progress"}
    return named | {name: getattr(case, name) for name in same}


def cell_out(view: SeenCell, classes: list[str]) -> CellOut:
    """Give a cell; within a session, as it looks its slide up."""
    cell = view.cell
    ranked = sorted(zip(cell.probabilities, classes, strict=False), reverse=True)[:3]
    return CellOut(
        id=cell.id,
        file=cell.file,
        slide=cell.slide.name,
        sha256=cell.sha256,
        width=cell.width,
        height=cell.height,
        state=cell.state,
        label=view.counts_as,
        decided=bool(view.label),
        decided_by=view.by,
        decided_at=view.at,
        machine=cell.machine,
        probability=cell.probability,
        margin=cell.margin,
        guesses=[Guess(code=code, probability=chance) for chance, code in ranked],
        set=cell.set,
        novelty=cell.novelty,
        novel=cell.novel,
        reason=cell.reason,
    )


def plain(value: Any) -> Any:
    """Give records, lists and numbers as JSON knows them; NaN and infinity become null."""
    if is_dataclass(value):
        return plain_fields(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def plain_fields(record: Any) -> dict[str, Any]:
    """Give a record by the names of its fields."""
    return {field.name: plain(getattr(record, field.name)) for field in fields(record)}
