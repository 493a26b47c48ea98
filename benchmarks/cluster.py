"""`marrowscope classify --ray` against `classify` alone: time, memory of the driver, equal files.

.venv/bin/python benchmarks/cluster.py --cells 20000 --source cells/ --folder scratch

Real cells are hard-linked under new names until there are enough. Both read with as many processor
threads as `--threads` says: one process with so many threads, or so many workers with one each. The
runs take turns. The time of Ray is with its start and end, and without them: from the first
outcome on the disk to the last.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from memory import SAMPLES, make_cells

LOOK_S = 0.5
OWN: list[str] = []
RAY = ["--ray", "local"]


@dataclass(frozen=True)
class Run:
    """One classification."""

    seconds: float
    reading: float
    """From the first outcome on the disk to the last."""
    memory: tuple[float, ...]
    """MB of the command's own process when 10%, 50% and 90% of that time were over."""


def run(cells: Path, output: Path, options: argparse.Namespace, more: list[str]) -> Run:
    """Classify; look at the memory meanwhile.

    Raises:
        RuntimeError: the command failed.
    """
    command = [sys.executable, "-m", "marrowscope", "classify", str(cells), "--um-per-px", "0.086"]
    command += ["--bundle", options.bundle, "--output", str(output), "--engine", options.engine]
    command += ["--threads", str(options.threads), *more]
    start = time.perf_counter()
    looks: list[tuple[float, float]] = []
    first = last = 0.0
    partial = output / "predictions.csv.partial"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        own = psutil.Process(process.pid)
        while process.poll() is None:
            now = time.perf_counter() - start
            if partial.is_file() and partial.stat().st_size > 1000:
                first, last = first or now, now
                looks.append((now, own.memory_info().rss / 1e6))
            time.sleep(LOOK_S)
    if process.returncode:
        raise RuntimeError(f"the command ended with {process.returncode}: {' '.join(command)}")
    held = [looks[int(share * (len(looks) - 1))][1] for share in (0.1, 0.5, 0.9)]
    return Run(time.perf_counter() - start, last - first, tuple(held))


def main() -> None:
    """Measure both in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--source", type=Path, default=SAMPLES)
    parser.add_argument("--bundle", default="default")
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    runs: dict[str, list[Run]] = {"alone": [], "ray": []}
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        cells = Path(scratch) / "cells"
        make_cells(sorted(options.source.rglob("*.jpg")), cells, options.cells)
        for turn in range(options.turns):
            outputs = [Path(scratch) / f"{name}-{turn}" for name in runs]
            for name, output, more in zip(runs, outputs, (OWN, RAY), strict=True):
                runs[name].append(run(cells, output, options, more))
            same = [(output / "predictions.csv").read_bytes() for output in outputs]
            print("equal files" if same[0] == same[1] else "THE FILES DIFFER")
    for name, done in runs.items():
        reading = median(each.reading for each in done)
        print(
            f"{name}: {median(each.seconds for each in done):.1f} s in all, {reading:.1f} s of "
            f"reading ({options.cells / reading:.1f} cells a second); MB of the driver at 10, 50 "
            f"and 90%: {', '.join(f'{held:.0f}' for held in done[-1].memory)}"
        )
    ratio = median(
        ray.reading / alone.reading for alone, ray in zip(runs["alone"], runs["ray"], strict=True)
    )
    print(f"ray over alone, reading: {ratio:.3f}")


if __name__ == "__main__":
    main()
