"""The files of a report on a case."""

from collections.abc import Callable
from pathlib import Path

from marrowscope.cases.classify_case import Reading
from marrowscope.cases.exports import write_cells, write_shares, write_summary
from marrowscope.cases.fhir import FHIR, write_case_fhir
from marrowscope.cases.pdf import write_pdf
from marrowscope.cases.report_content import Sheet, sheet_of
from marrowscope.io.tables import partial_of, prepare_folder, write_text
from marrowscope.rendering import render


def write_page(sheet: Sheet, file: Path) -> None:
    """Write `report.html`: summary, table, cells that decide, the other cells, how it was made."""
    write_text(file, render("case.html.j2", sheet=sheet))


REPORT = "report.html"
WRITERS: dict[str, Callable[[Sheet, Path], None]] = {
    "cells.csv": write_cells,
    "differential.csv": write_shares,
    REPORT: write_page,
    "report.pdf": write_pdf,
    FHIR: write_case_fhir,
    "differential.json": write_summary,
}
"""What writes each file; `differential.json` comes last: with it the report is finished."""
AGAIN = (
    "--resume to write the report again without reading its cells again, or --overwrite to start "
    "anew"
)


def report_files(folder: Path) -> list[Path]:
    """Name all files that a report may write into its folder, half-written ones too."""
    return [way(folder / name) for name in WRITERS for way in (Path, partial_of)]


def open_report(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """Make a folder ready for a report; `overwrite` removes the files of an earlier one.

    Raises:
        OutputError: it cannot be made, or holds something and must not be written to.
    """
    prepare_folder(folder, overwrite or resume, AGAIN)
    for file in report_files(folder) if overwrite else ():
        file.unlink(missing_ok=True)


def report_case(reading: Reading, folder: Path) -> Sheet:
    """Write all files of the report on a case.

    Raises:
        SettingsError: the case has no id.
        BundleError: the bundle's test cells cannot be read.
    """
    sheet = sheet_of(reading)
    for name, write in WRITERS.items():
        write(sheet, folder / name)
    return sheet
