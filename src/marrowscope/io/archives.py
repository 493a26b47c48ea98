"""Containers of pictures: zip and tar archives, and Parquet files with a column of pictures."""

import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from marrowscope.errors import MissingExtraError, said_by
from marrowscope.locations import Location, copy_of, read_object

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

ZIP, TAR, PARQUET = ".zip", ".tar", ".parquet"
LARGEST_BYTES = 256 * 2**20
"""Of one picture that is a file, an object or a member of an archive; more is not read."""
LEFT_BY_SYSTEMS = ("thumbs.db", "desktop.ini")


class Stamp(NamedTuple):
    """Which state of a container a handle belongs to; a forked process opens its own."""

    path: Path
    changed_ns: int
    process: int


def is_left_by_systems(name: str) -> bool:
    """Tell whether a file is hidden, or one that operating systems leave in folders."""
    return name.startswith(".") or name.lower() in LEFT_BY_SYSTEMS


def read_inside(container: Path, inner: str) -> bytes:
    """Read the picture that has a name (in a Parquet file: a row's number) in a container.

    Raises:
        OSError: nothing is there, it cannot be read, or the file is no container.
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
    """
    read = READ_INSIDE.get(container.suffix.lower())
    if read is None:
        kinds = "zip or tar archive or Parquet file"
        raise NotADirectoryError(20, f"its folder is a file, and no {kinds}", str(container))
    return read(Stamp(container, container.stat().st_mtime_ns, os.getpid()), inner)


def is_container(name: str) -> bool:
    """Tell a container by its name."""
    return PurePosixPath(name).suffix.lower() in READ_INSIDE


def pictures_inside(file: Path) -> Iterator[str]:
    """Name what may be a picture in a container, in its order; rows of a Parquet file by number.

    Raises:
        OSError: it cannot be read, or is a Parquet file without pictures.
        MissingExtraError: it is a Parquet file, and pyarrow is not installed.
    """
    kind = file.suffix.lower()
    if kind == PARQUET:
        yield from map(str, range(_rows_with_pictures(file)))
        return
    for name in zip_members(file) if kind == ZIP else tar_members(file):
        parts = PurePosixPath(name).parts
        if "__MACOSX" not in parts and not any(map(is_left_by_systems, parts)):
            yield name


def check_size(size: int, path: Path) -> None:
    """Refuse what is too large to be one picture.

    Raises:
        OSError: it has more than `LARGEST_BYTES`.
    """
    if size > LARGEST_BYTES:
        limit = f"it has {size / 2**20:,.0f} MiB; at most {LARGEST_BYTES // 2**20} are read"
        raise OSError(27, limit, str(path))


def zip_members(path: Path) -> list[str]:
    """Name the files of a zip archive, in its order.

    Raises:
        OSError: it is no zip archive.
    """
    archive = _zip(Stamp(path, path.stat().st_mtime_ns, os.getpid()))
    names = (member.filename for member in archive.infolist())
    return [name for name in names if not name.endswith("/")]


def _zip_member(stamp: Stamp, name: str) -> bytes:
    archive = _zip(stamp)
    with _damage("it cannot be unpacked", name):
        try:
            member = archive.getinfo(name)
        except KeyError:
            raise FileNotFoundError(2, "no such file in the zip archive", name) from None
        check_size(member.file_size, Path(name))
        return archive.read(name)


@lru_cache(maxsize=8)
def _zip(stamp: Stamp) -> zipfile.ZipFile:
    with _damage("it is no whole zip archive", str(stamp.path)):
        return zipfile.ZipFile(stamp.path)


@contextmanager
def _damage(what: str, name: str) -> Iterator[None]:
    """Turn the many types in which damage shows, those of zlib and lzma too, into an OSError."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - as said
        raise OSError(5, f"{what} ({said_by(error)})", name) from None


def tar_members(path: Path) -> list[str]:
    """Name the files of a tar archive, in its order.

    Raises:
        OSError: it is no tar archive, or a compressed one.
    """
    return list(_tar(Stamp(path, path.stat().st_mtime_ns, os.getpid())))


def _tar_member(stamp: Stamp, name: str) -> bytes:
    try:
        start, size = _tar(stamp)[name]
    except KeyError:
        raise FileNotFoundError(2, "no such file in the tar archive", name) from None
    check_size(size, Path(name))
    with stamp.path.open("rb") as file:
        file.seek(start)
        return file.read(size)


@lru_cache(maxsize=8)
def _tar(stamp: Stamp) -> dict[str, tuple[int, int]]:
    """Say where the content of each file starts, and how many bytes it has."""
    with (
        _damage("it is no whole tar archive without compression", str(stamp.path)),
        tarfile.open(stamp.path, "r:") as archive,
    ):
        return {
            member.name: (member.offset_data, member.size) for member in archive if member.isfile()
        }


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
    parquet = arrow().parquet
    try:
        return parquet.ParquetFile(stamp.path)
    except (FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # noqa: BLE001 - damage shows in many types
        raise OSError(
            5, f"it is no whole Parquet file ({said_by(error)})", str(stamp.path)
        ) from None


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
    rows = _row_group(stamp, group)
    if int(row) - start >= len(rows):
        raise OSError(5, f"it has fewer rows than the {parquet.metadata.num_rows} it tells of", row)
    value = rows[int(row) - start].as_py()
    content = value.get("bytes") if isinstance(value, dict) else value
    if content is None:
        raise FileNotFoundError(2, "the row holds no picture", row)
    if not isinstance(content, bytes):
        raise OSError(5, f"the row holds no picture, but {type(content).__name__}", row)
    check_size(len(content), stamp.path / row)
    return content


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
    try:
        return parquet.read_row_group(group, columns=[column])[column]
    except Exception as error:  # noqa: BLE001 - damage shows in many types
        raise OSError(5, f"its pictures cannot be unpacked ({said_by(error)})") from None


def _rows_with_pictures(file: Path) -> int:
    parquet = open_parquet(file)
    if picture_column(parquet) is None:
        raise OSError(5, "the Parquet file has no column of pictures", str(file))
    return int(parquet.metadata.num_rows)


READ_INSIDE: dict[str, Callable[[Stamp, str], bytes]] = {
    ZIP: _zip_member,
    TAR: _tar_member,
    PARQUET: _parquet_picture,
}
"""How a picture is read from a container, by its suffix."""


def read_content(location: Location) -> bytes:
    """Read a file or an object, or the picture inside a container that is one.

    Inside are a zip's or tar's member (`set.zip/LYT/1.jpg`) and a Parquet row (`a.parquet/7`).

    Raises:
        OSError: nothing is there, or it cannot be read.
        MissingExtraError: it lies in a Parquet file or a store whose library is not installed.
    """
    if not isinstance(location, Path):
        return _read_remote(location)
    try:
        _check(location)
        return location.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        container = next((parent for parent in location.parents if parent.is_file()), None)
        if container is None:
            raise
    return read_inside(container, location.relative_to(container).as_posix())


def _check(file: Path) -> None:
    """Refuse what is too large, and what never ends: pipes and devices.

    Raises:
        OSError: it is one of them.
    """
    status = file.stat()
    check_size(status.st_size, file)
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise OSError(22, "it is a pipe or device, no file", str(file))


def _read_remote(url: str) -> bytes:
    parts = url.split("/")
    for end in range(4, len(parts)):
        if is_container(parts[end - 1]):
            return read_inside(copy_of("/".join(parts[:end])), "/".join(parts[end:]))
    return read_object(url, LARGEST_BYTES)


def pictures_of(location: Location) -> Iterator[Location]:
    """Give the places of the pictures in a container, in its order; none leads out of it.

    Raises:
        OSError: it cannot be read, or is a Parquet file without pictures.
        MissingExtraError: it is a Parquet file or lies in a store, and its library is not there.
    """
    if isinstance(location, Path):
        yield from (location / name.lstrip("/") for name in pictures_inside(location))
    else:
        yield from (f"{location}/{name}" for name in pictures_inside(copy_of(location)))
