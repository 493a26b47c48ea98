"""The worker in a process of its own: pages and reading share no lock of Python's and no memory."""

import logging
import multiprocessing
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

from marrowscope.errors import MarrowscopeError
from marrowscope.web.settings import Settings
from marrowscope.web.state import Room
from marrowscope.web.worker import Worker

SPAWN = multiprocessing.get_context("spawn")
REST_S = 1.0
"""Seconds before another process is started for one that has died."""
LOG = logging.getLogger("marrowscope")


class Apart:
    """Reads cells in another process while it is entered; one that dies is replaced."""

    def __init__(self, room: Room) -> None:
        """Work for a room."""
        self._room = room
        self._stopped = threading.Event()
        self._sending = threading.Lock()
        self._pipe: Connection | None = None
        self._keeper = threading.Thread(target=self._keep, name="marrowscope-keeper", daemon=True)
        self._loader = threading.Thread(target=self._load, name="marrowscope-loader", daemon=True)

    def __enter__(self) -> Self:
        """Begin to work; the model of the pages is loaded meanwhile."""
        self._keeper.start()
        self._loader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop after the batch in hand; its job is given back."""
        self._stopped.set()
        self._say(None)
        self._keeper.join()
        self._loader.join()

    def call(self) -> None:
        """Say that there is something to do."""
        self._say("call")

    def _say(self, word: str | None) -> None:
        """Send a word to the process, None for its end; one that has died hears nothing."""
        with self._sending, suppress(OSError):
            if self._pipe is not None:
                self._pipe.send(word)

    def _load(self) -> None:
        try:
            self._room.load()
        except MarrowscopeError:
            LOG.exception("the model cannot be loaded; nothing is classified or explained")

    def _keep(self) -> None:
        while not self._stopped.is_set():
            ours, theirs = SPAWN.Pipe()
            process = SPAWN.Process(target=_work, args=(self._room.settings, theirs))
            process.start()
            theirs.close()
            with self._sending:
                self._pipe = ours
            if self._stopped.is_set():
                self._say(None)
            self._listen(ours)
            process.join()
            if not self._stopped.wait(REST_S):
                LOG.error("the process that reads cells ended (%s); another", process.exitcode)

    def _listen(self, pipe: Connection) -> None:
        """Count what is read until the process ends."""
        with suppress(EOFError, OSError):
            while True:
                self._room.meters.batch_read(pipe.recv())


def _work(settings: Settings, pipe: Connection) -> None:
    """Work in this process until the other end of the pipe says so, or is gone with its process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    room = Room(settings)
    with Worker(room, pipe.send) as worker, suppress(EOFError, OSError):
        while pipe.recv() is not None:
            worker.call()
    room.close()
