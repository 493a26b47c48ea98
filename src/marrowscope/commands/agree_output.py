"""The table of how two cases or two readers differ."""

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marrowscope.cases.agreement import Agreement, ClassShares


def show_agreement(agreement: Agreement) -> None:
    """Print the shares of each class and their differences, the agreement and what was left out."""
    console = Console()
    first, other = agreement.names
    title = escape(f"A: {first}, B: {other}")
    table = Table(title=title)
    table.add_column("class")
    for heading in ("A n", "A %", "B n", "B %", "B - A", "95% limits"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("shown")
    for row in agreement.rows:
        table.add_row(*_cells(row), style=None if row.more else "dim")
    console.print(table)
    counted = agreement.counted
    print(f"Counted into the differential: A {counted[0]:,}, B {counted[1]:,} cells")
    if agreement.same:
        print(agreement.same.in_words)
    for words in agreement.left_out:
        print(f"left out: {words}")
    print("A difference that is not shown may still be there: read the limits.")


def _cells(row: ClassShares) -> list[str]:
    shares = ("-" if math.isnan(percent) else f"{percent:.1f}" for percent in row.percent)
    (first, other), (one, two) = row.cells, shares
    shown = f"{row.more} more" if row.more else "no"
    return [row.code, f"{first:,}", one, f"{other:,}", two, *_difference(row), shown]


def _difference(row: ClassShares) -> tuple[str, str]:
    points = row.difference
    if math.isnan(points.value):
        return "-", "-"
    return f"{points.value:z.1f}", f"{points.low:z.1f} to {points.high:z.1f}"
