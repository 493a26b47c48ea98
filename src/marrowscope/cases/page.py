"""The report on a case as one self-contained HTML page."""

from pathlib import Path

from marrowscope.cases.sheet import Sheet
from marrowscope.files.results import write_text
from marrowscope.pages import render


def write_page(sheet: Sheet, file: Path) -> None:
    """Write `report.html`: summary, table, cells that decide, the other cells, how it was made."""
    write_text(file, render("case.html.j2", sheet=sheet))
