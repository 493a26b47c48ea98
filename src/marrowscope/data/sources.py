"""What a source says of each cell: class folders, archives, CSV and Parquet, row by row."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from marrowscope.errors import ManifestError, said_by
from marrowscope.io.archives import (
    PARQUET,
    TAR,
    ZIP,
    is_left_by_systems,
    open_parquet,
    picture_column,
    pictures_inside,
)
from marrowscope.io.tables import check_columns, read_csv
from marrowscope.taxonomy import CLASSES, PBC_FOLDERS, PBC_PREFIXES
from marrowscope.types import Reject

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

CSV = ".csv"
PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
REQUIRED_COLUMNS = ("path", "label")
COLUMNS = ("path", "sha256", "label", "source", "patient", "slide", "field", "um_per_px")

Row = dict[str, str] | Reject
"""What a source says of one cell (some of `COLUMNS`), or why it says nothing."""
Rows = Iterator[Row]


def open_source(source: Path) -> tuple[Path, Rows]:
    """Give the root that the rows' paths are relative to, and the rows one by one.

    Raises:
        ManifestError: nothing is there, or it is of no form that is read; as the rows are taken
            also: a table cannot be read or lacks a column.
        MissingExtraError: as the rows are taken: a file is Parquet, and pyarrow is not installed.
    """
    if source.is_dir():
        return source, _folder_rows(source)
    if not source.is_file():
        raise ManifestError(f"{source}: no such file or folder; give {_forms()}")
    form = source.suffix.lower()
    if form not in FORMS:
        raise ManifestError(f"{source}: not a form that is read; give {_forms()}")
    return source.parent, FORMS[form](source, PurePosixPath(source.name))


def _forms() -> str:
    return "class folders, a zip or tar archive of them, a CSV manifest or a Parquet file"


def _folder_rows(root: Path) -> Rows:
    """Walk a folder in sorted order; archives inside it are read like folders."""
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(name for name in names if not is_left_by_systems(name)):
            file = Path(folder, name)
            inner = PurePosixPath(file.relative_to(root).as_posix())
            form = file.suffix.lower()
            if form in (ZIP, TAR, PARQUET):
                yield from FORMS[form](file, inner)
            else:
                yield _picture_row(inner)


def _archive_rows(file: Path, inner: PurePosixPath) -> Rows:
    try:
        for member in pictures_inside(file):
            yield _picture_row(inner / member)
    except OSError as error:
        yield Reject(str(inner), str(error.strerror))


def _picture_row(path: PurePosixPath) -> Row:
    """Read the class of a picture off its folders, or off its name in the Barcelona set."""
    if path.suffix.lower() not in PICTURES:
        return Reject(str(path), f"no picture by its name ({', '.join(PICTURES)} are)")
    folders = path.parts[:-1]
    for folder in folders:
        if folder in CLASSES or folder in PBC_PREFIXES:
            return {"path": str(path), "label": folder}
    if PBC_FOLDERS.intersection(folders):
        return {"path": str(path), "label": path.name.split("_")[0]}
    if not folders:
        return Reject(str(path), "it lies in no class folder")
    return {"path": str(path), "label": folders[0]}


def _csv_rows(file: Path, inner: PurePosixPath) -> Rows:  # noqa: ARG001 - of the form of the others
    return read_csv(file, REQUIRED_COLUMNS, ManifestError)


def _parquet_rows(file: Path, inner: PurePosixPath) -> Rows:
    """Read a manifest in Parquet, or pictures with labels as Hugging Face serves them."""
    try:
        parquet = open_parquet(file)
    except OSError as error:
        yield Reject(str(inner), str(error.strerror))
        return
    pictures = picture_column(parquet)
    names = parquet.schema_arrow.names
    if pictures is None:
        check_columns(file, REQUIRED_COLUMNS, names, ManifestError)
    elif "label" not in names or pictures == "label":
        raise ManifestError(f"{file}: no column label beside its pictures; it has {names}")
    columns = [name for name in COLUMNS if name in names and name != pictures]
    code_of = _class_names(parquet.schema_arrow.metadata)
    number = 0
    try:
        for values in _values(parquet, columns):
            texts = {key: str(value) for key, value in values.items() if value is not None}
            row = dict.fromkeys(columns, "") | texts
            if pictures is not None:
                row["path"] = str(inner / str(number))
            row["label"] = code_of.get(row["label"], row["label"])
            number += 1
            yield row
    except OSError as error:
        yield Reject(str(inner), f"it is damaged after {number:,} rows ({error.strerror})")


def _values(parquet: "ParquetFile", columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Give the rows of a Parquet file, some columns of each.

    Raises:
        OSError: it is damaged.
    """
    batches = parquet.iter_batches(batch_size=1000, columns=columns)
    while True:
        try:
            rows = next(batches).to_pylist()
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - damage shows in many types
            raise OSError(5, said_by(error)) from None
        yield from rows


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """Give the names that Hugging Face keeps for numbered labels, by number."""
    try:
        stored: Any = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    except (ValueError, RecursionError):
        return {}
    for key in ("info", "features", "label", "names"):
        stored = stored.get(key) if isinstance(stored, dict) else None
    names = stored if isinstance(stored, list) else ()
    return {str(number): str(name) for number, name in enumerate(names)}


FORMS: dict[str, Callable[[Path, PurePosixPath], Rows]] = {
    CSV: _csv_rows,
    ZIP: _archive_rows,
    TAR: _archive_rows,
    PARQUET: _parquet_rows,
}
"""How a file is read, by its suffix."""
