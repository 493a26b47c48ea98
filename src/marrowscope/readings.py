"""Readings: the class that a model or a person gave each cell, from the files that keep them."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from marrowscope.errors import ComparisonError, UnknownClassError
from marrowscope.labels import cell_class
from marrowscope.results import PREDICTIONS, read_csv

TABLES = ("cells.csv", PREDICTIONS)
"""Of a folder of results, the first that is there is read."""
WENT_IN = "classify.json"
SET_ASIDE = "set aside"
STRANGE = "unlike the cells the model knows"
ABSTAINED = "on which the model abstains"

Row = Mapping[str, str]


@dataclass(frozen=True)
class Reading:
    """What one reader, a model or a person, took the cells of one file for."""

    name: str
    """As tables and pages call it."""
    file: Path
    labels: Mapping[str, str]
    """Class code by path as written."""
    root: Path
    """Folder that relative paths start from."""
    without: Mapping[str, int]
    """Cells that it gives no class, by reason."""
    overruled: int = 0
    """Decisions that the same person changed later."""

    def by_real_path(self) -> dict[str, str]:
        """Give the classes by the real path of each picture."""
        return {str((self.root / path).resolve()): code for path, code in self.labels.items()}


def read_reading(path: Path, reader: str = "") -> Reading:
    """Read a `reviews.csv`, a `predictions.csv`, or the folder that `classify` or `report` wrote.

    `reader` chooses one of several people in a file of reviews.

    Raises:
        ComparisonError: the file cannot be read, has no cells or an unknown class, has several
            readers and none was chosen, or not the one that was.
    """
    file = _table_of(path) if path.is_dir() else path
    rows = list(read_csv(file, ("path", "label"), ComparisonError))
    if not rows:
        raise ComparisonError(f"{file} has no cells; give a file or folder that has")
    if {"reviewer", "time"} <= rows[0].keys():
        return _of_person(file, rows, reader)
    if reader:
        raise ComparisonError(
            f"{file} has no columns reviewer and time, so no reader {reader!r} can be chosen from "
            "it; leave the reader away, or give a reviews.csv"
        )
    return _of_model(path.resolve().name if path.is_dir() else str(path), file, rows)


def _table_of(folder: Path) -> Path:
    for name in TABLES:
        if (folder / name).is_file():
            return folder / name
    raise ComparisonError(
        f"{folder} has no {' or '.join(TABLES)}; give the folder that `marrowscope classify` or "
        "`marrowscope report` wrote, or a reviews.csv"
    )


def _of_person(file: Path, rows: Iterable[Row], reader: str) -> Reading:
    of_reader: dict[str, list[Row]] = {}
    for row in rows:
        of_reader.setdefault(row["reviewer"].strip(), []).append(row)
    known = ", ".join(sorted(of_reader))
    if not reader and len(of_reader) > 1:
        raise ComparisonError(
            f"{file} has the decisions of {known}; choose one with --reader-a or --reader-b"
        )
    if reader and reader not in of_reader:
        raise ComparisonError(f"{file} has no decisions of {reader!r}; it has those of {known}")
    chosen = reader or next(iter(of_reader))
    mine = sorted(of_reader[chosen], key=lambda row: _time(file, row))
    labels = {row["path"]: _code(file, row) for row in mine}
    overruled = len(mine) - len(labels)
    return Reading(chosen or str(file), file, labels, file.parent, {}, overruled)


def _of_model(name: str, file: Path, rows: Iterable[Row]) -> Reading:
    threshold = _threshold(file.parent / WENT_IN)
    labels: dict[str, str] = {}
    without: Counter[str] = Counter()
    for row in rows:
        if reason := _reason(file, row, threshold):
            without[reason] += 1
        elif row["path"] in labels:
            raise ComparisonError(f"{file} has {row['path']} twice; every cell may be there once")
        else:
            labels[row["path"]] = _code(file, row)
    return Reading(name, file, labels, Path(), dict(without))


def _reason(file: Path, row: Row, threshold: float) -> str:
    """Say why a cell has no class, as `classify` would; empty for one that has."""
    try:
        strange = float(row.get("novelty") or 0) > threshold
    except ValueError:
        raise ComparisonError(
            f"{file}: the novelty of {row['path']} is no number but {row['novelty']!r}; make the "
            "file again"
        ) from None
    if strange:
        return STRANGE
    return ABSTAINED if (row.get("set") or row["label"]) != row["label"] else ""


def _threshold(went_in: Path) -> float:
    """Give the novelty above which `classify` set cells aside; infinite where it did not."""
    if not went_in.is_file():
        return math.inf
    try:
        values = json.loads(went_in.read_text(encoding="utf-8"))
        aside = values["novel_cells"] == SET_ASIDE and values["novelty"]
        return float(values["novelty"]) if aside else math.inf
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ComparisonError(
            f"{went_in} cannot be read ({error!r}), so which cells were set aside is unknown; "
            "classify them again"
        ) from None


def _code(file: Path, row: Row) -> str:
    try:
        return cell_class(row["label"].strip()).code
    except UnknownClassError as error:
        raise ComparisonError(f"{file}: {row['path']}: {error}") from None


def _time(file: Path, row: Row) -> datetime:
    try:
        return datetime.fromisoformat(row["time"].strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise ComparisonError(
            f"{file}: {row['path']}: time must be one such as 2026-03-02T14:30, got {row['time']!r}"
        ) from None
