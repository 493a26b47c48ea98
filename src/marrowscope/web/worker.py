"""The worker: a thread that takes jobs: it finds cells on fields, and reads those that wait."""

import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Self

from sqlalchemy.exc import OperationalError

from marrowscope.errors import LostJobError, MarrowscopeError, UnavailableError
from marrowscope.inference.predictor import Predictor
from marrowscope.store.case_model import name_model
from marrowscope.store.cells import case_progress, keep_readings, waiting
from marrowscope.store.credentials import new_secret
from marrowscope.store.fields import FIND, cell_scales
from marrowscope.store.import_case import READ
from marrowscope.store.jobs import fail_job, finish_job, keep_job, release_job, take_job
from marrowscope.store.tables import Case, CaseCell, Job
from marrowscope.types import Picture, Prediction, Reject
from marrowscope.web.detector import find_on_next
from marrowscope.web.images import GALLERY, thumbnail
from marrowscope.web.metrics import Batch
from marrowscope.web.state import Room

NICE = 15
"""Of the thread that reads, and of those that its model starts: pages go first.

What was read is written at the usual priority: who waits for the database never waits for that."""
REST_S = 1.0
"""Seconds between two looks for jobs that others may have left."""
LOG = logging.getLogger("marrowscope")


class Worker:
    """Reads cells behind the pages while it is entered."""

    def __init__(self, room: Room, say: Callable[[Batch], object] | None = None) -> None:
        """Work for a room; what is read is counted on its meters, or said to somebody else."""
        self._room = room
        self._say = say or room.meters.batch_read
        self._reader = ThreadPoolExecutor(1, "marrowscope-reader", _give_way)
        self.name = f"{platform.node()}-{os.getpid()}-{new_secret('worker')[-8:]}"
        self._lease = timedelta(seconds=room.settings.lease_s)
        self._stopped = threading.Event()
        self._called = threading.Event()
        self._thread = threading.Thread(target=self._work, name="marrowscope-worker", daemon=True)

    def __enter__(self) -> Self:
        """Begin to work."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop after the batch in hand; its job is given back."""
        self._stopped.set()
        self._called.set()
        self._thread.join()
        self._reader.shutdown()

    def call(self) -> None:
        """Say that there is something to do."""
        self._called.set()

    def _work(self) -> None:
        try:
            predictor = self._reader.submit(self._room.load).result()
        except MarrowscopeError:
            LOG.exception("the model cannot be loaded; no cells are read")
            return
        while not self._stopped.is_set():
            self._called.clear()
            if not self._do_next(predictor):
                self._called.wait(REST_S)

    def _do_next(self, predictor: Predictor) -> bool:
        """Do a job; tell whether there was one."""
        try:
            with self._room.store.write() as session:
                job = take_job(session, self.name, [READ, FIND], self._lease)
            if job is None:
                return False
            self._do(job, predictor)
        except Exception:
            LOG.exception("the database, the pictures or the disk cannot be used; trying again")
            return False
        return True

    def _do(self, job: Job, predictor: Predictor) -> None:
        try:
            if job.kind == FIND:
                self._find(job)
            else:
                self._read(job, predictor)
        except LostJobError as error:
            LOG.warning("%r", str(error))
        except (UnavailableError, OperationalError, OSError):
            self._give_back(job)
            raise
        except MarrowscopeError as error:
            self._fail(job, str(error), again=False)
        except Exception as error:
            LOG.exception("job %s went wrong", job.id)
            self._fail(job, f"{type(error).__name__}: {error}", again=True)

    def _give_back(self, job: Job) -> None:
        """Let a job wait for better times, which is no failed attempt."""
        with self._room.store.write() as session:
            release_job(session, job.id, self.name)

    def _fail(self, job: Job, error: str, *, again: bool) -> None:
        with self._room.store.write() as session:
            fail_job(session, job.id, self.name, error, retry=again)

    def _find(self, job: Job) -> None:
        """Find the cells of the fields of a case that wait, field by field."""
        while not self._stopped.is_set():
            if not find_on_next(self._room, job, self.name, self._lease, self._reader):
                with self._room.store.write() as session:
                    finish_job(session, job.id, self.name)
                return
        self._give_back(job)

    def _read(self, job: Job, predictor: Predictor) -> None:
        """Read the cells of a case that wait, batch by batch; each batch is kept at once."""
        with self._room.store.write() as session:
            case = session.get_one(Case, job.case_id)
            name_model(session, case, self._room.bundle)
        while not self._stopped.is_set():
            if not self._read_batch(job, case, predictor):
                with self._room.store.write() as session:
                    finish_job(session, job.id, self.name)
                return
        self._give_back(job)

    def _read_batch(self, job: Job, case: Case, predictor: Predictor) -> bool:
        """Read some cells and keep what came out; tell whether there were any."""
        began = time.perf_counter()
        with self._room.store.read() as session:
            cells = waiting(session, case, self._room.settings.batch)
            scales = cell_scales(session, case, cells)
        if not cells:
            return False
        pictures = [Picture(self._room.blobs.path(cell.sha256), scales[cell.id]) for cell in cells]
        outcomes = self._reader.submit(_classify, predictor, pictures).result()
        self._reader.submit(_draw, self._room, cells).result()
        outcomes_of_cell = dict(zip((cell.id for cell in cells), outcomes, strict=True))
        self._keep(job, case, outcomes_of_cell)
        rejected = sum(isinstance(outcome, Reject) for outcome in outcomes)
        self._say(Batch(len(outcomes_of_cell) - rejected, rejected, time.perf_counter() - began))
        return True

    def _keep(self, job: Job, case: Case, outcomes_of_cell: dict[int, Prediction | Reject]) -> None:
        with self._room.store.write() as session:
            now = session.get(Case, case.id)
            if now is None:
                raise LostJobError(f"the case {case.title} was deleted")
            keep_readings(session, now, self._room.bundle, outcomes_of_cell)
            progress = case_progress(session, now)
            done = progress.total - progress.waiting
            keep_job(session, job.id, self.name, done, total=progress.total, lease=self._lease)


def _classify(predictor: Predictor, pictures: list[Picture]) -> list[Prediction | Reject]:
    return list(predictor.classify(pictures, len(pictures)))


def _draw(room: Room, cells: Sequence[CaseCell]) -> None:
    """Make the gallery's thumbnails; of what cannot be drawn, the page will say so."""
    for cell in cells:
        with suppress(MarrowscopeError):
            thumbnail(room, cell.sha256, GALLERY)


def _give_way() -> None:
    """Let all other threads go first, where a thread has a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
