"""What the commands of `marrowscope data` print: tables for people, JSON for machines."""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from marrowscope.data.audit.result import PAGE, Audit
from marrowscope.data.contact_sheet import Census
from marrowscope.data.manifest import Manifest
from marrowscope.data.pack import Pack
from marrowscope.data.read import DataRead
from marrowscope.data.split import HELD_OUT, Split
from marrowscope.taxonomy import CLASSES, in_order

PAIRS_IN_WORDS = {
    "duplicates": "of the same content",
    "copies": "of the same picture in other files",
    "overlaps": "that share pixels",
}


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
        for part, codes in in_one_part(one).items():
            print(
                f"In {part} alone: {' '.join(codes)}. Train cannot learn them: too few cells in "
                "each source (--min-stratum), or listed there"
            )
    for reason, cells in one.left_out.items():
        print(f"left out: {cells:,} cells {reason}")
    print(f"Kept together: {one.grouped_by}")
    print(f"Split: {folder}")


def in_one_part(split: Split) -> dict[str, list[str]]:
    """Give the codes of the classes that lie in one part alone and not in `train`, by that part.

    Classes that are all held out do not count. With all three plasma cells in `test`, and blasts
    in `train` and `test`, that is `{"test": ["PLM"]}`.
    """
    parts_of: dict[str, set[str]] = {}
    for row in split.rows:
        parts_of.setdefault(row.cell.label, set()).add(row.part)
    alone: dict[str, list[str]] = {}
    for code in in_order(parts_of):
        part, *others = parts_of[code]
        if not others and part not in ("train", HELD_OUT):
            alone.setdefault(part, []).append(code)
    return alone


def _parts_table(name: str, split: Split) -> Table:
    table = Table(title=f"Split {name} {split.hash[:12]}".replace("  ", " "))
    counts = Counter((row.cell.label, row.part) for row in split.rows)
    usual = ("train", "val", "test")
    present = {row.part for row in split.rows}
    parts = [*(part for part in usual if part in present), *sorted(present.difference(usual))]
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
