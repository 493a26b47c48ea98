"""The report on a case from the store, by the same functions as `marrowscope report`."""

import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from marrowscope.case import Case as SampleCase
from marrowscope.case import Slide as SampleSlide
from marrowscope.case_report import WRITERS
from marrowscope.decisions import Decision, Decisions
from marrowscope.differential import count
from marrowscope.errors import ConflictError
from marrowscope.fhir import FHIR, fhir_bundle
from marrowscope.fhir import Facts as FhirFacts
from marrowscope.reading import CaseCell, Reading, SlideReject, decided
from marrowscope.records import Prediction, Reject
from marrowscope.results import write_json
from marrowscope.sheet import Sheet, sheet_of
from marrowscope.store.kinds import CaseState, CellState
from marrowscope.store.moments import now
from marrowscope.store.tables import Case, Slide, User
from marrowscope.store.tables import CaseCell as CellRow
from marrowscope.tally import Tally
from marrowscope.web.room import Room

NAMES = (*WRITERS, FHIR)
"""Files of a report."""
NO_CHARACTER = re.compile(r"[^\w.-]")


def check_same_model(room: Room, case: Case) -> None:
    """Check that a case was read by the room's bundle.

    Raises:
        ConflictError: it was not read, or by another one.
    """
    if not case.model_sha256:
        raise ConflictError(f"no cell of the case {case.title} was read yet")
    if case.model_sha256 != room.bundle.model_sha256:
        raise ConflictError(
            f"the case {case.title} was read by the bundle {case.bundle} (model "
            f"{case.model_sha256[:12]}); start the server with that bundle for this"
        )


def cells_of(session: Session, case: Case, state: CellState) -> Sequence[CellRow]:
    """Give the cells of a case in a state, as they came."""
    query = select(CellRow).where(CellRow.case_id == case.id, CellRow.state == state)
    return session.scalars(query.order_by(CellRow.id)).all()


def machine_of(cell: CellRow, path: str) -> Prediction:
    """Give what the model read in a cell."""
    return Prediction(
        path,
        cell.machine,
        cell.probability,
        tuple(cell.probabilities),
        None if cell.set is None else tuple(cell.set),
        math.nan if cell.novelty is None else cell.novelty,
    )


def report_file(session: Session, room: Room, case: Case, name: str) -> bytes:
    """Write one file of the report on a case, and give its content.

    Raises:
        ConflictError: the case was not read, or by another bundle than the room's.
    """
    check_same_model(room, case)
    with tempfile.TemporaryDirectory(prefix="marrowscope-") as folder:
        sheet = signed(sheet_of(reading_of_case(session, room, case, Path(folder))), case)
        file = Path(folder) / name
        _writer(name, case)(sheet, file)
        return file.read_bytes()


def _writer(name: str, case: Case) -> Callable[[Sheet, Path], None]:
    return WRITERS[name] if name in WRITERS else lambda sheet, file: _write_fhir(sheet, file, case)


def signed(sheet: Sheet, case: Case) -> Sheet:
    """Give a report the names of those who reviewed and signed the case."""
    if case.state is CaseState.SIGNED and case.signer and case.signed_at:
        words = (
            f"Signed by {case.signer.name}, {case.signed_at:%Y-%m-%d %H:%M} UTC; seal "
            f"{case.seal[:16]}."
        )
    else:
        words = f"Not signed: {'reviewed' if case.state is CaseState.REVIEWED else 'a draft'}."
    return replace(sheet, status=f"{words} {sheet.status}")


def reading_of_case(session: Session, room: Room, case: Case, folder: Path) -> Reading:
    """Give a case as `marrowscope report` reads one; pictures get names in a folder for that."""
    slides = session.scalars(select(Slide).where(Slide.case_id == case.id).order_by(Slide.id)).all()
    names = {row[0]: row[1] for row in session.execute(select(User.id, User.name))}
    tally = Tally(room.bundle.novelty)
    cells = []
    for row in cells_of(session, case, CellState.READ):
        machine = machine_of(row, _named(room, row, folder))
        decision = _decision(row, machine.path, names)
        fate = tally.add_cell(decided(machine, decision))
        cells.append(CaseCell(row.slide.name, machine, decision, fate))
    rejects = tuple(_rejects(cells_of(session, case, CellState.REJECTED)))
    for each in rejects:
        tally.add(each.reject)
    return Reading(
        case=_sample(case, slides, folder),
        bundle=room.bundle,
        engine=room.settings.engine,
        cells=tuple(cells),
        rejects=rejects,
        decisions=Decisions({}),
        strays=(),
        tally=tally,
        differential=count(tally.gallery.cells, room.bundle.classes),
    )


def _named(room: Room, cell: CellRow, folder: Path) -> str:
    """Link a picture under its number and name, for tables and captions."""
    link = folder / f"{cell.id}_{NO_CHARACTER.sub('_', cell.file)[-60:]}"
    os.symlink(room.blobs.path(cell.sha256).absolute(), link)  # noqa: PTH211 - a link needs no handle
    return str(link)


def _decision(cell: CellRow, path: str, names: dict[int, str]) -> Decision | None:
    if not cell.label or cell.decided_by is None or cell.decided_at is None:
        return None
    return Decision(path, cell.label, names[cell.decided_by], cell.decided_at)


def _rejects(cells: Iterable[CellRow]) -> Iterator[SlideReject]:
    for cell in cells:
        yield SlideReject(cell.slide.name, Reject(f"{cell.id} {cell.file}", cell.reason))


def _sample(case: Case, slides: Sequence[Slide], folder: Path) -> SampleCase:
    return SampleCase(
        case.title,
        folder,
        tuple(SampleSlide(each.name, (), case.stain, case.um_per_px) for each in slides),
        case.date,
        case.material,
        case.stain,
    )


def _write_fhir(sheet: Sheet, file: Path, case: Case) -> None:
    sample = sheet.reading.case
    facts = FhirFacts(
        id=case.public_id,
        issued=case.signed_at or now(),
        date=sample.date,
        material=sample.material,
        stain=sample.stain,
        slides=tuple(slide.name for slide in sample.slides),
        remarks=(sheet.status, *sheet.caveats),
        signed_by=case.signer.name if case.signer else "",
    )
    write_json(file, fhir_bundle(facts, sheet.differential, sheet.reading.bundle))
