"""Reviewed cells as a manifest that `train` takes: pictures, and the classes that people gave."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Select, func, select, true
from sqlalchemy.orm import Session

from marrowscope.data.manifest import manifest_file
from marrowscope.errors import NotThereError
from marrowscope.store.blobs import Blobs
from marrowscope.store.cases import is_visible_to
from marrowscope.store.enums import CaseState, CellState
from marrowscope.store.tables import Case, CaseCell, CellPlace, Field, Slide, User
from marrowscope.types import Cell

SOURCE = "reading-room"
DONE = (CaseState.REVIEWED, CaseState.SIGNED)
DECIDED = (CaseCell.label != "", CaseCell.state == CellState.READ)
"""Cells that a person gave a class, those removed from their field not among them."""
SCALE = func.coalesce(Field.um_per_px, Case.um_per_px)
"""Side of a pixel of a cell's picture, in micrometres: its field's, else the case's."""


@dataclass(frozen=True)
class Exported:
    """What went into a manifest, and what did not."""

    cells: int
    cases: int
    disputed: int
    """Cells left out, as the same picture has another class in another case."""
    in_drafts: int
    """Cells left out that people decided on in cases whose review is not done."""


def export_reviewed(
    session: Session,
    blobs: Blobs,
    file: Path,
    source: str = SOURCE,
    *,
    actor: User | None = None,
    place: Callable[[str], str] | None = None,
) -> Exported:
    """Write the cells that people decided on, of reviewed and signed cases, into a manifest.

    The case is the patient of its cells, so that a split keeps them together; the same picture in
    two cases keeps the two together. Paths lead to the pictures of the reading room, or to
    where `place` says for a SHA-256. Archived cases take part; only those that a user may see, if
    one is named.

    Raises:
        ManifestError: the file is named neither .csv nor .parquet.
        MissingExtraError: the file is named .parquet, and pyarrow is not installed.
        NotThereError: there is no such cell, or a picture is missing.
    """
    visible = true() if actor is None else is_visible_to(actor)
    disputed = _disputed(session, visible)
    cases: set[str] = set()
    cells = left_out = 0
    if not session.scalar(_count(visible, reviewed=True)):
        raise NotThereError(
            "no reviewed or signed case has a cell that a person decided on; review one first"
        )
    with manifest_file(file) as add:
        for cell in _cells(session, blobs, source, visible, place or blobs.location):
            if cell.sha256 in disputed:
                left_out += 1
                continue
            add(cell)
            cells += 1
            cases.add(cell.patient)
    return Exported(
        cells, len(cases), left_out, session.scalar(_count(visible, reviewed=False)) or 0
    )


def _cells(
    session: Session,
    blobs: Blobs,
    source: str,
    visible: ColumnElement[bool],
    place: Callable[[str], str],
) -> Iterator[Cell]:
    query = (
        select(Case.public_id, SCALE, Slide.name, CaseCell.sha256, CaseCell.label, Field.sha256)
        .join(CaseCell, CaseCell.case_id == Case.id)
        .join(Slide, Slide.id == CaseCell.slide_id)
        .join(CellPlace, CellPlace.cell_id == CaseCell.id, isouter=True)
        .join(Field, Field.id == CellPlace.field_id, isouter=True)
        .where(*DECIDED, Case.state.in_(DONE), visible)
        .order_by(CaseCell.id)
    )
    for case, um_per_px, slide, sha256, label, field in session.execute(query):
        if sha256 not in blobs:
            raise NotThereError(f"the picture {sha256} of the case {case} is missing; restore it")
        yield Cell(place(sha256), sha256, label, source, case, slide, field or "", um_per_px)


def _disputed(session: Session, visible: ColumnElement[bool]) -> frozenset[str]:
    """Give the pictures that have different classes in different cases that are done."""
    query = select(CaseCell.sha256).join(Case, Case.id == CaseCell.case_id)
    of_several = (
        query.where(*DECIDED, Case.state.in_(DONE), visible)
        .group_by(CaseCell.sha256)
        .having(func.count(CaseCell.label.distinct()) > 1)
    )
    return frozenset(session.scalars(of_several))


def _count(visible: ColumnElement[bool], *, reviewed: bool) -> Select[int]:
    state = Case.state.in_(DONE) if reviewed else Case.state.not_in(DONE)
    query = select(func.count()).select_from(CaseCell).join(Case, Case.id == CaseCell.case_id)
    return query.where(*DECIDED, state, visible)
