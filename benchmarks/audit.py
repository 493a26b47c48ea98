"""Time and memory of the whole audit by number of pictures, and the projection to the public set.

python benchmarks/audit.py CELLS_CSV FIELDS_FOLDER 1000 5000 20000 --workers 2

The pictures are those of `overlaps.py growth`: real cells, each use turned and scaled otherwise,
and 2% planted in pairs. Memory is that of all processes together, asked for ten times a second.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from overlaps import PUBLIC_SET, grow
from scipy.optimize import nnls


def memory_of(process: int) -> int:
    """Give the bytes that a process and its children hold besides what can be read anew."""
    total = 0
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if process in {int(folder.name), int(stat[1])}:
                lines = (folder / "status").read_text().splitlines()
                held = next(line for line in lines if line.startswith("RssAnon"))
                total += 1024 * int(held.split()[1])
        except (OSError, StopIteration):
            continue
    return total


def audited(folder: Path, output: Path, workers: int) -> tuple[float, float, dict[str, object]]:
    """Audit a folder as a person would: seconds, peak memory in GB, summary."""
    command = [sys.executable, "-m", "marrowscope", "data", "audit", folder, "--output", output]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*map(str, command), "--workers", str(workers), "--json"], stdout=subprocess.PIPE, text=True
    )
    peaks = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peaks.append(memory_of(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    printed, _ = process.communicate()
    done.set()
    watcher.join()
    seconds = time.perf_counter() - start
    if process.returncode:
        raise SystemExit(f"the audit failed with {process.returncode}")
    return seconds, max(peaks) / 1e9, json.loads(printed)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells_csv", type=Path)
    parser.add_argument("fields", type=Path)
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    times = []
    for size in given.sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "cells", "LYT")
            folder.mkdir(parents=True)
            random = np.random.default_rng(given.seed)
            planted = grow(given.cells_csv, given.fields, size, folder, random)
            seconds, peak, summary = audited(folder.parent, Path(temporary, "out"), given.workers)
        times.append(seconds)
        kinds = ("overlaps", "copies", "damaged", "unreadable")
        counts = ", ".join(f"{summary[kind]} {kind}" for kind in kinds)
        print(
            f"{size:,} pictures: {seconds:.1f} s, {peak:.2f} GB; {counts}; "
            f"{len(planted)} pairs were planted",
            flush=True,
        )
    sizes = np.array(given.sizes) / PUBLIC_SET
    terms = np.column_stack([np.ones_like(sizes), sizes, sizes**2]) / np.array(times)[:, None]
    parts, _ = nnls(terms, np.ones(len(times)))
    print(
        f"projected to {PUBLIC_SET:,} pictures: {parts.sum() / 60:.0f} min "
        f"({parts[1] / 60:.0f} min growing with n, {parts[2] / 60:.0f} min with its square)"
    )


if __name__ == "__main__":
    main()
