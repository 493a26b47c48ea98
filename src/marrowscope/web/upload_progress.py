"""How far uploads have come that are being unpacked: kept in memory, by who sends and the key."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

Sent = tuple[int, str]
"""Number of the user, and the idempotency key of the upload."""


@dataclass(frozen=True)
class Unpacked:
    """Files of an upload that were looked at, of how many; 0 of 0 for one that is not at work."""

    done: int = 0
    total: int = 0


class Unpacking:
    """The uploads that are at work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at_work: dict[Sent, Unpacked] = {}

    def tell(self, sent: Sent, done: int, total: int) -> None:
        """Say how far an upload is."""
        with self._lock:
            self._at_work[sent] = Unpacked(done, total)

    def of(self, sent: Sent) -> Unpacked:
        """Give how far an upload is."""
        with self._lock:
            return self._at_work.get(sent, Unpacked())

    @contextmanager
    def going(self, sent: Sent) -> Iterator[None]:
        """Forget an upload at the end, however it ends."""
        try:
            yield
        finally:
            with self._lock:
                self._at_work.pop(sent, None)
