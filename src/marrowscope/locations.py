"""Where a picture lies: a file of this machine, or an object in a store reached by a URL."""

import os
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from marrowscope.errors import MissingExtraError

Location = Path | str
"""A file, or the URL of an object, such as `s3://smears/monday/1.jpg`."""

STORES = ("abfs", "abfss", "adl", "az", "gcs", "gs", "oci", "oss", "s3", "s3a")
"""Kinds of stores that are reached. Others of fsspec are not: a manifest that somebody else wrote
must not have this machine ask for web pages or files in its network."""
INSTALL = "install it with: pip install 'marrowscope[stores]'"
COPIES_KEPT = 4
"""Containers copied from a store that are on this machine's disk at a time."""


def is_url(text: str) -> bool:
    """Tell `s3://bucket/key` from the path of a file."""
    scheme, colon, rest = text.partition("://")
    return bool(colon and rest) and scheme.isalnum()


def location_of(text: str) -> Location:
    """Give the location that a text names."""
    return text if is_url(text) else Path(text)


def within(root: Path, path: str) -> Location:
    """Give what a path below a folder leads to; a URL leads away from it."""
    return path if is_url(path) else root / path


def name_of(location: Location) -> str:
    """Name the file or object, without what it lies in."""
    return location.name if isinstance(location, Path) else location.rpartition("/")[2]


def read_object(url: str, largest: int) -> bytes:
    """Read an object of at most `largest` bytes.

    Raises:
        OSError: nothing is there, it is larger, or the store cannot be reached.
        MissingExtraError: the library for such a store is not installed.
    """
    store, path = store_of(url)
    size = asked(url, lambda: store.size(path))
    if size and size > largest:
        limit = f"it has {size / 2**20:,.0f} MiB; at most {largest // 2**20} are read"
        raise OSError(27, limit, url)
    return bytes(asked(url, lambda: store.cat_file(path)))


def is_object(url: str) -> bool:
    """Tell whether the URL leads to one object, not to what stands for a folder.

    Raises:
        OSError: the store cannot be reached.
        MissingExtraError: the library for such a store is not installed.
    """
    store, path = store_of(url)
    return bool(asked(url, lambda: store.isfile(path)))


def objects_below(url: str) -> Iterator[str]:
    """Give the URLs of the objects below one, in sorted order, one folder in memory at a time.

    Raises:
        OSError: the store cannot be reached.
        MissingExtraError: the library for such a store is not installed.
    """
    store, path = store_of(url)
    is_folder = asked(url, lambda: store.isdir(path))
    entries = asked(url, lambda: store.ls(path, detail=True)) if is_folder else []
    for entry in sorted(entries, key=lambda each: str(each["name"])):
        inner = f"{url.rstrip('/')}/{entry['name'].rstrip('/').rpartition('/')[2]}"
        if entry["type"] == "directory":
            yield from objects_below(inner)
        elif entry["name"].rstrip("/") != path.rstrip("/"):
            yield inner


class Copies:
    """Copies of large objects on this machine's disk, the latest few."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="marrowscope-"))
        self._files: OrderedDict[str, Path] = OrderedDict()
        self._number = 0
        self._lock = threading.Lock()

    def of(self, url: str) -> Path:
        """Give the copy of an object; it is fetched unless it is there.

        Raises:
            OSError: nothing is there, or the store cannot be reached.
            MissingExtraError: the library for such a store is not installed.
        """
        with self._lock:
            if url not in self._files:
                self._files[url] = self._fetch(url)
            self._files.move_to_end(url)
            while len(self._files) > COPIES_KEPT:
                self._files.popitem(last=False)[1].unlink(missing_ok=True)
            return self._files[url]

    def _fetch(self, url: str) -> Path:
        self._number += 1
        copy = self._folder / f"{self._number}-{name_of(url)}"
        store, path = store_of(url)
        asked(url, lambda: store.get_file(path, str(copy)))
        return copy

    def __del__(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


@cache
def _copies(process: int) -> Copies:  # noqa: ARG001 - a forked process has its own
    return Copies()


def copy_of(url: str) -> Path:
    """Give a copy of an object on this machine's disk.

    Raises:
        OSError: nothing is there, or the store cannot be reached.
        MissingExtraError: the library for such a store is not installed.
    """
    return _copies(os.getpid()).of(url)


def store_of(url: str) -> tuple[Any, str]:
    """Give the store of a URL as a file system of fsspec, and the path in it.

    Raises:
        OSError: there is no such kind of store.
        MissingExtraError: the library for such a store is not installed.
    """
    kind = url.partition("://")[0].lower()
    if kind not in STORES:
        stores = ", ".join(STORES)
        raise OSError(22, f"no such kind of store ({kind}; {stores} are reached)", url)
    try:
        return tuple(import_module("fsspec").core.url_to_fs(url))
    except ImportError as error:
        raise MissingExtraError(f"{url} cannot be reached ({error}); {INSTALL}") from None
    except ValueError as error:
        raise OSError(22, f"no such kind of store ({error})", url) from None


def asked(url: str, question: Callable[[], Any]) -> Any:
    """Ask a store; what its library raises becomes an OSError.

    Raises:
        OSError: it does not answer, or nothing is there.
    """
    try:
        return question()
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - each store's library raises types of its own
        raise OSError(5, f"the store does not answer ({error})", url) from None
