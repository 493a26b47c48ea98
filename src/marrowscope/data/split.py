"""A split: which part each cell belongs to, sealed by a hash and checked wherever it is used."""

import csv
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path

from marrowscope.errors import SplitError
from marrowscope.io.csv_safety import as_it_was
from marrowscope.io.tables import csv_file, read_csv, write_json
from marrowscope.taxonomy import cell_class
from marrowscope.types import Cell

HELD_OUT = "held-out"
"""Part of the cells that no step may train, tune or be measured on (the shipped samples)."""

COLUMNS = ("sha256", "path", "label", "source", "group", "part")
SPLIT_FILE, SEAL_FILE = "split.csv", "split.json"
PAIR_FILES = ("overlaps.csv", "duplicates.csv")
"""What an audit writes, and a split keeps together."""
DAMAGED_FILE = "damaged.csv"
UNUSABLE = ("unreadable", "damaged")
"""Kinds in `damaged.csv` that a split leaves out; other kinds are only worth a look."""


@dataclass(frozen=True)
class SplitRow:
    """A cell, the group that must stay together, and the part it belongs to."""

    cell: Cell
    group: int
    part: str


@dataclass(frozen=True)
class Split:
    """Which part each cell belongs to, and how that came about."""

    rows: tuple[SplitRow, ...]
    seed: int
    grouped_by: str
    """What keeps cells together, in words; it goes with every figure."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Cells of the data that are in no part, by reason."""

    @property
    def hash(self) -> str:
        """SHA-256 over content, class, group and part of every cell, whatever the order of rows."""
        lines = sorted(
            f"{row.cell.sha256},{row.cell.label},{row.group},{row.part}" for row in self.rows
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def part(self, name: str) -> tuple[SplitRow, ...]:
        """Give the rows of one part.

        Raises:
            SplitError: the split has no such part.
        """
        rows = tuple(row for row in self.rows if row.part == name)
        if not rows:
            parts = sorted({row.part for row in self.rows})
            raise SplitError(f"the split has no part {name!r}; it has {', '.join(parts)}")
        return rows


def check_split(split: Split) -> Split:
    """Give the split back if no group and no content lies in two parts.

    Raises:
        SplitError: it leaks; the message names the files.
    """
    row_of: dict[tuple[str, str | int], SplitRow] = {}
    for row in split.rows:
        for key in (("group", row.group), ("content", row.cell.sha256)):
            first = row_of.setdefault(key, row)
            if first.part != row.part:
                raise SplitError(
                    f"the split leaks: {first.cell.path} ({first.part}) and {row.cell.path} "
                    f"({row.part}) have the same {key[0]}; make the split again"
                )
    return split


def sharing_pixels(split: Split, overlaps: Iterable[tuple[str, str]], part: str) -> set[str]:
    """Give the paths of a part's cells that share pixels with a cell of another part.

    Held-out cells are seen by no model, so sharing pixels with them does no harm.

    Raises:
        SplitError: an overlap names a path that the split does not have.
    """
    part_of = {row.cell.path: row.part for row in split.rows}
    sharing = set()
    for a, b in overlaps:
        for path in (a, b):
            if path not in part_of:
                raise unknown_pair([path])
        for path_here, path_there in ((a, b), (b, a)):
            if part_of[path_here] == part and part_of[path_there] not in (part, HELD_OUT):
                sharing.add(path_here)
    return sharing


def located(rows: Sequence[SplitRow], cells: Iterable[Cell], part: str) -> list[SplitRow]:
    """Give rows of a part with their cells as a manifest has them: where they lie, their scale.

    Copies of one file are each found once: the first row takes the first path, and so on.

    Raises:
        SplitError: the manifest lacks a cell.
    """
    copies: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell.path):
        copies[cell.sha256, cell.label].append(cell)
    keys = [(row.cell.sha256, row.cell.label) for row in rows]
    lost = [row.cell.path for row, key in zip(rows, keys, strict=True) if key not in copies]
    if lost:
        raise SplitError(
            f"{len(lost)} of {len(rows)} cells of the part {part!r} are not in the data given "
            f"(the first: {lost[0]}); give the data that the split was made from"
        )
    in_turn = {key: cycle(copies[key]) for key in keys}
    matched = [next(in_turn[key]) for key in keys]
    return [
        replace(row, cell=replace(row.cell, path=cell.path, um_per_px=cell.um_per_px))
        for row, cell in zip(rows, matched, strict=True)
    ]


def unknown_pair(paths: Sequence[str]) -> SplitError:
    """Give the error that says that a list of pairs names paths that the data does not have."""
    return SplitError(
        f"the list of pairs names {' and '.join(paths)}, which the data does not have; "
        "its paths must be those of the manifest"
    )


def write_split(split: Split, folder: Path) -> None:
    """Write `split.csv` and its seal `split.json` into a folder, made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    with csv_file(folder / SPLIT_FILE, COLUMNS) as rows:
        for row in split.rows:
            cell = row.cell
            rows.writerow(
                [cell.sha256, cell.path, cell.label, cell.source, str(row.group), row.part]
            )
    parts = Counter(row.part for row in split.rows)
    seal = {
        "hash": split.hash,
        "seed": split.seed,
        "grouped_by": split.grouped_by,
        "cells": dict(sorted(parts.items())),
        "left_out": dict(split.left_out),
    }
    write_json(folder / SEAL_FILE, seal)


def read_split(folder: Path) -> Split:
    """Read a split and check its seal and that it does not leak.

    Raises:
        SplitError: a file is missing or malformed, was changed after sealing, or leaks.
        UnknownClassError: a label is not a known class.
    """
    try:
        seal = json.loads((folder / SEAL_FILE).read_text(encoding="utf-8"))
        with (folder / SPLIT_FILE).open(newline="", encoding="utf-8") as file:
            rows = tuple(
                _to_row({key: as_it_was(value or "") for key, value in row.items() if key})
                for row in csv.DictReader(file)
            )
        left_out = dict(seal.get("left_out", {}))
        split = Split(rows, int(seal["seed"]), str(seal["grouped_by"]), left_out)
        sealed = str(seal["hash"])
    except OSError as error:
        raise SplitError(
            f"{folder}: no split there ({error.strerror}: {error.filename}); "
            f"give the folder of a run, with {SPLIT_FILE} and {SEAL_FILE}"
        ) from None
    except (LookupError, ValueError, TypeError, AttributeError, OverflowError, csv.Error) as error:
        raise SplitError(
            f"{folder}: its split cannot be read ({error!r}); make the split again"
        ) from None
    if split.hash != sealed:
        raise SplitError(
            f"{folder / SPLIT_FILE} was changed after it was sealed: its hash is "
            f"{split.hash[:12]}, the seal says {sealed[:12]}; make the split again"
        )
    return check_split(split)


def _to_row(row: Mapping[str, str]) -> SplitRow:
    label = cell_class(row["label"]).code
    return SplitRow(
        Cell(row["path"], row["sha256"], label, row["source"]), int(row["group"]), row["part"]
    )


def read_pairs(audit: Path) -> list[tuple[str, str]]:
    """Read the pairs of an audit's folder, or of one CSV with the columns `path_a` and `path_b`.

    Raises:
        SplitError: a file is missing, cannot be read or has no such columns.
    """
    files = [audit / name for name in PAIR_FILES] if audit.is_dir() else [audit]
    return [
        (row["path_a"], row["path_b"])
        for file in files
        for row in read_csv(file, ("path_a", "path_b"), SplitError)
    ]


def read_damaged(audit: Path | None) -> frozenset[str]:
    """Read the paths that an audit found unreadable or damaged.

    Without an audit, and in a lone list of pairs, there are none.

    Raises:
        SplitError: the folder has no such list, or one that cannot be read.
    """
    if audit is None or not audit.is_dir():
        return frozenset()
    rows = read_csv(audit / DAMAGED_FILE, ("path", "kind"), SplitError)
    return frozenset(row["path"] for row in rows if row["kind"] in UNUSABLE)
