"""A case of the store as the report takes it, with a loader for the images of its cells."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image
from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased, joinedload

from marrowscope.cases.case import Case as CaseFacts
from marrowscope.cases.case import Slide
from marrowscope.cases.classify_case import CaseCell as ReadCell
from marrowscope.cases.classify_case import Reading, SlideReject, adjusted_of, decided
from marrowscope.cases.reviews import Decision, Decisions
from marrowscope.detection.field_cells import OnFields, sum_up, why
from marrowscope.detection.results import Looked
from marrowscope.differential.accumulator import Tally
from marrowscope.differential.count import count
from marrowscope.differential.me_ratio import ICSH, Formula
from marrowscope.differential.reference_ranges import ADULT_MARROW, Norms
from marrowscope.errors import StoreError
from marrowscope.inference.thumbnails import ImageLoader
from marrowscope.io.images import decode_image
from marrowscope.model.bundle import Bundle
from marrowscope.store.blobs import Blobs
from marrowscope.store.boxes import cells_by_field
from marrowscope.store.case_model import check_model
from marrowscope.store.cells import machine_prediction
from marrowscope.store.enums import CellState, FieldState
from marrowscope.store.fields import list_fields
from marrowscope.store.tables import Case, CaseCell, CellDecision, Field, User
from marrowscope.types import Prediction, Reject

ODD = re.compile(r"[^\w.-]")
"""What the name of a cell may not have."""
LONGEST = 80


def read_case_input(
    session: Session,
    case: Case,
    bundle: Bundle,
    blobs: Blobs,
    *,
    engine: str = "onnxruntime",
    norms: Norms = ADULT_MARROW,
    formula: Formula = ICSH,
) -> Reading:
    """Give a case as `cases.report.report_case` takes it; it loads images from the blobs.

    A cell is named by its slide, its number and the name that its image came with. `engine` is
    what the report says the cells were read with. The bundle of a case that was read before its
    digest was kept has none.

    Raises:
        StoreError: another bundle has read the case, cells still wait to be read, or fields to be
            looked at.
        BundleError: the bundle's test cells cannot be read.
    """
    check_model(case, bundle)
    cells = _cells(session, case)
    names = {cell.id: _name(cell) for cell in cells}
    tally = Tally(bundle.novelty)
    decisions, overruled = _decisions(session, cells, names)
    classified = [
        _read(cell, names[cell.id], decisions.get(cell.id), tally)
        for cell in cells
        if cell.state is CellState.READ
    ]
    rejects = [
        SlideReject(cell.slide.name, Reject(names[cell.id], cell.reason))
        for cell in cells
        if cell.state is CellState.REJECTED
    ]
    fields = list_fields(session, case)
    rejects += list(_unread(fields))
    for reject in rejects:
        tally.add(reject.reject)
    return Reading(
        case=_facts(case, cells, fields),
        bundle=_as_known(case, bundle),
        engine=engine,
        cells=tuple(classified),
        rejects=tuple(rejects),
        decisions=Decisions(
            {names[number]: decision for number, decision in decisions.items()}, overruled
        ),
        strays=(),
        tally=tally,
        differential=count(tally.gallery.cells, bundle.classes, norms, formula),
        adjusted=adjusted_of(classified, bundle, tally),
        fields=_on_fields(session, case, fields),
        load=_loader(blobs, {names[cell.id]: cell.sha256 for cell in cells}),
    )


def _as_known(case: Case, bundle: Bundle) -> Bundle:
    """Give the bundle with what is known of the one that read the case."""
    earlier = bool(case.model_sha256) and not case.bundle_sha256
    return replace(bundle, sha256="") if earlier else bundle


def _unread(fields: Sequence[Field]) -> Iterator[SlideReject]:
    """Give the fields whose cells were not read, and why."""
    for field in fields:
        if field.state is FieldState.WAITING:
            raise StoreError(f"the cells of the field {field.file} are being found; wait for them")
        if field.state is not FieldState.FOUND:
            reason = field.reason or f"flagged, so its cells are not read: {why(field.flags)}"
            yield SlideReject(field.slide.name, Reject(field.file, reason))


def _on_fields(session: Session, case: Case, fields: Sequence[Field]) -> dict[str, OnFields]:
    """Sum up the fields of each slide; flags are those of fields that were read all the same."""
    cells = cells_by_field(session, case)
    of_slide: dict[str, list[Looked]] = {}
    for field in fields:
        flags = tuple(field.flags) if field.state is FieldState.FOUND else ()
        size = (field.width, field.height, field.um_per_px, field.scale)
        number = sum(cells.get(field.id, (0, 0)))
        looked = Looked(field.file, field.sha256, *size, flags, number, ())
        of_slide.setdefault(field.slide.name, []).append(looked)
    return {
        name: sum_up(slide_fields, keep_flagged=True) for name, slide_fields in of_slide.items()
    }


def _cells(session: Session, case: Case) -> Sequence[CaseCell]:
    query = select(CaseCell).where(CaseCell.case_id == case.id).order_by(CaseCell.id)
    cells = session.scalars(query.options(joinedload(CaseCell.slide))).all()
    if waiting := sum(cell.state is CellState.WAITING for cell in cells):
        raise StoreError(
            f"{waiting:,} cells of the case {case.title} wait to be read; report it after that"
        )
    return cells


def _name(cell: CaseCell) -> str:
    """Name a cell as a relative path, `SLIDE/NUMBER-FILE`; no part of it leads elsewhere."""
    slide = ODD.sub("_", cell.slide.name).strip(".") or "_"
    return f"{slide}/{cell.id}-{ODD.sub('_', cell.file)[-LONGEST:]}"


def _loader(blobs: Blobs, hashes: Mapping[str, str]) -> ImageLoader:
    """Give a loader of images by the names of their cells."""

    def load(prediction: Prediction) -> Image.Image:
        return decode_image(blobs.read(hashes[prediction.path]))

    return load


def _read(cell: CaseCell, name: str, decision: Decision | None, tally: Tally) -> ReadCell:
    machine: Prediction = machine_prediction(cell, name)
    return ReadCell(cell.slide.name, machine, decision, tally.add_cell(decided(machine, decision)))


def _decisions(
    session: Session, cells: Sequence[CaseCell], names: Mapping[int, str]
) -> tuple[dict[int, Decision], tuple[Decision, ...]]:
    """Give the decision that counts by the cell's number, and those overruled later.

    What was taken back is neither.
    """
    taken_back = aliased(CellDecision)
    query = (
        select(CellDecision, User.name)
        .join(User, User.id == CellDecision.user_id)
        .where(
            CellDecision.case_id.in_({cell.case_id for cell in cells}),
            CellDecision.reading_id.is_(None),
            CellDecision.undoes.is_(None),
            ~exists().where(taken_back.undoes == CellDecision.id),
        )
        .order_by(CellDecision.id)
    )
    counts: dict[int, Decision] = {}
    overruled: list[Decision] = []
    for row, name in session.execute(query):
        if earlier := counts.get(row.cell_id):
            overruled.append(earlier)
        counts[row.cell_id] = Decision(names[row.cell_id], row.after, name, row.at)
    return counts, tuple(overruled)


def _facts(case: Case, cells: Sequence[CaseCell], fields: Sequence[Field]) -> CaseFacts:
    rows = [cell.slide for cell in cells] + [field.slide for field in fields]
    names = dict.fromkeys(row.name for row in rows)
    slides = (Slide(name, (), case.stain, case.um_per_px) for name in names)
    return CaseFacts(case.title, Path(), tuple(slides), case.date, case.material, case.stain)
