"""The report on a case as FHIR: `fhir.json`."""

from pathlib import Path

from marrowscope.cases.fhir import Facts, write_fhir
from marrowscope.cases.sheet import Sheet


def write_case_fhir(sheet: Sheet, file: Path) -> None:
    """Write `fhir.json`: preliminary and without a time, as who reads the report issues it.

    Raises:
        SettingsError: the case has no id.
    """
    reading = sheet.reading
    facts = facts_of(sheet)
    write_fhir(file, facts, reading.differential, reading.bundle, reading.adjusted)


def facts_of(sheet: Sheet) -> Facts:
    """Give what the FHIR report says of a case besides the figures."""
    case = sheet.reading.case
    stains = dict.fromkeys(slide.stain for slide in case.slides if slide.stain)
    remarks = (sheet.status, *sheet.caveats)
    return Facts(
        id=case.id,
        date=case.date,
        material=case.material,
        stain=", ".join(stains),
        slides=tuple(slide.name for slide in case.slides),
        remarks=tuple(words for words in remarks if words not in sheet.differential.notes),
    )
