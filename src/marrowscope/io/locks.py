"""One command at a time writes to a place: a lock that ends with its process."""

import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from marrowscope.errors import OutputError

LOCK = ".lock"
"""Name of the lock in a folder; that of the file `cells.csv` is `.cells.csv.lock` beside it."""
PATIENCE = 0.1
"""Seconds in which a command that is about to end may do so."""
LONGEST = 200
"""Characters read of what a lock says of who holds it."""


@contextmanager
def alone_in(folder: Path) -> Iterator[Path]:
    """Make a folder and keep other commands from writing into it; give it.

    What was made here and holds nothing in the end is removed again. Processes that are forked
    meanwhile do not hold the lock.

    Raises:
        OutputError: it cannot be written to, or another command writes into it.
    """
    with _made(folder, folder), _lock(folder / LOCK, folder, "folder"):
        yield folder


@contextmanager
def alone_at(file: Path) -> Iterator[Path]:
    """Keep other commands from writing a file, as `alone_in` does for a folder; give it.

    Raises:
        OutputError: its folder cannot be written to, or another command writes the file.
    """
    lock = file.with_name(f".{file.name}{LOCK}")
    with _made(file.parent, file), _lock(lock, file, "file"):
        yield file


def holds_something(folder: Path) -> bool:
    """Tell whether a folder holds anything but a lock."""
    return any(path.name != LOCK for path in folder.iterdir())


@contextmanager
def _made(folder: Path, place: Path) -> Iterator[None]:
    """Make a folder and those above it; remove again those that hold nothing in the end."""
    with ExitStack() as made:
        for each in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
            made.callback(_remove_empty, each)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(place, error) from None
        yield


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


@contextmanager
def _lock(file: Path, place: Path, kind: str) -> Iterator[None]:
    lock = FileLock(file, timeout=PATIENCE, poll_interval=PATIENCE / 5)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"{place}: another marrowscope command writes to it{_holder(file)}; wait until that "
            f"has ended, or give another {kind}"
        ) from None
    except OSError as error:
        raise _unusable(place, error) from None
    try:
        with suppress(OSError):  # who holds it is said where the disk has room for it
            file.write_text(_this_process(), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):  # removed while it is held: who waits for it sees that it is gone
            file.unlink()
        lock.release()


def _this_process() -> str:
    now = datetime.now().astimezone()
    return f"process {os.getpid()} on {platform.node()}, since {now:%Y-%m-%d %H:%M:%S}"


def _holder(lock: Path) -> str:
    """Say who holds a lock, as far as it tells."""
    with suppress(OSError, UnicodeDecodeError), lock.open(encoding="utf-8") as file:
        if words := file.read(LONGEST).strip():
            return f" ({words})"
    return ""


def _unusable(place: Path, error: OSError) -> OutputError:
    return OutputError(f"{place}: cannot be used for results: {error.strerror or error}")
