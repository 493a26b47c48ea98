"""What the commands print: tables for people, JSON for machines."""

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marrowscope.adjusted import Adjusted
from marrowscope.bundle import Bundle
from marrowscope.classify import Classified
from marrowscope.compare import Comparison, Difference, Pair
from marrowscope.compare_page import as_dict
from marrowscope.data.findings import PAGE, Audit
from marrowscope.data.manifest import Manifest
from marrowscope.data.pack import Pack
from marrowscope.data.read import DataRead
from marrowscope.data.show import Census
from marrowscope.data.split import Split
from marrowscope.differential import Differential
from marrowscope.differential_table import show_differential
from marrowscope.doctor import Examined
from marrowscope.domains_table import show_domains
from marrowscope.evaluate import Evaluation
from marrowscope.figures import SetResult
from marrowscope.labels import CLASSES, in_order
from marrowscope.metrics import Interval
from marrowscope.results import REJECTS, without_nan
from marrowscope.resume import DIFFERENTIAL, REPORT
from marrowscope.review import Review
from marrowscope.tolerant import tolerated_in_words

if TYPE_CHECKING:
    from marrowscope.train.export import Exported
    from marrowscope.train.fit import Trained
    from marrowscope.train.tune import Tuned

SHOWN_REJECTS = 10
PAIRS_IN_WORDS = {
    "duplicates": "of the same content",
    "copies": "of the same picture in other files",
    "overlaps": "that share pixels",
}


def show_classified(result: Classified, bundle: Bundle) -> None:
    """Print the differential, what was rejected and where the files are."""
    console = Console()
    if result.cells:
        show_differential(result.differential, result.work, console)
    _show_adjusted(result.adjusted, result.differential)
    for row in result.differential.excluded:
        if row.cells:
            console.print(f"not counted: {row.cells:,} {row.name.lower()} ({row.code})")
    if result.review:
        _show_review(result.review)
    notes = (*result.differential.notes, result.novel_in_words(bundle))
    for note in filter(None, notes):
        console.print(f"[yellow]{escape(note)}[/yellow]")
    console.print(f"[dim]{escape(bundle.evaluation_in_words)}[/dim]")
    _show_rejects(result)
    for line in result.fields.in_words if result.fields else ():
        print(line)
    print(f"{result.cells:,} cells read, {result.rejected:,} inputs rejected")
    print(f"Report: {result.folder / REPORT}")


def _show_adjusted(adjusted: Adjusted, differential: Differential) -> None:
    """Print corrected shares beside the plain ones, and what they rest on."""
    plain = {finding.name: finding for finding in differential.findings}
    for share in adjusted.shares:
        counted = "" if share.percent is None else f"; as counted {plain[share.name].percent:.1f}%"
        print(f"{share.in_words}{counted}")
    for note in adjusted.notes:
        print(note)


def _show_review(review: Review) -> None:
    """Print how many cells the model abstains on, by the classes that they may be of."""
    print(f"{review.in_words}{', by what they may be:' if review.cells else ''}")
    for words, cells in review.shown.items():
        print(f"{cells:>7,}  {words}")
    if review.others:
        print(f"{review.others:>7,}  other sets: all are in {DIFFERENTIAL}")
    if review.note:
        print(review.note)


def _show_rejects(result: Classified) -> None:
    for reject in result.first_rejects[:SHOWN_REJECTS]:
        print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
    more = result.rejected - SHOWN_REJECTS
    if more > 0:
        print(f"{more:,} more are in {result.folder / REJECTS}", file=sys.stderr)


def show_examined(result: Examined, as_json: bool) -> None:
    """Print what the machine has, how fast it is, and what could be installed besides."""
    if as_json:
        print(json.dumps(asdict(result)))
        return
    machine = result.machine
    table = Table(show_header=False, box=None)
    gpus = ", ".join(machine.gpus) or "none that is used"
    for name, value in (
        ("marrowscope", f"{result.marrowscope}, Python {machine.python}, {machine.system}"),
        ("processor", f"{machine.processor}, {machine.cores} cores for this process"),
        ("instructions", ", ".join(machine.instructions) or "none that speed networks up"),
        ("memory", f"{machine.memory_gb:.1f} GB, {machine.memory_free_gb:.1f} GB free"),
        ("GPU", gpus),
        ("bundle", f"{result.bundle}, {result.precision}"),
    ):
        table.add_row(name, escape(value))
    for name, rate in result.engine_rates.items():
        chosen = "  <- used for many cells" if name == result.engine else ""
        table.add_row(f"engine {name}", f"{rate:.1f} cells a second{chosen}")
    table.add_row("from JPEG files", f"{result.cells_per_second:.1f} cells a second")
    Console().print(table)
    for what, line in result.missing.items():
        print(f"not installed: {what}; install it with: {line}")


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
    for what, words in PAIRS_IN_WORDS.items():
        of_two = summary[f"{what}_of_two_classes"]
        print(f"{summary[what]:,} pairs {words}, {of_two:,} of them with two labels")
    kinds = ", ".join(f"{summary[kind]:,} {kind}" for kind in ("unreadable", "damaged", "odd size"))
    print(f"Pictures: {kinds}")
    print(f"Lists: {folder}")
    print(f"Page: {folder / PAGE}")


def show_read(result: DataRead, as_json: bool) -> None:
    """Print what came of each source, and where the manifest and the rejects are."""
    if as_json:
        print(json.dumps(asdict(result), default=str))
        return
    for source in result.sources:
        cells = sum(source.cells.values())
        print(f"{source.path}: {cells:,} cells read, {source.rejects:,} rejected")
        print("  " + ", ".join(f"{code} {count:,}" for code, count in source.cells.items()))
    print(f"Manifest: {result.manifest}")
    print(f"Rejects: {result.rejects}")


def show_split(splits: Mapping[str, Split], folder: Path, as_json: bool) -> None:
    """Print the parts of each split by class, what was left out, and how cells were grouped."""
    if as_json:
        counts = {name: Counter(row.part for row in one.rows) for name, one in splits.items()}
        hashes = {name: one.hash for name, one in splits.items()}
        first = next(iter(splits.values()))
        grouping = {"grouped_by": first.grouped_by, "left_out": dict(first.left_out)}
        print(json.dumps({"folder": str(folder), "cells": counts, "hash": hashes} | grouping))
        return
    for name, one in splits.items():
        Console().print(_parts_table(name, one))
    for reason, cells in one.left_out.items():
        print(f"left out: {cells:,} cells {reason}")
    print(f"Kept together: {one.grouped_by}")
    print(f"Split: {folder}")


def _parts_table(name: str, split: Split) -> Table:
    table = Table(title=f"Split {name} {split.hash[:12]}".replace("  ", " "))
    counts = Counter((row.cell.label, row.part) for row in split.rows)
    usual = ("train", "val", "test")
    found = {row.part for row in split.rows}
    parts = [*(part for part in usual if part in found), *sorted(found.difference(usual))]
    table.add_column("class")
    for part in parts:
        table.add_column(part, justify="right")
    for code in in_order(label for label, _ in counts):
        table.add_row(code, *(f"{counts[code, part]:,}" for part in parts))
    totals = (sum(counts[code, part] for code in CLASSES) for part in parts)
    table.add_section()
    table.add_row("all", *(f"{total:,}" for total in totals))
    return table


def show_packed(result: Pack, as_json: bool) -> None:
    """Print how many cells were packed and what could not be read."""
    for reject in result.rejects:
        print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
    values = {"folder": str(result.folder), "cells": len(result.row_of)}
    values |= {"rejected": len(result.rejects), "bytes": result.pixels.nbytes}
    if as_json:
        print(json.dumps(values))
        return
    print(f"{len(result.row_of):,} cells packed, {len(result.rejects):,} rejected")
    print(f"Pack: {result.folder} ({result.pixels.nbytes / 1e6:,.1f} MB)")


def show_census(census: Census, page: Path, as_json: bool) -> None:
    """Print the cells of each class and source, and where the page is."""
    if as_json:
        print(json.dumps(census))
        return
    sources = sorted({source for counts in census.values() for source in counts})
    table = Table(title="Census")
    for heading in ("class", "", *sources):
        table.add_column(heading, justify="right" if heading in sources else "left")
    for code, counts in census.items():
        table.add_row(code, CLASSES[code].name, *(f"{counts.get(name, 0):,}" for name in sources))
    Console().print(table)
    print(f"Page: {page}")


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


def show_tuned(result: "Tuned", as_json: bool) -> None:
    """Print the best trial, what it changed, how many trials there were, and where they are."""
    if as_json:
        print(json.dumps(asdict(result), default=str))
        return
    print(f"{result.done:,} trials, {result.pruned:,} pruned, {result.failed:,} failed")
    print(f"best validation macro-F1: {result.best_macro_f1:.4f} (trial {result.best_trial})")
    for name, value in result.best.items():
        print(f"  {name} = {value}")
    print(f"Recipe: {result.folder / 'best.toml'}")
    print(f"Page: {result.folder / 'sweep.html'}")


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
        sets = {each.name: asdict(each) for each in (*result.sets, *result.others)}
        domains = [asdict(each) for each in result.domains]
        values = {"grouped_by": result.grouped_by, "sets": sets, "domains": domains}
        print(json.dumps(without_nan(values)))
        return
    table = Table(title=f"{result.bundle.name}: figures with 95% intervals")
    for heading in ("cells of", "n", "accuracy", "precision", "recall", "macro-F1"):
        table.add_column(heading, justify="left" if heading == "cells of" else "right")
    for each in (*result.sets, *result.others):
        figures = (each.accuracy, each.macro_precision, each.macro_recall, each.macro_f1)
        table.add_row(each.name, f"{each.cells:,}", *map(_in_words, figures))
    Console().print(table)
    widest = result.sets[-1]
    Console().print(_scores_table(widest))
    show_domains(result.domains)
    print(f"Tolerant: confusions of {tolerated_in_words()} count as right")
    print(f"Marrow mix: {result.prevalence.source}")
    for each in (*result.sets, *result.others):
        _show_left_out(each)
    print(f"Split by groups of: {result.grouped_by}")
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


SHOWN_FIGURES = {
    "accuracy": "accuracy",
    "macro_precision": "precision",
    "macro_f1": "macro-F1",
    "kappa": "kappa",
}
"""Of each way of scoring, with their headings; all others are in `metrics.json`."""


def _scores_table(result: SetResult) -> Table:
    table = Table(title=f"{result.name}: scored in other ways")
    table.add_column("scored, class mix")
    for heading in SHOWN_FIGURES.values():
        table.add_column(heading, justify="right")
    for each in result.scores:
        shown = (_in_words(each.figures[name]) for name in SHOWN_FIGURES)
        table.add_row(f"{each.scoring}\n{each.mix} mix", *shown)
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
