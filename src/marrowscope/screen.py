"""What the commands print: tables for people, JSON for machines."""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marrowscope.bundle import Bundle
from marrowscope.classify import REPORT, Classified
from marrowscope.data.audit import Audit
from marrowscope.data.manifest import Manifest
from marrowscope.differential import Differential
from marrowscope.evaluate import Evaluation
from marrowscope.metrics import Interval
from marrowscope.results import REJECTS

if TYPE_CHECKING:
    from marrowscope.train.export import Exported
    from marrowscope.train.fit import Trained

SHOWN_REJECTS = 10


def show_classified(result: Classified, bundle: Bundle) -> None:
    """Print the differential, what was rejected and where the files are."""
    console = Console()
    if result.cells:
        console.print(differential_table(result.differential))
    for row in result.differential.excluded:
        if row.cells:
            console.print(f"not counted: {row.cells:,} {row.name.lower()} ({row.code})")
    for note in result.differential.notes:
        console.print(f"[yellow]{escape(note)}[/yellow]")
    console.print(f"[dim]{escape(bundle.evaluation_in_words)}[/dim]")
    _show_rejects(result)
    print(f"{result.cells:,} cells read, {len(result.rejects):,} inputs rejected")
    print(f"Report: {result.folder / REPORT}")


def differential_table(differential: Differential) -> Table:
    """Lay the counted classes out as a table; percentages are of the nucleated cells."""
    table = Table(title=f"Differential of {differential.counted:,} nucleated cells")
    table.add_column("class")
    table.add_column("")
    for heading in ("n", "%", "95% interval"):
        table.add_column(heading, justify="right")
    for row in differential.rows:
        interval = f"{row.low:.1f} - {row.high:.1f}"
        style = None if row.cells else "dim"
        table.add_row(
            row.code, row.name, f"{row.cells:,}", f"{row.percent:.1f}", interval, style=style
        )
    return table


def _show_rejects(result: Classified) -> None:
    for reject in result.rejects[:SHOWN_REJECTS]:
        print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
    more = len(result.rejects) - SHOWN_REJECTS
    if more > 0:
        print(f"{more:,} more are in {result.folder / REJECTS}", file=sys.stderr)


def show_manifest(manifest: Manifest, quiet: bool) -> None:
    """Print how many cells were read, and on the error stream each reject."""
    for reject in manifest.rejects:
        print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
    if not quiet:
        print(f"{len(manifest.cells):,} cells read, {len(manifest.rejects):,} rejected")


def show_audit(result: Audit, folder: Path, as_json: bool) -> None:
    """Print what an audit counted and where its lists are."""
    summary = result.summary()
    if as_json:
        print(json.dumps(summary))
        return
    print(f"{summary['cells']:,} cells, {summary['rejected']:,} rejected")
    for what in ("duplicates", "overlaps"):
        of_two = summary[f"{what}_of_two_classes"]
        print(f"{summary[what]:,} pairs of {what}, {of_two:,} of them across classes")
    print(f"Lists: {folder}")


def show_trained(result: "Trained", as_json: bool) -> None:
    """Print which classes were learnt, how well, and where the run is."""
    if as_json:
        values = asdict(result) | {"folder": str(result.folder)}
        print(json.dumps(values))
        return
    print(f"learnt: {' '.join(result.classes)}")
    for code, reason in result.left_out.items():
        print(f"left out: {code}: {reason}")
    print(f"best validation macro-F1: {result.best_macro_f1:.4f}")
    print(f"Run: {result.folder}")


def show_exported(result: "Exported", as_json: bool) -> None:
    """Print how well the bundle agrees with its run, and where it is."""
    if as_json:
        values = {"folder": str(result.bundle.folder), "agreement": list(result.agreement)}
        print(json.dumps(values))
        return
    for line in result.agreement:
        print(line)
    size = result.bundle.model_file.stat().st_size / 1e6
    print(f"Bundle: {result.bundle.folder} ({size:.1f} MB)")


def show_evaluation(result: Evaluation, as_json: bool) -> None:
    """Print the figures of each set of cells and what was left out."""
    for reject in result.rejects:
        print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
    if as_json:
        print(json.dumps({each.name: asdict(each) for each in result.sets}))
        return
    table = Table(title=f"{result.bundle.name}: figures with 95% intervals")
    for heading in ("cells of", "n", "accuracy", "precision", "recall", "macro-F1"):
        table.add_column(heading, justify="left" if heading == "cells of" else "right")
    for each in result.sets:
        figures = (each.accuracy, each.macro_precision, each.macro_recall, each.macro_f1)
        table.add_row(each.name, f"{each.cells:,}", *map(_in_words, figures))
    Console().print(table)
    for each in result.sets:
        left_out = ", ".join(f"{code} {cells}" for code, cells in each.not_covered.items())
        if left_out:
            print(f"{each.name}: left out, not covered: {left_out}")
    print(f"Figures: {result.folder}")


def _in_words(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "too few cells"
    return f"{interval.value:.3f}\n{interval.low:.3f}-{interval.high:.3f}"
