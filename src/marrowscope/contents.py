"""The bytes of a file, also of one that lies inside a zip archive or a Parquet file."""

import os
import zipfile
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from marrowscope.errors import MissingExtraError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

ZIP, PARQUET = ".zip", ".parquet"
LARGEST_BYTES = 256 * 2**20
"""Of one picture; more is not read into memory."""
LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")


class Stamp(NamedTuple):
    """Which state of a container a handle belongs to; a forked process opens its own."""

    path: Path
    changed_ns: int
    process: int


def is_left_by_systems(name: str) -> bool:
    """Tell whether a file is hidden, or one that operating systems leave in folders."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def read_content(path: Path) -> bytes:
    """Read a file, a zip's member (`set.zip/LYT/1.jpg`) or a Parquet row's picture (`a.parquet/7`).

    Raises:
        OSError: nothing is there, or it cannot be read.
        MissingExtraError: it lies in a Parquet file, and pyarrow is not installed.
    """
    try:
        _check_size(path.stat().st_size, path)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        container = next((parent for parent in path.parents if parent.is_file()), None)
        if container is None:
            raise
    inner = path.relative_to(container).as_posix()
    stamp = Stamp(container, container.stat().st_mtime_ns, os.getpid())
    if container.suffix.lower() == ZIP:
        return _zip_member(stamp, inner)
    if container.suffix.lower() == PARQUET:
        return _parquet_picture(stamp, inner)
    raise NotADirectoryError(20, "its folder is a file, and no zip archive or Parquet file", path)


def _check_size(size: int, path: Path) -> None:
    if size > LARGEST_BYTES:
        limit = f"it has {size / 2**20:,.0f} MiB; at most {LARGEST_BYTES // 2**20} are read"
        raise OSError(27, limit, str(path))


def zip_members(path: Path) -> list[str]:
    """Name the files of a zip archive, in its order.

    Raises:
        OSError: it is no zip archive.
    """
    archive = _zip(Stamp(path, path.stat().st_mtime_ns, os.getpid()))
    return [each.filename for each in archive.infolist() if not each.is_dir()]


def _zip_member(stamp: Stamp, name: str) -> bytes:
    archive = _zip(stamp)
    try:
        _check_size(archive.getinfo(name).file_size, Path(name))
        return archive.read(name)
    except KeyError:
        raise FileNotFoundError(2, "no such file in the zip archive", name) from None
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise OSError(5, f"it cannot be unpacked ({error})", name) from None


@lru_cache(maxsize=8)
def _zip(stamp: Stamp) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(stamp.path)
    except zipfile.BadZipFile as error:
        raise OSError(5, f"it is no whole zip archive ({error})", str(stamp.path)) from None


def open_parquet(path: Path) -> "ParquetFile":
    """Open a Parquet file; the handle is shared, and open for as long as the file stays as it is.

    Raises:
        OSError: it is no Parquet file.
        MissingExtraError: pyarrow is not installed.
    """
    return _parquet(Stamp(path, path.stat().st_mtime_ns, os.getpid()))


def arrow() -> ModuleType:
    """Give the module `pyarrow`, with its part for Parquet.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError(
            "Parquet files need pyarrow; install it with: pip install 'marrowscope[data]'"
        ) from None
    return import_module("pyarrow")


@lru_cache(maxsize=8)
def _parquet(stamp: Stamp) -> "ParquetFile":
    try:
        return arrow().parquet.ParquetFile(stamp.path)
    except arrow().ArrowInvalid as error:
        raise OSError(5, f"it is no whole Parquet file ({error})", str(stamp.path)) from None


def picture_column(parquet: "ParquetFile") -> str | None:
    """Name the column that holds pictures as bytes (as Hugging Face serves them), if there is one.

    It is a column of bytes, or one of records with a field `bytes`.
    """
    from pyarrow.types import is_binary, is_large_binary, is_struct

    for field in parquet.schema_arrow:
        kind = field.type
        if is_binary(kind) or is_large_binary(kind):
            return str(field.name)
        if is_struct(kind) and kind.get_field_index("bytes") >= 0:
            return str(field.name)
    return None


def _parquet_picture(stamp: Stamp, row: str) -> bytes:
    parquet = _parquet(stamp)
    if not row.isdecimal() or int(row) >= parquet.metadata.num_rows:
        raise FileNotFoundError(2, f"no such row; it has {parquet.metadata.num_rows}", row)
    ends = _row_group_ends(stamp)
    group = int(np.searchsorted(ends, int(row), side="right"))
    start = ends[group - 1] if group else 0
    value = _row_group(stamp, group)[int(row) - start].as_py()
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None:
        raise FileNotFoundError(2, "the row holds no picture", row)
    return bytes(content)


@lru_cache(maxsize=8)
def _row_group_ends(stamp: Stamp) -> list[int]:
    metadata = _parquet(stamp).metadata
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return [int(end) for end in np.cumsum(sizes)]


@lru_cache(maxsize=2)
def _row_group(stamp: Stamp, group: int) -> Any:
    """Decode the pictures of one row group; two are kept, so memory does not grow with the file."""
    parquet = _parquet(stamp)
    column = picture_column(parquet)
    if column is None:
        raise FileNotFoundError(2, "the Parquet file has no column of pictures", str(stamp.path))
    return parquet.read_row_group(group, columns=[column])[column]
