"""The manifest: labelled cells below a root, read from any source and written as CSV or Parquet."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrowscope.data.sources import COLUMNS, CSV, REQUIRED_COLUMNS, Row, open_source
from marrowscope.errors import ManifestError, UnknownClassError
from marrowscope.io.archives import PARQUET, arrow, read_content
from marrowscope.io.tables import csv_file, whole_file
from marrowscope.locations import within
from marrowscope.taxonomy import class_of_name
from marrowscope.types import Cell, Reject

ROWS_AT_ONCE = 10_000
"""Rows that are held before they go into a Parquet file."""


@dataclass(frozen=True)
class Manifest:
    """Labelled cells below one root folder, and the files that could not become one."""

    root: Path
    cells: tuple[Cell, ...]
    rejects: tuple[Reject, ...]


def read_manifest(source: Path, advance: Callable[[], object] = lambda: None) -> Manifest:
    """Read all cells of a source, as `read_cells` does.

    Raises:
        ManifestError: nothing is there, it is of no form that is read or lacks a column, or no
            cell could be read.
        MissingExtraError: it has Parquet files or URLs of a store, and their library is not there.
    """
    cells: list[Cell] = []
    rejects: list[Reject] = []
    root, rows = read_cells(source)
    for item in rows:
        if isinstance(item, Cell):
            cells.append(item)
        else:
            rejects.append(item)
        advance()
    if not cells:
        why = f"; the first of {len(rejects)} rejects: {rejects[0].reason}" if rejects else ""
        raise ManifestError(
            f"{source}: no labelled cell found; a folder needs one folder for each class, "
            f"a manifest the columns {', '.join(REQUIRED_COLUMNS)}{why}"
        )
    return Manifest(root, tuple(cells), tuple(rejects))


def read_cells(
    source: Path, name: str = "", code_of: Mapping[str, str] | None = None
) -> tuple[Path, Iterator[Cell | Reject]]:
    """Give the root of a source and, one by one, its cells and rejects.

    A source is class folders (named by class code, or by a prefix or folder of the Barcelona set;
    at any depth), a zip or tar archive of them, a manifest in CSV or Parquet, or Parquet with
    pictures and labels inside. `code_of` translates other labels. Every picture is hashed; one
    whose content is not what the manifest says becomes a reject. Cells without a source get `name`,
    or the name of the folder or file, unless that is a CSV.

    Raises:
        ManifestError: nothing is there, or it is of no form that is read; as the cells are taken
            also: a column is missing.
        MissingExtraError: it has Parquet files or URLs of a store, and their library is not there.
    """
    root, rows = open_source(source)
    called = name or _source_name(source)
    return root, (_to_cell(root, row, called, code_of or {}) for row in rows)


def _source_name(source: Path) -> str:
    """Give a source its folder's or archive's name; a CSV names its sources itself, or has none."""
    if source.is_dir():
        return source.resolve().name
    return "" if source.suffix.lower() == CSV else source.stem


def _to_cell(root: Path, row: Row, name: str, code_of: Mapping[str, str]) -> Cell | Reject:
    if isinstance(row, Reject):
        return row
    path = row["path"]
    if not row["label"].strip():
        return Reject(path, "it has no label; give its class code in the column label")
    try:
        label = class_of_name(code_of.get(row["label"], row["label"])).code
        um_per_px = _micrometres(row.get("um_per_px", ""))
        content = read_content(within(root, path))
    except (UnknownClassError, ValueError) as error:
        return Reject(path, str(error))
    except OSError as error:
        return Reject(path, f"cannot be read: {error.strerror or error}")
    sha256 = hashlib.sha256(content).hexdigest()
    if row.get("sha256", sha256) not in (sha256, ""):
        return Reject(path, "its content is not what the manifest's sha256 says")
    return Cell(
        path,
        sha256,
        label,
        row.get("source", "") or name,
        row.get("patient", ""),
        row.get("slide", ""),
        row.get("field", ""),
        um_per_px,
    )


def _micrometres(text: str) -> float | None:
    """Read the side of a pixel, in micrometres; a row that does not know it has nothing there."""
    try:
        value = float(text) if text else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 < value < 100:
        raise ValueError(f"um_per_px must be a number of micrometres above 0, got {text!r}")
    return value


@contextmanager
def manifest_file(file: Path) -> Iterator[Callable[[Cell], object]]:
    """Open a manifest for writing, CSV or Parquet by its suffix; give what adds a cell to it.

    It stands under its name only when it is whole.

    Raises:
        ManifestError: the suffix is neither.
        MissingExtraError: it is Parquet, and pyarrow is not installed.
    """
    suffix = file.suffix.lower()
    if suffix == CSV:
        with csv_file(file, COLUMNS) as rows:
            yield lambda cell: rows.writerow(_as_text(cell))
    elif suffix == PARQUET:
        with _parquet_file(file) as add:
            yield add
    else:
        raise ManifestError(f"{file}: a manifest is written as {CSV} or {PARQUET}; name it so")


def _as_text(cell: Cell) -> list[str]:
    values = [getattr(cell, name) for name in COLUMNS]
    return ["" if value is None else str(value) for value in values]


@contextmanager
def _parquet_file(file: Path) -> Iterator[Callable[[Cell], object]]:
    pa = arrow()
    types = {"um_per_px": pa.float64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in COLUMNS])
    waiting: list[dict[str, Any]] = []
    with whole_file(file) as partial, pa.parquet.ParquetWriter(partial, schema) as writer:

        def add(cell: Cell) -> None:
            waiting.append({name: getattr(cell, name) for name in COLUMNS})
            if len(waiting) >= ROWS_AT_ONCE:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(waiting, schema))
            waiting.clear()

        yield add
        flush()
