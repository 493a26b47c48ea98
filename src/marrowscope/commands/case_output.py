"""What `marrowscope report` prints."""

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from marrowscope.cases.exports import summary
from marrowscope.cases.report import WRITERS
from marrowscope.cases.report_content import Sheet
from marrowscope.commands.classify_output import SHOWN_REJECTS
from marrowscope.commands.differential_output import differential_table
from marrowscope.io.tables import without_nan


def show_report(sheet: Sheet, folder: Path, as_json: bool) -> None:
    """Print the figures that are looked for first, the differential and where the files are."""
    if as_json:
        print(json.dumps(without_nan(summary(sheet)), ensure_ascii=False))
        return
    console = Console()
    print(f"{sheet.title}. {sheet.status}")
    if sheet.reading.cells:
        console.print(differential_table(sheet.differential))
    for key in sheet.keys:
        words = ", ".join(filter(None, (key.value, key.interval)))
        console.print(f"{key.name}: [bold]{words}[/bold] {escape(key.alert)}")
    for line in sheet.caveats:
        console.print(f"[yellow]{escape(line)}[/yellow]")
    _show_rejects(sheet)
    for name, fields in sheet.reading.fields.items():
        for line in fields.in_words:
            print(f"Slide {name}: {line}")
    print(f"Report: {', '.join(str(folder / name) for name in WRITERS)}")


def _show_rejects(sheet: Sheet) -> None:
    rejects = sheet.reading.rejects
    for reject in rejects[:SHOWN_REJECTS]:
        where = f"slide {reject.slide}, {reject.reject.path}"
        print(f"rejected: {where}: {reject.reject.reason}", file=sys.stderr)
    if len(rejects) > SHOWN_REJECTS:
        print(f"{len(rejects) - SHOWN_REJECTS:,} more are in cells.csv", file=sys.stderr)
