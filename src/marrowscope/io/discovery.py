"""Find the files that a person means by files, folders and patterns, one by one."""

import glob
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np

from marrowscope.io.archives import is_container, is_left_by_systems, pictures_of
from marrowscope.locations import Location, is_object, is_url, name_of, objects_below
from marrowscope.types import Found, Picture, Reject

HASHES_AT_ONCE = 8192
OWN = (
    "it leads to nothing but files that marrowscope itself reads or writes here, such as "
    "case.toml, reviews.csv and results; give pictures, or a folder, archive or pattern of them"
)


class Seen:
    """Remembers texts by hashes of 64 bits: 8 bytes each, and a set of the latest ones.

    That one of a million files is taken for another has a probability below 1 in 10 million.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.int64)
        self._latest: set[int] = set()

    def add(self, text: str) -> bool:
        """Remember a text; tell whether it is new."""
        key = hash(text)
        location = self._sorted.searchsorted(key)
        if key in self._latest or key in self._sorted[location : location + 1]:
            return False
        self._latest.add(key)
        if len(self._latest) == HASHES_AT_ONCE:
            self._sorted = np.union1d(self._sorted, np.fromiter(self._latest, np.int64))
            self._latest.clear()
        return True


def find_files(
    inputs: Iterable[str], um_per_px: float | None = None, besides: Collection[Path] = ()
) -> Iterator[Found]:
    """Give the pictures behind the inputs, each once, folders in sorted order at any depth.

    Containers (zip and tar archives, Parquet files) give the pictures in them. Inputs may be URLs
    of stores (`s3://bucket/monday`), which are walked like folders.

    An input that leads to no file comes back as a reject, and so does a folder, store or container
    that cannot be read, or a name that is no UTF-8. Hidden files (a name that starts with a dot)
    and what operating systems leave (`Thumbs.db`, `desktop.ini`) are passed over in folders, stores
    and containers; the files `besides` are no input, and one that leads to them alone is a reject.
    Memory holds the names of one folder (of a
    pattern: its matches) and a hash of 8 bytes for each file seen.

    Raises:
        MissingExtraError: the library for a store or a Parquet file is not installed.
    """
    left_out = {os.path.realpath(file) for file in besides}
    seen = Seen()
    for path in inputs:
        nothing, own = True, False
        for file in _files_of(path):
            if isinstance(file, Reject):
                nothing = False
                yield file
                continue
            identity = os.path.realpath(file) if isinstance(file, Path) else file
            if identity in left_out:
                own = True
                continue
            nothing = False
            if seen.add(identity):
                yield from _pictures(file, um_per_px)
        if nothing:
            yield Reject(path, OWN if own else _why_nothing(path))


def _pictures(file: Location, um_per_px: float | None) -> Iterator[Found]:
    """Take a file for a picture, unless it is a container of them."""
    if not is_container(name_of(file)):
        yield _picture(file, um_per_px)
        return
    nothing = True
    try:
        for location in pictures_of(file):
            nothing = False
            yield _picture(location, um_per_px)
    except OSError as error:
        yield Reject(str(file), error.strerror or str(error))
    else:
        if nothing:
            yield Reject(str(file), "it holds no files")


def _picture(location: Location, um_per_px: float | None) -> Found:
    """Take a file for a picture, unless its name cannot be written into a table."""
    try:
        str(location).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(location).decode("utf-8", "replace")
        return Reject(shown, "the name is no text in UTF-8; rename the file")
    return Picture(location, um_per_px)


def _files_of(name: str) -> Iterator[Location | Reject]:
    path = Path(name)
    if is_url(name):
        yield from _objects_of(name)
    elif path.is_dir():
        yield from _inside(path)
    elif path.exists():
        yield path
    elif glob.has_magic(name):
        for match in map(Path, sorted(glob.glob(name, recursive=True), key=_by_parts)):  # noqa: PTH207
            yield from _inside(match) if match.is_dir() else (match,)


def _objects_of(url: str) -> Iterator[Location | Reject]:
    try:
        if is_object(url):
            yield url
        else:
            yield from (
                name for name in objects_below(url) if not is_left_by_systems(name_of(name))
            )
    except OSError as error:
        yield Reject(url, f"the store cannot be read ({error.strerror or error})")


def _why_nothing(path: str) -> str:
    if is_url(path):
        return "no object has this URL, or lies below it"
    if Path(path).is_dir():
        return "the folder holds no files"
    return "no file matches this pattern" if glob.has_magic(path) else "no such file or folder"


def _by_parts(path: str) -> str:
    """Sort as paths do, by the name of each folder; `a/b` comes before `a.jpg`."""
    return str(Path(path)).replace(os.sep, "\0")


def _inside(folder: Path) -> Iterator[Path | Reject]:
    """Give the files of a folder and of those in it, by name; links to folders are not followed."""
    try:
        names, folders = _list(folder)
    except OSError as error:
        yield Reject(str(folder), f"the folder cannot be listed ({error.strerror})")
        return
    while names:
        name = names.pop()
        if name in folders:
            yield from _inside(folder / name)
        else:
            yield folder / name


def _list(folder: Path) -> tuple[list[str], set[str]]:
    """Name the files and folders in a folder, the last one first, and which are folders."""
    names, folders = [], set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_left_by_systems(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
            elif not os.path.isfile(entry):  # noqa: PTH113 - pathlib looks at each file anew
                continue
            names.append(entry.name)
    names.sort(reverse=True)
    return names, folders
