"""Pictures as files that are named by their content: written whole or not at all, never changed."""

import hashlib
import os
import re
import tempfile
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from marrowscope.errors import NotThereError, StoreError, UnavailableError

NAME = re.compile(r"[0-9a-f]{64}")
PARTIAL = ".partial-"
CHUNK = 1 << 20


class Blobs:
    """A folder of files named by their SHA-256, such as `ab/abcd...`."""

    def __init__(self, root: Path) -> None:
        """Use a folder, which is made if need be.

        Raises:
            StoreError: it cannot be made.
        """
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{root}: cannot hold pictures ({error.strerror})") from None

    def path(self, sha256: str) -> Path:
        """Give the place of a content, which may not be there.

        Raises:
            StoreError: this is no SHA-256.
        """
        if not NAME.fullmatch(sha256):
            raise StoreError(f"{sha256[:80]!r} is no SHA-256 in small hexadecimal digits")
        return self.root / sha256[:2] / sha256

    def location(self, sha256: str) -> str:
        """Say where others find a content, which may not be there.

        Raises:
            StoreError: this is no SHA-256.
        """
        return str(self.path(sha256).resolve())

    def put(self, content: bytes) -> str:
        """Keep bytes; give their SHA-256 once they are on the disk.

        Raises:
            UnavailableError: they cannot be kept, such as on a full disk.
        """
        return self.put_chunks([content])

    def put_chunks(self, chunks: Iterable[bytes]) -> str:
        """Keep what comes in pieces; give its SHA-256 once it is on the disk.

        What raises an error while it gives pieces leaves nothing behind; it must be no OSError.

        Raises:
            UnavailableError: it cannot be kept, such as on a full disk.
        """
        with failing(f"{self.root}: a picture cannot be kept"):
            return self._put(chunks)

    def _put(self, chunks: Iterable[bytes]) -> str:
        digest = hashlib.sha256()
        handle, name = tempfile.mkstemp(prefix=PARTIAL, dir=self.root)
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            self._name(partial, digest.hexdigest())
        finally:
            partial.unlink(missing_ok=True)
        return digest.hexdigest()

    def _name(self, partial: Path, sha256: str) -> None:
        """Give a whole file its name, and the name to the disk."""
        file = self.path(sha256)
        is_new = not file.parent.is_dir()
        file.parent.mkdir(exist_ok=True)
        partial.replace(file)
        _sync(file.parent)
        if is_new:
            _sync(self.root)

    def __contains__(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def read(self, sha256: str) -> bytes:
        """Give a content, checked against its name.

        Raises:
            NotThereError: it is not there.
            StoreError: the file is not what it was when it was kept.
            UnavailableError: it cannot be read now.
        """
        with failing(f"{self.root}: a picture cannot be read"):
            try:
                content = self.path(sha256).read_bytes()
            except FileNotFoundError:
                raise NotThereError(f"there is no picture {sha256}") from None
        if hashlib.sha256(content).hexdigest() != sha256:
            raise StoreError(f"{self.path(sha256)}: the file was changed; restore it from a copy")
        return content

    def names(self) -> Iterator[str]:
        """Give the SHA-256 of every content that is kept."""
        for folder in sorted(self.root.glob("[0-9a-f][0-9a-f]")):
            yield from sorted(file.name for file in folder.iterdir() if NAME.fullmatch(file.name))

    def sweep(self, names: Container[str], older_than: float) -> int:
        """Remove contents that are not wanted and were kept before a time (seconds since 1970).

        Give how many. Younger ones may be of an upload that goes on; what a killed upload left
        half written is removed by the same rule.
        """
        removed = 0
        for name in self.names():
            removed += name not in names and _remove_old(self.path(name), older_than)
        for partial in self.root.glob(f"{PARTIAL}*"):
            _remove_old(partial, older_than)
        return removed


@contextmanager
def failing(task: str) -> Iterator[None]:
    """Turn what a disk or a store raises into an error of ours; `task` cannot be done then.

    Raises:
        UnavailableError: it fails.
    """
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"{task} ({error.strerror or error}); try again when that is mended"
        ) from None


def read_chunks(file: Path) -> Iterator[bytes]:
    """Give a file in pieces of 1 MiB."""
    with file.open("rb") as content:
        while chunk := content.read(CHUNK):
            yield chunk


def _remove_old(file: Path, older_than: float) -> bool:
    with suppress(FileNotFoundError):
        if file.stat().st_mtime < older_than:
            file.unlink()
            return True
    return False


def _sync(folder: Path) -> None:
    """Write a folder's names to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
