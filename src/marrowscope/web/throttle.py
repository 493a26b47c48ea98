"""How often somebody may fail to log in before having to wait; kept in memory."""

import threading
import time
from collections import deque
from collections.abc import Callable

from marrowscope.errors import TooOftenError

WINDOW_S = 600.0
MOST = {"name": 8, "address": 40}
"""Failures within the window, for one name and from one address."""
MOST_KEYS = 10_000


class Attempts:
    """Counts failed logins by name and by address over the last ten minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Use a clock that gives seconds."""
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: dict[tuple[str, str], deque[float]] = {}

    def check(self, name: str, address: str) -> None:
        """Check that a login may be tried.

        Raises:
            TooOftenError: there were too many failures; it says how long to wait.
        """
        with self._lock:
            for key in _keys(name, address):
                times = self._recent(key)
                if len(times) >= MOST[key[0]]:
                    raise TooOftenError(round(times[0] + WINDOW_S - self._clock()) + 1)

    def failed(self, name: str, address: str) -> None:
        """Count a failure."""
        with self._lock:
            if len(self._failed) > MOST_KEYS:
                self._forget()
            for key in _keys(name, address):
                self._failed.setdefault(key, deque()).append(self._clock())

    def succeeded(self, name: str) -> None:
        """Forget the failures of a name whose password was given."""
        with self._lock:
            self._failed.pop(_keys(name, "")[0], None)

    def _recent(self, key: tuple[str, str]) -> deque[float]:
        times = self._failed.get(key, deque())
        while times and times[0] <= self._clock() - WINDOW_S:
            times.popleft()
        return times

    def _forget(self) -> None:
        self._failed = {key: times for key, times in self._failed.items() if self._recent(key)}


def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
    return ("name", name.strip().casefold()[:200]), ("address", address)
