"""What evaluations and comparisons print: tables for people, JSON for machines."""

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marrowscope.commands.domain_shift_output import show_domains
from marrowscope.evaluation.compare import Comparison, Difference, Pair
from marrowscope.evaluation.compare_page import as_dict
from marrowscope.evaluation.evaluate import Evaluation
from marrowscope.io.tables import without_nan
from marrowscope.metrics.classification import Interval
from marrowscope.metrics.summary import SetResult
from marrowscope.metrics.tolerance import tolerated_in_words
from marrowscope.model.bundle import digest

SHOWN_FIGURES = {
    "accuracy": "accuracy",
    "macro_precision": "precision",
    "macro_f1": "macro-F1",
    "kappa": "kappa",
}
"""Of each way of scoring, with their headings; all others are in `metrics.json`."""


def show_evaluation(result: Evaluation, as_json: bool) -> None:
    """Print the figures of each set of cells and what was left out.

    Raises:
        BundleError: a file of the bundle is not there.
    """
    for reject in result.rejects:
        print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
    if as_json:
        sets = {cell_set.name: asdict(cell_set) for cell_set in (*result.sets, *result.others)}
        domains = [asdict(domain) for domain in result.domains]
        values = {"grouped_by": result.grouped_by, "sets": sets, "domains": domains}
        values["bundle_sha256"] = digest(result.bundle)
        print(json.dumps(without_nan(values)))
        return
    table = Table(title=f"{result.bundle.name}: figures with 95% intervals")
    for heading in ("cells of", "n", "accuracy", "precision", "recall", "macro-F1"):
        table.add_column(heading, justify="left" if heading == "cells of" else "right")
    for cell_set in (*result.sets, *result.others):
        figures = (
            cell_set.accuracy,
            cell_set.macro_precision,
            cell_set.macro_recall,
            cell_set.macro_f1,
        )
        table.add_row(cell_set.name, f"{cell_set.cells:,}", *map(_in_words, figures))
    Console().print(table)
    widest = result.sets[-1]
    Console().print(_scores_table(widest))
    show_domains(result.domains)
    print(f"Tolerant: confusions of {tolerated_in_words()} count as right")
    print(f"Marrow mix: {result.prevalence.source}")
    for cell_set in (*result.sets, *result.others):
        _show_left_out(cell_set)
    print(f"Split by groups of: {result.grouped_by}")
    print(f"Bundle: {result.bundle.folder}, SHA-256 {digest(result.bundle)}")
    print(f"Figures: {result.folder}")


def show_comparison(result: Comparison, as_json: bool) -> None:
    """Print what differs between bundles, what they were compared on, and what was left out."""
    if as_json:
        print(json.dumps(as_dict(result), ensure_ascii=False))
        return
    for pair in result.pairs:
        Console().print(_pair_table(pair))
        for row in pair.headline:
            print(f"{row.figure}: {row.verdict}")
    print(f"Compared on {result.cells:,} cells in {result.groups:,} groups")
    print(f"Classes that all cover: {' '.join(result.classes)}")
    for words in result.left_out_in_words:
        print(f"left out: {words}")
    print("Of a class: recall; p of the exact McNemar test, by Holm. Not shown is not equal.")


def _pair_table(pair: Pair) -> Table:
    table = Table(title=escape(f"A: {pair.first}, B: {pair.other}"))
    table.add_column("", min_width=8)
    for heading in ("n", "A %", "B %", "B - A, 95%", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    for rows in (pair.headline, pair.classes):
        for row in rows:
            style = None if row.better else "dim"
            table.add_row(*_figures_in_words(row), pair.shortly(row), style=style)
        table.add_section()
    return table


def _figures_in_words(row: Difference) -> list[str]:
    interval = row.difference
    value = f"{100 * interval.value:z.1f}"
    if not math.isnan(interval.low):
        value += f"\n{100 * interval.low:z.1f} to {100 * interval.high:z.1f}"
    shares = (f"{100 * share:.1f}" for share in (row.first, row.other))
    p = f"{row.test.p_holm:.3f}".replace("0.000", "<0.001") if row.test else ""
    return [row.code or row.figure, f"{row.cells:,}", *shares, value, p]


def _scores_table(result: SetResult) -> Table:
    table = Table(title=f"{result.name}: scored in other ways")
    table.add_column("scored, class mix")
    for heading in SHOWN_FIGURES.values():
        table.add_column(heading, justify="right")
    for score in result.scores:
        shown = (_in_words(score.figures[name]) for name in SHOWN_FIGURES)
        table.add_row(f"{score.scoring}\n{score.mix} mix", *shown)
    return table


def _show_left_out(result: SetResult) -> None:
    """Print which cells are in no figure, or not in all of them."""
    if result.not_covered:
        print(f"{result.name}: left out, not covered: {_counts(result.not_covered)}")
    if result.without_cells:
        print(f"{result.name}: no true cell, so no figure: {', '.join(result.without_cells)}")
    print(f"{result.name}: of the marrow's mix, {result.mix_covered:.0%} has enough cells")
    if result.outside_mix:
        print(f"{result.name}: not weighed at the marrow's mix: {_counts(result.outside_mix)}")


def _counts(cells_of: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {cells}" for code, cells in cells_of.items())


def _in_words(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "too few cells"
    return f"{interval.value:.3f}\n{interval.low:.3f}-{interval.high:.3f}"
