"""Small pictures of the known cells: a person sees what the network finds alike."""

import io
import json
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from marrowscope.errors import BundleError
from marrowscope.io.hashes import file_hash
from marrowscope.io.tables import whole_file

PICTURES = "known-cells.zip"
"""The file in the bundle's folder: `0.jpg` for the first row of `references.npz`, and so on."""
SOURCES = "sources.json"
"""Inside it: the source of each cell, in the same order."""
SIDE = 72
"""Pixels of a picture, at most."""
QUALITY = 80
LARGEST = 16 * 1024
"""Bytes of a picture that is read; those that are written have about 1,600."""
LONGEST = 1024 * 1024
"""Bytes of the sources."""
MADE = (1980, 1, 1, 0, 0, 0)
"""Date of each file in the zip: always one, so that the same cells make the same file."""

Cell = tuple[NDArray[np.uint8], str]
"""A picture (3, S, S) as the network sees it, and its source."""


@dataclass(frozen=True)
class KnownPictures:
    """What `bundle.json` says of the pictures of its known cells."""

    cells: int
    """As many as `references.npz` has."""
    credit: str
    """Whose pictures these are and under which licence; shown beside them."""
    sha256: str
    """Of `known-cells.zip`."""


@dataclass(frozen=True)
class KnownPicture:
    """A known cell as the network sees it."""

    source: str
    """As the manifest of the training has it."""
    jpeg: bytes
    """At most 72 pixels a side."""


def write_pictures(cells: Iterable[Cell], folder: Path, credit: str) -> KnownPictures:
    """Write `known-cells.zip` into a bundle's folder; give what `bundle.json` says of it.

    The cells come in the order of the bundle's references; `credit` says whose they are.
    """
    sources: list[str] = []
    file = folder / PICTURES
    with whole_file(file) as partial, zipfile.ZipFile(partial, "w") as archive:
        for row, (pixels, source) in enumerate(cells):
            archive.writestr(zipfile.ZipInfo(_name(row), MADE), _jpeg(pixels))
            sources.append(source)
        archive.writestr(zipfile.ZipInfo(SOURCES, MADE), json.dumps(sources))
    return KnownPictures(len(sources), credit, file_hash(file))


def _name(row: int) -> str:
    return f"{row}.jpg"


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    image = Image.fromarray(pixels.transpose(1, 2, 0))
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


def read_pictures(file: Path, cells: int) -> tuple[KnownPicture, ...]:
    """Read `known-cells.zip` with the pictures of so many cells; nothing in it is executed.

    Raises:
        BundleError: it cannot be read, or holds something else.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            jpegs = tuple(_picture(_member(archive, _name(row), LARGEST)) for row in range(cells))
            sources = json.loads(_member(archive, SOURCES, LONGEST))
            _check(archive, sources, cells)
    except Exception as error:  # noqa: BLE001 - damage shows in many types, of zlib and zipfile too
        raise BundleError(
            f"{file} cannot be read as pictures of {cells} known cells ({error}); fetch or export "
            "the bundle again"
        ) from None
    return tuple(KnownPicture(*pair) for pair in zip(sources, jpegs, strict=True))


def _member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Read one file of a zip.

    Raises:
        KeyError: it is not there.
        ValueError: it is larger than `most` bytes.
    """
    size = archive.getinfo(name).file_size
    if size > most:
        raise ValueError(f"{name} has {size:,} bytes, {most:,} are allowed")
    return archive.read(name)


def _picture(jpeg: bytes) -> bytes:
    """Check by its head that a file is a small JPEG.

    Raises:
        ValueError: it is none, or is larger.
    """
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
            size = image.size
    except OSError as error:
        raise ValueError(str(error)) from None
    if max(size) > SIDE:
        raise ValueError(f"a picture of {size[0]} x {size[1]} pixels, {SIDE} are allowed")
    return jpeg


def _check(archive: zipfile.ZipFile, sources: Sequence[object], cells: int) -> None:
    """Check that a zip holds the pictures, their sources and nothing else.

    Raises:
        ValueError: it does not.
    """
    files = len(archive.namelist())
    if files != cells + 1:
        raise ValueError(f"it holds {files} files, not {cells + 1}")
    if not isinstance(sources, list) or [type(source) for source in sources] != [str] * cells:
        raise ValueError(f"{SOURCES} is not a list of {cells} texts")


def pictures_of(values: dict[str, Any] | None) -> KnownPictures | None:
    """Read what `bundle.json` says of the pictures; bundles that are older say nothing."""
    if values is None:
        return None
    return KnownPictures(int(values["cells"]), str(values["credit"]), str(values["sha256"]))
