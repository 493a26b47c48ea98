"""Files of results, each under its name only when whole: CSV, JSON, `predictions.csv`."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TextIO

from marrowscope.errors import MarrowscopeError, OutputError
from marrowscope.io.csv_safety import as_it_was, harmless_row, row_as_it_was
from marrowscope.io.locks import holds_something
from marrowscope.types import Place, Prediction, Reject

PREDICTIONS, REJECTS = "predictions.csv", "rejects.csv"
REJECT_HEADER = ("path", "reason")
DECIMALS = 6
"""Of the numbers in `predictions.csv`."""
COLUMNS = ("path", "label", "probability", "set", "novelty")
"""First columns of `predictions.csv`."""
PLACE = ("field", "x0", "y0", "x1", "y1", "um_per_px")
"""Columns that say where on its field a cell lies; only where fields were read."""
TEXTS = ("path", "label", "set", "field")
"""Columns of `predictions.csv` that hold no numbers."""
NO_CLASS = "none"
"""Stands for a set without a class, as an empty field says that no set was asked for."""


class RowWriter(Protocol):
    """The part of a csv writer that is used here."""

    def writerow(self, row: Sequence[str], /) -> object:
        """Write one row."""
        ...


class Table:
    """Writes the rows of a CSV; no text in it is a formula to a spreadsheet."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file)

    def writerow(self, row: Sequence[str], /) -> None:
        """Write one row."""
        self._rows.writerow(harmless_row(row))


def partial_of(path: Path) -> Path:
    """Give the name under which a file is written until it is whole."""
    return path.with_name(path.name + ".partial")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the name to write a file under; it gets its own name only when nothing went wrong.

    An error of a full disk, which names no file, is given the name.
    """
    partial = partial_of(path)
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write text; the file changes as a whole or not at all."""
    with whole_file(path) as partial:
        try:
            partial.write_text(text, encoding="utf-8")
        except OSError:
            partial.unlink(missing_ok=True)
            raise


@contextmanager
def csv_file(path: Path, header: Sequence[str]) -> Iterator[RowWriter]:
    """Open a CSV that stands under its name only when it is whole, and write its header."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        table = Table(file)
        table.writerow(header)
        yield table


@contextmanager
def continued_csv(path: Path, header: Sequence[str], keep: int) -> Iterator[RowWriter]:
    """Go on with a CSV after its first `keep` bytes; a row is in the file once it is written."""
    with (
        whole_file(path) as partial,
        partial.open("a", buffering=1, newline="", encoding="utf-8") as file,
    ):
        file.truncate(keep)
        table = Table(file)
        if keep == 0:
            table.writerow(header)
        yield table


def read_csv(
    file: Path, columns: Sequence[str], failure: type[MarrowscopeError]
) -> Iterator[dict[str, str]]:
    """Give the rows of a CSV that must have some columns, one by one; surplus values are dropped.

    Raises:
        MarrowscopeError: of the type `failure`: the file cannot be read or lacks a column.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines)
            check_columns(file, columns, reader.fieldnames or (), failure)
            for row in reader:
                yield {key: as_it_was(value or "") for key, value in row.items() if key}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise failure(f"{file}: cannot be read as CSV in UTF-8 ({error})") from None


def check_columns(
    file: Path, wanted: Sequence[str], there: Sequence[str], failure: type[MarrowscopeError]
) -> None:
    """Check that a table has some columns.

    Raises:
        MarrowscopeError: of the type `failure`: it lacks one.
    """
    missing = [name for name in wanted if name not in there]
    if missing:
        raise failure(
            f"{file}: no column {' or '.join(missing)}; it has {', '.join(there) or 'nothing'}"
        )


def write_json(file: Path, values: Mapping[str, Any]) -> None:
    """Write values as JSON that a person can read; the file changes as a whole or not at all."""
    write_text(file, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def without_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not know, by None at any depth."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


class RowFormat(Protocol):
    """The columns of a `predictions.csv`, and how a row becomes a prediction."""

    header: list[str]

    def parse(self, row: Sequence[str]) -> Prediction:
        """Read a prediction back from its row.

        Raises:
            ValueError: the row holds no prediction.
        """
        ...


class CellRows:
    """Rows of single-cell images."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.header = [*COLUMNS, *classes]

    def parse(self, row: Sequence[str]) -> Prediction:
        """Read a prediction back from its row.

        Raises:
            ValueError: the row holds no prediction.
        """
        return _parse(row[: len(COLUMNS)], row[len(COLUMNS) :], None)


class FieldCellRows:
    """Rows of cells on whole fields: they also say where on its field a cell lies."""

    def __init__(self, classes: Sequence[str]) -> None:
        self.header = [*COLUMNS, *PLACE, *classes]

    def parse(self, row: Sequence[str]) -> Prediction:
        """Read a prediction back from its row.

        Raises:
            ValueError: the row holds no prediction.
        """
        start, end = len(COLUMNS), len(COLUMNS) + len(PLACE)
        field, x0, y0, x1, y1, um_per_px = row[start:end]
        place = Place(field, int(x0), int(y0), int(x1), int(y1), float(um_per_px))
        return _parse(row[:start], row[end:], place)


def _parse(first: Sequence[str], probabilities: Sequence[str], place: Place | None) -> Prediction:
    path, label, probability, codes, novelty = first
    return Prediction(
        path,
        label,
        float(probability),
        tuple(map(float, probabilities)),
        _parse_set(codes),
        float(novelty) if novelty else math.nan,
        place=place,
    )


def prediction_row(prediction: Prediction) -> list[str]:
    """Write a prediction as text; what is not known is empty, and the reviewer is left out."""
    return [
        prediction.path,
        prediction.label,
        _number(prediction.probability),
        "" if prediction.set is None else set_in_words(prediction.set),
        "" if math.isnan(prediction.novelty) else _number(prediction.novelty),
        *(place_row(prediction.place) if prediction.place else ()),
        *map(_number, prediction.probabilities),
    ]


def place_row(place: Place) -> list[str]:
    """Write where a cell lies as text, in the order of `PLACE`."""
    box = (place.x0, place.y0, place.x1, place.y1)
    return [place.field, *map(str, box), f"{place.um_per_px:.{DECIMALS}g}"]


def _number(value: float) -> str:
    return f"{value:.{DECIMALS}f}"


def read_predictions(file: Path) -> Iterator[Prediction]:
    """Give the predictions of a whole `predictions.csv`, one by one.

    Raises:
        ValueError: a row holds no prediction.
    """
    with file.open(newline="", encoding="utf-8") as lines:
        rows = map(row_as_it_was, csv.reader(lines))
        has_fields = PLACE[0] in next(rows, ())
        row_format = FieldCellRows(()) if has_fields else CellRows(())
        yield from map(row_format.parse, rows)


def _parse_set(words: str) -> tuple[str, ...] | None:
    if not words:
        return None
    return () if words == NO_CLASS else tuple(words.split())


def set_in_words(codes: Sequence[str]) -> str:
    """Write a set of classes as `predictions.csv` does: `PMO MYB`, or `none`."""
    return " ".join(codes) or NO_CLASS


def rounded(prediction: Prediction) -> Prediction:
    """Give a prediction as it comes back from its row: 6 decimals, without its reviewer."""
    place = prediction.place
    if place:
        place = replace(place, um_per_px=float(f"{place.um_per_px:.{DECIMALS}g}"))
    return replace(
        prediction,
        probability=round(prediction.probability, DECIMALS),
        probabilities=tuple(round(value, DECIMALS) for value in prediction.probabilities),
        novelty=round(prediction.novelty, DECIMALS),
        reviewer="",
        place=place,
    )


def reject_row(reject: Reject) -> list[str]:
    """Write a reject as text, in the order of `REJECT_HEADER`."""
    return [reject.path, reject.reason]


REPLACE = "--overwrite to replace the results in it"
CONTINUE = "--resume to go on with the run in it"


def prepare_folder(folder: Path, overwrite: bool, otherwise: str = REPLACE) -> None:
    """Make a folder for results; `otherwise` says how one that holds something may be used.

    Raises:
        OutputError: it cannot be made, or holds something and must not be overwritten.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = holds_something(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for results: {error.strerror}") from None
    if occupied and not overwrite:
        raise OutputError(f"{folder} already holds something; give another folder, or {otherwise}")
