"""Labelled cells that have nothing to do with a split, such as another laboratory's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marrowscope.data.manifest import Manifest
from marrowscope.data.partition import grouped_by, number_groups
from marrowscope.data.read import parse_source
from marrowscope.data.split import HELD_OUT, Split, SplitRow
from marrowscope.errors import SplitError
from marrowscope.types import Cell

TEST = "test"
NAMED_LEAKS = 5
"""Leaking cells that an error names."""


@dataclass(frozen=True)
class Other:
    """A further labelled set, and the name that its figures and files get."""

    name: str
    manifest: Manifest


@dataclass(frozen=True)
class OtherRows:
    """The cells of a further set that the model was not trained or chosen on."""

    name: str
    manifest: Manifest
    rows: tuple[SplitRow, ...]
    grouped_by: str
    """What its groups are, in words."""
    leaks: tuple[str, ...]
    """Paths of the cells left out because the model has seen them."""


def other_of(text: str) -> tuple[str, Path]:
    """Read `NAME=PATH`, or a path alone: the name is then the folder's, or the file's.

    A file's suffix is no part of it: `ours/cells.csv` is called `cells`.
    """
    name, path = parse_source(text)
    return name or (path.resolve().name if path.is_dir() else path.stem), path


def check_others(
    others: Sequence[Other], split: Split, leave_out_leaks: bool
) -> tuple[OtherRows, ...]:
    """Give the cells of each further set; a cell of the training is an error, or left out.

    A cell leaks if its content is in a part of the split that is neither `test` nor held out.

    Raises:
        SplitError: a name is taken or cannot be that of a file, cells leak and are not to be left
            out, or all cells of a set leak.
    """
    taken = {row.cell.source.lower() for row in split.rows} | {"all"}
    for other in others:
        _check_name(other.name, taken)
        taken.add(other.name.lower())
    part_of = {row.cell.sha256: row.part for row in split.rows if row.part not in {TEST, HELD_OUT}}
    return tuple(_without_leaks(other, part_of, leave_out_leaks) for other in others)


def _check_name(name: str, taken: set[str]) -> None:
    if not name or not all(c.isalnum() or c in "-_" for c in name):
        raise SplitError(
            f"another set cannot be called {name!r}: files are named by it, so it may have "
            "letters, digits, - and _; give --other NAME=PATH"
        )
    if name.lower() in taken:
        raise SplitError(
            f"there are already figures of {name!r}, a source of the split, another set or all "
            "cells; give --other NAME=PATH with a name of its own"
        )


def _without_leaks(other: Other, part_of: dict[str, str], leave_out: bool) -> OtherRows:
    cells = other.manifest.cells
    leaks = tuple(cell for cell in cells if cell.sha256 in part_of)
    if leaks and not leave_out:
        raise SplitError(
            f"{len(leaks):,} of {len(cells):,} cells of {other.name!r} are cells of the training "
            f"({_named(leaks, part_of)}); give data that the model has not seen, or "
            "--leave-out-leaks to leave them out"
        )
    clean = [cell for cell in cells if cell.sha256 not in part_of]
    if not clean:
        raise SplitError(
            f"all {len(cells):,} cells of {other.name!r} are cells of the training; give data "
            "that the model has not seen"
        )
    rows = tuple(
        SplitRow(cell, group, other.name)
        for cell, group in zip(clean, number_groups(clean), strict=True)
    )
    paths = tuple(cell.path for cell in leaks)
    return OtherRows(other.name, other.manifest, rows, grouped_by(clean, None), paths)


def _named(leaks: Sequence[Cell], part_of: dict[str, str]) -> str:
    named = ", ".join(f"{cell.path} ({part_of[cell.sha256]})" for cell in leaks[:NAMED_LEAKS])
    more = len(leaks) - NAMED_LEAKS
    return named + (f", and {more:,} more" if more > 0 else "")
