"""The bytes of a picture: of a file, of an object in a store, or of one inside a container."""

import stat
from collections.abc import Iterator
from pathlib import Path

from marrowscope.files.containers import (
    LARGEST_BYTES,
    check_size,
    is_container,
    pictures_inside,
    read_inside,
)
from marrowscope.locations import Location, copy_of, read_object


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
