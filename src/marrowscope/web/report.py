"""The files of a report on a case of the store, by the functions of `marrowscope report`."""

import tempfile
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from marrowscope.cases.fhir import FHIR, facts_of, write_fhir
from marrowscope.cases.report import WRITERS
from marrowscope.cases.report_content import Sheet, sheet_of
from marrowscope.store.enums import CaseState
from marrowscope.store.report_input import read_case_input
from marrowscope.store.tables import Case
from marrowscope.web.state import Room


def report_file(session: Session, room: Room, case: Case, name: str) -> bytes:
    """Write one file of the report on a case, one of `WRITERS`; give its content.

    Raises:
        StoreError: another model has read the case, cells still wait to be read, or fields to be
            looked at.
        BundleError: the bundle's test cells cannot be read.
    """
    engine = room.settings.engine
    reading = read_case_input(session, case, room.bundle, room.blobs, engine=engine)
    sheet = signed(sheet_of(reading), case)
    with tempfile.TemporaryDirectory(prefix="marrowscope-") as folder:
        file = Path(folder) / name
        if name == FHIR:
            _write_fhir(sheet, file, case)
        else:
            WRITERS[name](sheet, file)
        return file.read_bytes()


def signed(sheet: Sheet, case: Case) -> Sheet:
    """Give a report that says who signed the case, when and with which seal, or that nobody did."""
    if case.state is CaseState.SIGNED and case.signer and case.signed_at:
        words = (
            f"Signed by {case.signer.name}, {case.signed_at:%Y-%m-%d %H:%M} UTC; seal "
            f"{case.seal[:16]}."
        )
    else:
        words = f"Not signed: {'reviewed' if case.state is CaseState.REVIEWED else 'a draft'}."
    return replace(sheet, status=f"{words} {sheet.status}")


def _write_fhir(sheet: Sheet, file: Path, case: Case) -> None:
    """Write `fhir.json`: final, with name and time, once the case is signed."""
    facts, reading = facts_of(sheet), sheet.reading
    if case.state is CaseState.SIGNED and case.signer:
        facts = replace(facts, issued=case.signed_at, signed_by=case.signer.name)
    write_fhir(file, facts, sheet.differential, reading.bundle, reading.adjusted)
