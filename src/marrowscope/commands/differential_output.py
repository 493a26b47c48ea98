"""The differential in the terminal: the table, and under it what it comes to."""

from collections.abc import Callable
from functools import partial

from rich.console import Console
from rich.table import Table

from marrowscope.differential.count import Differential, DifferentialRow, LineageRow
from marrowscope.differential.review_priority import Work
from marrowscope.differential.thresholds import BLASTS

MARKS = {"above": " high", "below": " low", "within": "", "open": "", "": ""}
SHOWN_WORK = 5
"""Cells to review that are named in the terminal; `differential.json` has more."""


def show_differential(differential: Differential, work: Work, console: Console) -> None:
    """Print the table, then blasts and plasma cells, what to count or review, and the M:E ratio."""
    console.print(differential_table(differential))
    say = partial(console.print, highlight=False, markup=False)
    for finding in differential.findings:
        say(finding.in_words, style="bold" if finding.known else "dim")
        for more in finding.more:
            say(f"  {more.in_words}")
        if finding.codes == BLASTS.codes:
            _show_work(work, say)
    say(differential.ratio.in_words, style="bold")
    say(f"  {differential.ratio.formula}", style="dim")
    say(differential.reference_note, style="dim")


def differential_table(differential: Differential) -> Table:
    """Lay the counted classes and their sums out; percentages are of the nucleated cells."""
    table = Table(title=f"Differential of {differential.counted:,} nucleated cells")
    table.add_column("class")
    table.add_column("")
    for heading in ("n", "%", "95% interval", "usual"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in differential.rows:
        table.add_row(row.code, row.name, *_figures(row), style=None if row.cells else "dim")
    table.add_section()
    for lineage in differential.lineages:
        if lineage.codes == BLASTS.codes:
            continue
        style = None if lineage.cells else "dim"
        table.add_row("sum", lineage.lineage.replace("+", " + "), *_figures(lineage), style=style)
    return table


def _figures(row: DifferentialRow | LineageRow) -> list[str]:
    interval = f"{row.low:.1f} - {row.high:.1f}"
    usual = f"{row.reference[0]:g} - {row.reference[1]:g}" if row.reference else ""
    return [f"{row.cells:,}", f"{row.percent:.1f}", interval, usual + MARKS[row.standing]]


def _show_work(work: Work, say: Callable[..., object]) -> None:
    if work.reviews:
        say(f"  {work.in_words}")
    for review in work.reviews:
        say(f"  {review.in_words}")
    if work.reviews and work.first:
        names = ", ".join(f"{cell.path} ({cell.chance:.0%})" for cell in work.first[:SHOWN_WORK])
        say(f"  Review first, with the chance to be a blast: {names}", style="dim")
