"""What people decided about single cells: `reviews.csv`, whose labels go before the machine's."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from marrowscope.errors import CaseError, UnknownClassError
from marrowscope.io.tables import read_csv
from marrowscope.taxonomy import cell_class

COLUMNS = ("path", "label", "reviewer", "time")


@dataclass(frozen=True)
class Decision:
    """The class that a person gave a cell."""

    path: str
    """As written in the file."""
    label: str
    """Class code."""
    reviewer: str
    time: datetime
    """With a time zone; one that was given without is of this machine's zone."""


@dataclass(frozen=True)
class Decisions:
    """The decision that counts for each cell, by the real path of its picture."""

    of_cell: Mapping[str, Decision]
    overruled: tuple[Decision, ...] = ()
    """Decisions on cells that were decided on again later."""

    def of(self, path: Path | str) -> Decision | None:
        """Give what was decided about a picture; None for nothing."""
        return self.of_cell.get(os.path.realpath(path))


def read_decisions(file: Path) -> Decisions:
    """Read the columns path (from the file's folder), label, reviewer and time of a CSV.

    Of several decisions on one cell, the one with the latest time counts; at the same time, the
    one further down. Without a file there are none.

    Raises:
        CaseError: the file cannot be read or lacks a column; a label is no known class; a path
            or reviewer is empty, or a time is none.
    """
    all_of: dict[str, list[Decision]] = {}
    for row in decisions_in(file) if file.is_file() else ():
        all_of.setdefault(os.path.realpath(file.parent / row.path), []).append(row)
    of_cell = {path: max(reversed(rows), key=lambda row: row.time) for path, rows in all_of.items()}
    overruled = (row for path, rows in all_of.items() for row in rows if row is not of_cell[path])
    return Decisions(of_cell, tuple(overruled))


def decisions_in(file: Path) -> Iterator[Decision]:
    """Give every decision of a file, one by one, in its order.

    Raises:
        CaseError: as for `read_decisions`.
    """
    for number, row in enumerate(read_csv(file, COLUMNS, CaseError), 2):
        where = f"{file}, row {number}"
        for name in ("path", "reviewer"):
            if not row[name].strip():
                raise CaseError(f"{where}: no {name}; every row needs {', '.join(COLUMNS)}")
        if "\0" in row["path"]:
            raise CaseError(f"{where}: the path {row['path']!r} cannot be that of a file")
        yield Decision(
            row["path"].strip(),
            _label(where, row["label"].strip()),
            row["reviewer"].strip(),
            _time(where, row["time"].strip()),
        )


def _label(where: str, label: str) -> str:
    try:
        return cell_class(label).code
    except UnknownClassError as error:
        raise CaseError(f"{where}: {error}") from None


def _time(where: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise CaseError(
            f"{where}: time must be one such as 2026-03-02T14:30, got {text!r}"
        ) from None
