"""The GPUs of this machine that a model can run on: NVIDIA's."""

import subprocess
from functools import cache
from shutil import which

LONGEST_WAIT = 20
"""Seconds in which NVIDIA's tool must answer."""


@cache
def gpus() -> tuple[str, ...]:
    """Name NVIDIA's GPUs and their memory by its own tool, `nvidia-smi`; others are not used."""
    tool = which("nvidia-smi")
    if tool is None:
        return ()
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_WAIT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(done.stdout.strip().splitlines()) if done.returncode == 0 else ()
