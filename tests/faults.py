"""Runs commands while something is wrong: a full disk, a folder that may not be written to, a kill.

It is started once as a process of its own, which loads what commands need and then forks for each:
the real command in a real process, without the seconds that the imports take. Jobs come as lines of
JSON (`words`, `folder`, and a fault), outcomes go the same way.
"""

import ctypes
import importlib
import json
import logging
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CAPABILITIES = 0x20080522
"""Version of the structure that the kernel takes."""
OVERRIDES = 0b110
"""What lets root write and read everywhere: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH."""
STORE = ("marrowscope.cli", "marrowscope.store.import_case", "marrowscope.store.export_labels")
"""What the commands of the reading room need."""
ALL = (
    *STORE,
    "marrowscope.inference.classify",
    "marrowscope.inference.parquet",
    "marrowscope.cases.report",
    "marrowscope.data.audit.run",
    "marrowscope.evaluation.compare_page",
    "marrowscope.evaluation.label_issues_page",
    "marrowscope.evaluation.evaluate",
    "marrowscope.evaluation.page",
    "marrowscope.detection.batch",
    "marrowscope.inference.explain",
    "marrowscope.train.export",
    "marrowscope.train.fit",
    "marrowscope.train.preview",
    "transformers.models.dinov2.modeling_dinov2",
)
"""What all commands need."""


@dataclass(frozen=True)
class Outcome:
    """What became of a command."""

    code: int
    """Its exit code, below 0 for the signal that ended it."""
    text: str
    """What it printed and what it said of errors."""
    steps: int
    """Files that it opened for writing, renamed or removed below its folder, but for its lock."""


class Commands:
    """A process that runs commands, each in a fork of its own."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, folder: Path, *words: object, **fault: int | str) -> Outcome:
        """Run a command in a folder.

        A fault is `largest` (bytes of a file, as on a disk that is full then), `locked` (a folder
        that may not be written to) or `dies_at` (the step before which it is killed).
        """
        job = {"words": [str(word) for word in words], "folder": str(folder), **fault}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))


@contextmanager
def commands(loaded: Sequence[str] = ALL) -> Iterator[Commands]:
    """Start the process, with some modules loaded, and end it."""
    command = [sys.executable, __file__, *loaded]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield Commands(process)
        assert process.stdin is not None
        process.stdin.close()


def _serve() -> None:
    outcomes = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for name in sys.argv[1:]:
        importlib.import_module(name)
    for line in sys.stdin:
        outcomes.write(json.dumps(_outcome(json.loads(line))) + "\n")
        outcomes.flush()


def _outcome(job: dict[str, Any]) -> dict[str, Any]:
    """Fork, let the child run the job, and read what it says until it ends."""
    said, says = os.pipe()
    counted, counts = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(says, 1)
        os.dup2(says, 2)
        _run(job, counts)
    os.close(says)
    os.close(counts)
    with os.fdopen(said, encoding="utf-8") as text, os.fdopen(counted) as steps:
        spoken, number = text.read(), steps.read()
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "text": spoken, "steps": int(number or 0)}


def _run(job: dict[str, Any], counts: int) -> None:
    """Run a job in this process, and end it without any of the parent's duties."""
    code, steps = 99, [0]
    try:
        os.chdir(job["folder"])
        logging.disable(logging.INFO)
        _count_steps(job, steps)
        if "largest" in job:
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], job["largest"]))
        if "locked" in job:
            Path(job["locked"]).chmod(0o555)
            _give_up_override()
        from marrowscope.cli import app

        app(job["words"], prog_name="marrowscope")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - the test shall see it
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    os.write(counts, str(steps[0]).encode())
    os._exit(code)


def _count_steps(job: dict[str, Any], steps: list[int]) -> None:
    """Count what changes files below the folder; die before the step that was named."""
    root, last = os.path.realpath(job["folder"]), job.get("dies_at")

    def look(event: str, given: tuple[Any, ...]) -> None:
        writes = event in {"os.rename", "os.remove"} or (
            event == "open" and isinstance(given[2], int) and given[2] & 3
        )
        if writes and isinstance(given[0], str | os.PathLike):
            path = os.path.realpath(given[0])
            inside = path.startswith(root) and not path.endswith(".lock")
            steps[0] += inside
            if inside and steps[0] == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(look)


def _give_up_override() -> None:
    """Give up what lets root write everywhere; others have nothing to give up."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("Ii", CAPABILITIES, 0))
    values = ctypes.create_string_buffer(24)
    libc.capget(header, values)
    effective, *rest = struct.unpack("6I", values.raw[:24])
    values = ctypes.create_string_buffer(struct.pack("6I", effective & ~OVERRIDES, *rest))
    if libc.capset(header, values) != 0:
        raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    _serve()
