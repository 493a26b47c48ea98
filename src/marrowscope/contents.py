"""The bytes of a picture: of a file, of an object in a store, or of one inside a container."""

from collections.abc import Iterator
from pathlib import Path

from marrowscope.containers import (
    LARGEST_BYTES,
    check_size,
    is_container,
    pictures_inside,
    read_inside,
)
from marrowscope.places import Place, copy_of, read_object


def read_content(place: Place) -> bytes:
    """Read a file or an object, or the picture inside a container that is one.

    Inside are a zip's or tar's member (`set.zip/LYT/1.jpg`) and a Parquet row (`a.parquet/7`).

    Raises:
        OSError: nothing is there, or it cannot be read.
        MissingExtraError: it lies in a Parquet file or a store whose library is not installed.
    """
    if not isinstance(place, Path):
        return _read_remote(place)
    try:
        check_size(place.stat().st_size, place)
        return place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        container = next((parent for parent in place.parents if parent.is_file()), None)
        if container is None:
            raise
    return read_inside(container, place.relative_to(container).as_posix())


def _read_remote(url: str) -> bytes:
    parts = url.split("/")
    for end in range(4, len(parts)):
        if is_container(parts[end - 1]):
            return read_inside(copy_of("/".join(parts[:end])), "/".join(parts[end:]))
    return read_object(url, LARGEST_BYTES)


def pictures_of(place: Place) -> Iterator[Place]:
    """Give the places of the pictures in a container, in its order.

    Raises:
        OSError: it cannot be read, or is a Parquet file without pictures.
        MissingExtraError: it is a Parquet file or lies in a store, and its library is not there.
    """
    if isinstance(place, Path):
        yield from map(place.joinpath, pictures_inside(place))
    else:
        yield from (f"{place}/{name}" for name in pictures_inside(copy_of(place)))
