"""Work spread over processes, its results in order, and never more of them waiting than needed."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
WAITING_PER_PROCESS = 2
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which the libraries below NumPy are told their number of threads."""


def spread(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int = 0
) -> Iterator[Result]:
    """Give `function` of each task, in order, computed by `workers` processes (0: one a core)."""
    count = min(workers or os.cpu_count() or 1, len(tasks))
    if count <= 1:
        yield from map(function, tasks)
        return
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        ahead = tasks[: count * WAITING_PER_PROCESS]
        with _one_thread_each():
            waiting = deque(pool.submit(function, task) for task in ahead)
        for task in tasks[len(ahead) :]:
            yield waiting.popleft().result()
            waiting.append(pool.submit(function, task))
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Let processes that start now calculate with one thread: there is one for each core."""
    values_before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    yield
    for name, value in values_before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
