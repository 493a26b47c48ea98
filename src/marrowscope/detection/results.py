"""What was found on each of many fields, kept in fields.csv and boxes.csv."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from marrowscope.detection.boxes import BOXES, CELL, DECIMALS, Box, read_boxes, write_boxes
from marrowscope.detection.detect import Found as FoundCells
from marrowscope.detection.detect import find_cells
from marrowscope.detection.detector import load_finder
from marrowscope.detection.field import Field, file_of, open_field
from marrowscope.errors import FieldError, OutputError
from marrowscope.io.hashes import file_hash
from marrowscope.io.tables import csv_file, partial_of, read_csv
from marrowscope.locations import Location
from marrowscope.types import Found, Reject

FIELDS = "fields.csv"
COLUMNS = ("file", "sha256", "width", "height", "um_per_px", "scale", "flags", "cells")
RED_CELLS, UNKNOWN, OTHERS = "red cells", "unknown", "other fields"
"""What a scale rests on, besides `given` and `file`."""
NEIGHBOURS = 3
APART = 1.25
JOURNAL = "fields.jsonl"
"""Grows by a line for each field while cells are looked for, so that a break costs one field."""


@dataclass(frozen=True)
class Looked:
    """A field and what was found on it."""

    file: str
    sha256: str
    """Of the file's bytes."""
    width: int
    height: int
    um_per_px: float | None
    """Side of a pixel on the slide, in micrometres; None where nothing tells."""
    scale: str
    """What that rests on: given, file, red cells, other fields or unknown."""
    flags: tuple[str, ...]
    """Why the field is outside the plain range; empty for one within it."""
    cells: int
    """Nucleated ones that were found."""
    boxes: tuple[Box, ...]
    """Around them; empty where they were not asked for."""


def look_at(file: Path, um_per_px: float | None = None) -> Looked:
    """Find the cells of one field.

    Raises:
        FieldError: it cannot be read, or the finder cannot be loaded.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
        OSError: it went away meanwhile.
    """
    field = open_field(file)
    return looked_of(file, field, find_cells(field, um_per_px), um_per_px)


def looked_of(path: Path, field: Field, cells: FoundCells, um_per_px: float | None) -> Looked:
    """Give what is kept of a field: boxes of nucleated cells and a scale of six digits.

    Raises:
        OSError: the file is not there any more.
    """
    boxes = tuple(_as_kept(box) for box in cells.boxes if box.label == CELL)
    return Looked(
        str(path),
        file_hash(path),
        field.width,
        field.height,
        None if cells.um_per_px is None else float(f"{cells.um_per_px:.6g}"),
        "file" if um_per_px is None and field.um_per_px else cells.scale,
        tuple(cells.flags),
        len(boxes),
        boxes,
    )


def _as_kept(box: Box) -> Box:
    """Round a box as `boxes.csv` does, so that one read back is the same."""
    x0, y0, x1, y1 = (round(side, DECIMALS) for side in (box.x0, box.y0, box.x1, box.y1))
    return Box(x0, y0, x1, y1, round(box.score, 4), box.label)


def survey(
    fields: Iterable[Found],
    folder: Path,
    um_per_px: float | None = None,
    advance: Callable[[int], object] = lambda _cells: None,
) -> list[Looked | Reject]:
    """Find the cells of many fields, in order; they are kept in tables in a folder.

    A field that is in the folder's tables, or in what an interrupted search left, is not looked at
    again. One that cannot be read comes as a reject. `advance` is called for each field with the
    number of its cells.

    Raises:
        OutputError: a field is not the picture that it was in the earlier search.
        FieldError: the tables of the earlier search cannot be read, the finder cannot be loaded,
            or a field that is to be looked at again (see `agreed`) cannot be read any more.
        MissingExtraError: a field is large or a slide, and what opens it is not installed.
    """
    whole = (folder / FIELDS).is_file() and (folder / BOXES).is_file()
    journal = folder / JOURNAL
    load_finder()
    before = read_looked(folder) if whole else _read_journal(journal)
    earlier = {field.file: field for field in before}
    outcomes: list[Looked | Reject] = []
    with journal.open("w", encoding="utf-8", buffering=1) as lines:
        lines.writelines(map(_line, earlier.values()))
        for field in fields:
            outcome = field if isinstance(field, Reject) else _look(field.path, um_per_px, earlier)
            if isinstance(outcome, Looked) and outcome.file not in earlier:
                lines.write(_line(outcome))
            outcomes.append(outcome)
            advance(0 if isinstance(outcome, Reject) else outcome.cells)
    if not whole:
        outcomes = agreed(outcomes)
    write_looked(folder, [outcome for outcome in outcomes if isinstance(outcome, Looked)])
    journal.unlink()
    return outcomes


def agreed(outcomes: Sequence[Looked | Reject]) -> list[Looked | Reject]:
    """Look again at fields whose red cells tell no scale, or one that their neighbours do not.

    Neighbours are fields of one folder and size: one camera made them. Three or more whose red
    cells tell a scale are needed; who tells none, or one that is more than 1.25 times the middle
    one or less than 0.8 of it, gets the middle one. Of 0.08, 0.09, 0.1 and 0.25 that is the last,
    which gets 0.095.

    Raises:
        FieldError: a field cannot be read any more.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
        OSError: it went away meanwhile.
    """
    scales: dict[tuple[Path, int, int], list[float]] = {}
    for outcome in outcomes:
        if isinstance(outcome, Looked) and outcome.um_per_px and outcome.scale == RED_CELLS:
            scales.setdefault(_camera(outcome), []).append(outcome.um_per_px)
    middle = {key: median(some) for key, some in scales.items() if len(some) >= NEIGHBOURS}
    return [_agreed(outcome, middle) for outcome in outcomes]


def _camera(looked: Looked) -> tuple[Path, int, int]:
    return Path(looked.file).parent, looked.width, looked.height


def _agreed(
    outcome: Looked | Reject, middle: Mapping[tuple[Path, int, int], float]
) -> Looked | Reject:
    if isinstance(outcome, Reject):
        return outcome
    return again_by_others(outcome, middle.get(_camera(outcome)))


def again_by_others(looked: Looked, others: float | None) -> Looked:
    """Look at a field again with the scale of others, if its red cells tell none or one far off.

    Raises:
        FieldError: it cannot be read any more.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
        OSError: it went away meanwhile.
    """
    told = looked.um_per_px
    if others is None or looked.scale not in {RED_CELLS, UNKNOWN}:
        return looked
    if told and 1 / APART <= told / others <= APART:
        return looked
    return replace(look_at(Path(looked.file), float(f"{others:.6g}")), scale=OTHERS)


def _look(
    file: Location, um_per_px: float | None, earlier: Mapping[str, Looked]
) -> Looked | Reject:
    try:
        before = earlier.get(str(file))
        if before is None:
            return look_at(file_of(file), um_per_px)
        if file_hash(file_of(file)) == before.sha256:
            return before
    except FieldError as error:
        return Reject(str(file), str(error).removeprefix(f"{file}: "))
    except OSError as error:
        return Reject(str(file), f"it cannot be read ({error.strerror or error})")
    raise OutputError(
        f"{file} is not the picture that it was when its cells were found; give another folder, or "
        "--overwrite to start anew"
    )


def _line(looked: Looked) -> str:
    return json.dumps(asdict(looked), ensure_ascii=False) + "\n"


def _read_journal(file: Path) -> list[Looked]:
    """Read the lines that are whole."""
    if not file.is_file():
        return []
    lines = file.read_bytes().split(b"\n")[:-1]
    return [_journalled(file, number, line) for number, line in enumerate(lines, 1)]


def _journalled(file: Path, number: int, line: bytes) -> Looked:
    try:
        return _looked(json.loads(line))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise FieldError(
            f"{file}, line {number}: cannot be read ({error!r}); remove the file to look at all "
            "fields anew, or the line for its own"
        ) from None


def _looked(values: dict[str, Any]) -> Looked:
    boxes = tuple(Box(**box) for box in values.pop("boxes"))
    return Looked(**{**values, "flags": tuple(values["flags"])}, boxes=boxes)


def write_looked(folder: Path, every: Sequence[Looked]) -> None:
    """Write `boxes.csv` and `fields.csv` into a folder."""
    write_boxes(folder / BOXES, {field.file: field.boxes for field in every})
    with csv_file(folder / FIELDS, COLUMNS) as rows:
        for field in every:
            rows.writerow(row_of(field))


def row_of(looked: Looked) -> tuple[str, ...]:
    """Give the row of a field in `fields.csv`: `COLUMNS`."""
    scale = "" if looked.um_per_px is None else f"{looked.um_per_px:.6g}"
    size = (str(looked.width), str(looked.height))
    columns = (looked.scale, "; ".join(looked.flags), str(looked.cells))
    return (looked.file, looked.sha256, *size, scale, *columns)


def read_looked(folder: Path) -> list[Looked]:
    """Read `fields.csv` and `boxes.csv` of a folder.

    Raises:
        FieldError: one cannot be read.
    """
    boxes = read_boxes(folder / BOXES)
    return [replace(field, boxes=boxes.get(field.file, ())) for field in read_fields(folder)]


def read_fields(folder: Path) -> list[Looked]:
    """Read `fields.csv` of a folder; the fields come without their boxes.

    Raises:
        FieldError: it cannot be read.
    """
    file = folder / FIELDS
    try:
        return [_of_row(row) for row in read_csv(file, COLUMNS, FieldError)]
    except ValueError as error:
        raise FieldError(f"{file} was not written by marrowscope ({error})") from None


def _of_row(row: dict[str, str]) -> Looked:
    scale = float(row["um_per_px"]) if row["um_per_px"] else None
    flags = tuple(row["flags"].split("; ")) if row["flags"] else ()
    numbers = int(row["width"]), int(row["height"]), scale
    return Looked(row["file"], row["sha256"], *numbers, row["scale"], flags, int(row["cells"]), ())


def field_files(folder: Path) -> list[Path]:
    """Name all files of fields that may be in a folder of results, half-written ones too."""
    tables = [way(folder / name) for name in (FIELDS, BOXES) for way in (Path, partial_of)]
    return [*tables, folder / JOURNAL]
