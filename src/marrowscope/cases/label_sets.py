"""Opinions: the class that a model or a person gave each cell, from the files that keep them."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from marrowscope.cases.case import SLIDES
from marrowscope.cases.reviews import Decision, decisions_in
from marrowscope.differential.accumulator import Fate
from marrowscope.errors import CaseError, ComparisonError, UnknownClassError
from marrowscope.inference.output_folder import WENT_IN
from marrowscope.io.tables import PREDICTIONS, check_columns, read_csv
from marrowscope.locations import is_url
from marrowscope.taxonomy import cell_class

CELLS, SUMMARY = "cells.csv", "differential.json"
OF_REPORT = ("slide", "fate", "machine_label", "reviewer")
TABLES = (CELLS, PREDICTIONS)
"""Of a folder of results, the first that is there is read."""
MACHINE = "machine"
"""Chooses, from the cells of a report, what the model took them for before people decided."""
SET_ASIDE = "set aside"
STRANGE = "unlike the cells the model knows"
ABSTAINED = "on which the model abstains"
NOT_READ = "that could not be read"
OF_FATE = {Fate.UNLIKE: STRANGE, Fate.TO_REVIEW: ABSTAINED, "rejected": NOT_READ}
"""Why cells of a report have no class."""

Row = Mapping[str, str]


@dataclass(frozen=True)
class Opinion:
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
    case: str = ""
    """Id of the case that the cells are of, if the file says."""
    read_from: Mapping[str, str] | None = field(default_factory=dict)
    """Path that leads to a picture from `root`, where the one as written does not; None where
    relative paths start from a folder that is not known."""

    def by_real_path(self) -> dict[str, str]:
        """Give the classes by the real path of each picture.

        Raises:
            ComparisonError: it is not known where relative paths start from.
        """
        return {self._real(path): code for path, code in self.labels.items()}

    def _real(self, path: str) -> str:
        if is_url(path):
            return path
        if self.read_from is None and not Path(path).is_absolute():
            raise ComparisonError(
                f"{self.file} names {path} and others from the folder of the case, and what leads "
                f"to them is not beside it, in {SLIDES}/, so whether they are cells of the other "
                "reading cannot be told; give the whole folder that `marrowscope report` wrote, or "
                "--independent if they are two samples"
            )
        return str((self.root / (self.read_from or {}).get(path, path)).resolve())


def read_opinion(path: Path, reader: str = "") -> Opinion:
    """Read a `reviews.csv`, a `predictions.csv`, or the folder that `classify` or `report` wrote.

    `reader` chooses one of several people in a file of reviews or in the cells of a report, and of
    the latter `machine` what the model took them for.

    Raises:
        ComparisonError: the file cannot be read, has no cells, an unknown class or a cell twice;
            it has several readers and none was chosen, or not the one that was, or does not say
            who decided; a report's cells lack a column; or the folder has no such file, or does not
            say which cells were set aside.
    """
    file = _table_of(path) if path.is_dir() else path
    rows = list(read_csv(file, ("path", "label"), ComparisonError))
    if not rows:
        raise ComparisonError(f"{file} has no cells; give a file or folder that has")
    if "fate" in rows[0]:
        return _of_report(file, rows, reader)
    if {"reviewer", "time"} <= rows[0].keys():
        return _of_person(file, reader)
    if reader:
        raise ComparisonError(
            f"{file} does not say who decided, so no reader {reader!r} can be chosen from it; "
            "leave the reader away, or give a reviews.csv or the folder of a report"
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


def _of_person(file: Path, reader: str) -> Opinion:
    of_reader: dict[str, list[Decision]] = {}
    try:
        for decision in decisions_in(file):
            of_reader.setdefault(decision.reviewer, []).append(decision)
    except CaseError as error:
        raise ComparisonError(str(error)) from None
    readers = ", ".join(sorted(of_reader))
    if not reader and len(of_reader) > 1:
        raise ComparisonError(
            f"{file} has the decisions of {readers}; choose one with --reader-a or --reader-b"
        )
    if reader and reader not in of_reader:
        raise ComparisonError(f"{file} has no decisions of {reader!r}; it has those of {readers}")
    chosen = reader or next(iter(of_reader))
    mine = sorted(of_reader[chosen], key=lambda decision: decision.time)
    labels = {decision.path: decision.label for decision in mine}
    return Opinion(chosen, file, labels, file.parent, {}, len(mine) - len(labels))


def _of_report(file: Path, rows: Sequence[Row], reader: str) -> Opinion:
    check_columns(file, OF_REPORT, list(rows[0]), ComparisonError)
    case = _case(file.parent / SUMMARY)
    chosen = list(rows)
    if reader == MACHINE:
        chosen = [{**row, "label": row["machine_label"]} for row in chosen]
    elif reader:
        people = {row["reviewer"] for row in chosen} - {""}
        chosen = [row for row in chosen if row["reviewer"] == reader]
        if not chosen:
            readers = ", ".join(sorted(people)) or "nobody"
            raise ComparisonError(
                f"{file} has no decisions of {reader!r}; it has those of {readers}, and those "
                f"of the {MACHINE}"
            )
    name = " ".join(filter(None, (case or str(file), reader)))
    labels, without = _labels(file, chosen, lambda row: OF_FATE.get(row["fate"], ""))
    read_from = _read_from(file.parent / SLIDES, rows)
    return Opinion(name, file, labels, Path(), without, case=case, read_from=read_from)


def _read_from(slides: Path, rows: Iterable[Row]) -> dict[str, str] | None:
    """Give the path by which the machine read each cell of a report; None where it is not there.

    The predictions of a slide stand in the order of its cells.
    """
    of_slide: dict[str, list[str]] = {}
    for row in rows:
        if row["fate"] != "rejected":
            of_slide.setdefault(row["slide"], []).append(row["path"])
    read_from: dict[str, str] = {}
    for slide, paths in of_slide.items():
        table = slides / slide / PREDICTIONS
        if not table.is_file():
            return None
        read = [row["path"] for row in read_csv(table, ("path",), ComparisonError)]
        if [Path(path).name for path in read] != [Path(path).name for path in paths]:
            return None
        read_from |= zip(paths, read, strict=True)
    return read_from


def _case(summary: Path) -> str:
    """Give the id of the case that a report is on; empty where there is no report."""
    try:
        return str(json.loads(summary.read_text(encoding="utf-8"))["case"]["id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _of_model(name: str, file: Path, rows: Iterable[Row]) -> Opinion:
    threshold = _threshold(file.parent / WENT_IN)
    labels, without = _labels(file, rows, lambda row: _reason(file, row, threshold))
    return Opinion(name, file, labels, Path(), without)


def _labels(
    file: Path, rows: Iterable[Row], reason_of: Callable[[Row], str]
) -> tuple[dict[str, str], dict[str, int]]:
    """Give the class of each cell that has one, and by reason how many have none."""
    labels: dict[str, str] = {}
    without: Counter[str] = Counter()
    for row in rows:
        if reason := reason_of(row):
            without[reason] += 1
        elif row["path"] in labels:
            raise ComparisonError(f"{file} has {row['path']} twice; every cell may be there once")
        else:
            labels[row["path"]] = _code(file, row)
    return labels, dict(without)


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
