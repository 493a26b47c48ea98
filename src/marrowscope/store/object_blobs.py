"""Pictures in an object store that many servers share, with copies on this machine's disk."""

import math
import os
import tempfile
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from marrowscope.errors import StoreError, UnavailableError
from marrowscope.io.hashes import file_hash
from marrowscope.locations import asked, store_of
from marrowscope.store.blobs import NAME, PARTIAL, Blobs, failing


class SharedBlobs(Blobs):
    """Contents named by their SHA-256 below a URL, such as `s3://bucket/room/ab/abcd...`.

    A content is confirmed once the store has it. What is read is copied into a folder first; the
    copies may be removed at any time, and are removed when the store is swept.
    """

    def __init__(self, root: Path, url: str) -> None:
        """Use a store, and a folder for copies.

        Raises:
            StoreError: the folder cannot be made.
            UnavailableError: the store cannot be reached.
            MissingExtraError: the library for such a store is not installed.
        """
        super().__init__(root)
        self.url = url.rstrip("/")
        try:
            self._store, self._prefix = store_of(self.url)
            asked(url, lambda: self._store.exists(self._prefix))
        except OSError as error:
            raise UnavailableError(
                f"{url}: cannot hold pictures ({error.strerror or error}); see that the bucket is "
                "there and that the keys are set"
            ) from None

    def path(self, sha256: str) -> Path:
        """Give the place of a copy, fetched from the store unless it is here.

        It stays empty where the store has no such content.

        Raises:
            StoreError: this is no SHA-256, or the object was changed.
            UnavailableError: the store does not answer, or no copy can be kept here.
        """
        file = super().path(sha256)
        if not file.is_file():
            self._fetch(sha256, file)
        return file

    def location(self, sha256: str) -> str:
        """Give the URL of a content, which may not be there.

        Raises:
            StoreError: this is no SHA-256.
        """
        return f"{self.url}/{super().path(sha256).relative_to(self.root).as_posix()}"

    def _name(self, partial: Path, sha256: str) -> None:
        """Send a whole file to the store, then keep it as a copy."""
        to = self._object(sha256)
        if not self._ask(lambda: self._store.exists(to)):
            self._ask(lambda: self._store.put_file(str(partial), to))
        super()._name(partial, sha256)

    def _object(self, sha256: str) -> str:
        return f"{self._prefix}/{sha256[:2]}/{sha256}"

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Ask the store.

        Raises:
            UnavailableError: it does not answer, or does not allow it.
        """
        with failing(f"{self.url}: the store of the pictures cannot be used"):
            return asked(self.url, question)

    def _fetch(self, sha256: str, file: Path) -> None:
        with failing(f"{self.url}: a picture cannot be copied to {self.root}"):
            handle, name = tempfile.mkstemp(prefix=PARTIAL, dir=self.root)
            os.close(handle)
            copy = Path(name)
            try:
                asked(self.url, lambda: self._store.get_file(self._object(sha256), name))
                if file_hash(copy) != sha256:
                    raise StoreError(f"{self.location(sha256)}: the object was changed; restore it")
                file.parent.mkdir(exist_ok=True)
                copy.replace(file)
            except FileNotFoundError:
                pass  # the place stays empty, as it is for a content that is not there
            finally:
                copy.unlink(missing_ok=True)

    def __contains__(self, sha256: str) -> bool:
        to = self._object(sha256)
        return super().path(sha256).is_file() or bool(self._ask(lambda: self._store.exists(to)))

    def names(self) -> Iterator[str]:
        """Give the SHA-256 of every content that the store has.

        Raises:
            UnavailableError: the store does not answer.
        """
        objects = self._ask(lambda: self._store.find(self._prefix))
        names = (name.rpartition("/")[2] for name in objects)
        yield from sorted(name for name in names if NAME.fullmatch(name))

    def sweep(self, names: Container[str], older_than: float) -> int:
        """Remove contents that are not wanted and were kept before a time (seconds since 1970).

        Give how many. All copies of that age are removed as well, wanted or not.
        """
        removed = 0
        for name in self.names():
            to = self._object(name)
            if name not in names and self._kept_at(to) < older_than:
                self._remove(to)
                removed += 1
        for file in chain(self.root.glob("*/*"), self.root.glob(f"{PARTIAL}*")):
            with suppress(FileNotFoundError):
                if file.stat().st_mtime < older_than:
                    file.unlink()
        return removed

    def _remove(self, to: str) -> None:
        self._ask(lambda: self._store.rm_file(to))

    def _kept_at(self, to: str) -> float:
        """Say when an object was kept; in all future if another server has just removed it."""

        def kept() -> float:
            try:
                return float(self._store.modified(to).timestamp())
            except FileNotFoundError:
                return math.inf

        return float(self._ask(kept))
