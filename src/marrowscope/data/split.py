"""Split cells into parts without leaks, seal the split by a hash, and check it when it is used."""

import csv
import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from marrowscope.errors import SplitError
from marrowscope.labels import cell_class
from marrowscope.records import Cell
from marrowscope.results import write_json

HELD_OUT = "held-out"
"""Part of the cells that no step may train, tune or be measured on (the shipped samples)."""

DEFAULT_SHARES = {"train": 0.7, "val": 0.15, "test": 0.15}
COLUMNS = ("sha256", "path", "label", "source", "group", "part")
SPLIT_FILE, SEAL_FILE = "split.csv", "split.json"


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

    @property
    def hash(self) -> str:
        """SHA-256 over content, class, group and part of every cell, in any order of rows."""
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


def split_cells(
    cells: Sequence[Cell],
    overlaps: Iterable[tuple[str, str]] = (),
    held_out: Collection[str] = (),
    *,
    shares: Mapping[str, float] = DEFAULT_SHARES,
    seed: int = 0,
    min_stratum: int = 20,
) -> Split:
    """Split by whole groups, stratified by source and class, independent of the order of rows.

    A group is what shares a patient, the same content, or pixels by `overlaps` (pairs of paths).
    Groups with a cell in `held_out` (SHA-256 of contents) go to the part `held-out`. In each
    stratum, shuffled groups go one by one to the part that is furthest below its share: of 10
    100 single cells at 70/15/15, 70 go to train, 15 to val and 15 to test. A stratum of fewer
    than `min_stratum` cells goes whole to the last part named in `shares`: too few to learn from,
    they still show how the model does on them.

    Raises:
        SplitError: the shares do not add up to 1, or an overlap names an unknown path.
    """
    if not shares or abs(sum(shares.values()) - 1) > 1e-9 or min(shares.values()) < 0:
        raise SplitError(f"shares must be at least 0 and add up to 1; got {dict(shares)}")
    ordered = sorted(cells, key=lambda cell: (cell.sha256, cell.path))
    groups = _groups(ordered, overlaps)
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    part_of = _hold_out(ordered, members, set(held_out))
    strata = _strata(ordered, members, part_of)
    shuffle = random.Random(seed)
    for groups_of_stratum in strata:
        part_of |= _allot(groups_of_stratum, dict(shares), min_stratum, shuffle)
    rows = tuple(
        SplitRow(cell, group, part_of[group]) for cell, group in zip(ordered, groups, strict=True)
    )
    by_patient = any(cell.patient for cell in cells)
    grouped_by = (
        "patient, same content and known overlaps"
        if by_patient
        else ("same content and known overlaps (no patient is known)")
    )
    return check_split(Split(rows, seed, grouped_by))


def _groups(cells: Sequence[Cell], overlaps: Iterable[tuple[str, str]]) -> list[int]:
    """Number the connected components of cells that share a patient, content or pixels."""
    index_of = {cell.path: index for index, cell in enumerate(cells)}
    edges: list[tuple[int, int]] = []
    first: dict[tuple[str, str], int] = {}
    for index, cell in enumerate(cells):
        edges.append((first.setdefault(("content", cell.sha256), index), index))
        if cell.patient:
            edges.append((first.setdefault(("patient", cell.patient), index), index))
    for a, b in overlaps:
        unknown = [path for path in (a, b) if path not in index_of]
        if unknown:
            raise SplitError(_unknown_overlap(unknown))
        edges.append((index_of[a], index_of[b]))
    pairs = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    graph = coo_array(
        (np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells))
    )
    _, numbers = connected_components(graph, directed=False)
    return [int(number) for number in numbers]


def _hold_out(
    cells: Sequence[Cell], members: Mapping[int, list[int]], held_out: Collection[str]
) -> dict[int, str]:
    return {
        group: HELD_OUT
        for group, indices in members.items()
        if any(cells[index].sha256 in held_out for index in indices)
    }


def _strata(
    cells: Sequence[Cell], members: Mapping[int, list[int]], allotted: Collection[int]
) -> list[dict[int, int]]:
    """Collect the groups still to allot by source and class of their first cell, with sizes."""
    strata: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for group, indices in members.items():
        if group not in allotted:
            first = cells[indices[0]]
            strata[first.source, first.label][group] = len(indices)
    return [groups for _, groups in sorted(strata.items())]


def _allot(
    sizes: Mapping[int, int], shares: Mapping[str, float], min_stratum: int, shuffle: random.Random
) -> dict[int, str]:
    total = sum(sizes.values())
    if total < min_stratum:
        return dict.fromkeys(sizes, list(shares)[-1])
    groups = list(sizes)
    shuffle.shuffle(groups)
    part_of: dict[int, str] = {}
    have = Counter[str]()
    for group in groups:
        part = max(shares, key=lambda name: shares[name] * total - have[name])
        part_of[group] = part
        have[part] += sizes[group]
    return part_of


def check_split(split: Split) -> Split:
    """Give the split back if no group and no content lies in two parts.

    Raises:
        SplitError: it leaks; the message names the files.
    """
    seen: dict[tuple[str, str | int], SplitRow] = {}
    for row in split.rows:
        for key in (("group", row.group), ("content", row.cell.sha256)):
            other = seen.setdefault(key, row)
            if other.part != row.part:
                raise SplitError(
                    f"the split leaks: {other.cell.path} ({other.part}) and {row.cell.path} "
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
                raise SplitError(_unknown_overlap([path]))
        for one, other in ((a, b), (b, a)):
            if part_of[one] == part and part_of[other] not in (part, HELD_OUT):
                sharing.add(one)
    return sharing


def _unknown_overlap(paths: Sequence[str]) -> str:
    return (
        f"the overlap list names {' and '.join(paths)}, which the data does not have; "
        "its paths must be those of the manifest"
    )


def write_split(split: Split, folder: Path) -> None:
    """Write `split.csv` and its seal `split.json` into a folder."""
    with (folder / SPLIT_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in split.rows:
            cell = row.cell
            writer.writerow([cell.sha256, cell.path, cell.label, cell.source, row.group, row.part])
    parts = Counter(row.part for row in split.rows)
    seal = {
        "hash": split.hash,
        "seed": split.seed,
        "grouped_by": split.grouped_by,
        "cells": dict(sorted(parts.items())),
    }
    write_json(folder / SEAL_FILE, seal)


def read_split(folder: Path) -> Split:
    """Read a split and check its seal and that it does not leak.

    Raises:
        SplitError: a file is missing or malformed, was changed after sealing, or leaks.
    """
    try:
        seal = json.loads((folder / SEAL_FILE).read_text(encoding="utf-8"))
        with (folder / SPLIT_FILE).open(newline="", encoding="utf-8") as file:
            rows = tuple(_to_row(row) for row in csv.DictReader(file))
        split = Split(rows, int(seal["seed"]), str(seal["grouped_by"]))
        sealed = str(seal["hash"])
    except OSError as error:
        raise SplitError(
            f"{folder}: no split there ({error.strerror}: {error.filename}); "
            f"give the folder of a run, with {SPLIT_FILE} and {SEAL_FILE}"
        ) from None
    except (KeyError, ValueError, TypeError) as error:
        raise SplitError(f"{folder}: its split cannot be read ({error!r})") from None
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


def read_overlaps(file: Path) -> list[tuple[str, str]]:
    """Read the pairs of a CSV with the columns `path_a` and `path_b`.

    Raises:
        SplitError: the file is missing or has no such columns.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return [(row["path_a"], row["path_b"]) for row in csv.DictReader(lines)]
    except OSError as error:
        raise SplitError(f"{file}: the overlap list cannot be read: {error.strerror}") from None
    except KeyError as error:
        raise SplitError(f"{file}: the overlap list has no column {error}") from None
