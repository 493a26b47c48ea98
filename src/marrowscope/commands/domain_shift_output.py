"""The table of what a model loses on cells of other sources."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from marrowscope.metrics.classification import Interval
from marrowscope.metrics.domain_shift import Domain


def show_domains(domains: Sequence[Domain]) -> None:
    """Print each set beside its reference, on the classes that both have."""
    if not domains:
        return
    table = Table(title=f"Drop from {domains[0].reference}, on the classes that both sets have")
    for heading in ("cells of", "n", "macro-F1", "reference", "drop in points"):
        table.add_column(heading, justify="left" if heading == "cells of" else "right")
    for domain in domains:
        figures = (_in_words(domain.macro_f1), _in_words(domain.macro_f1_reference))
        table.add_row(
            domain.name, f"{domain.cells:,}", *figures, _in_words(domain.drop, points=100)
        )
    Console().print(table)
    for shift in domains:
        print(f"{shift.name}: {shift.verdict}; classes: {' '.join(shift.classes) or 'none'}")


def _in_words(interval: Interval, points: int = 1) -> str:
    if math.isnan(interval.value):
        return "-"
    decimals = 1 if points > 1 else 3
    value, low, high = (
        f"{points * number:z.{decimals}f}"
        for number in (interval.value, interval.low, interval.high)
    )
    return value if math.isnan(interval.low) else f"{value}\n{low} to {high}"
