"""Peak memory of `marrowscope classify` at several numbers of cells.

.venv/bin/python benchmarks/memory.py --cells 1000 10000 100000 --bundle default --folder scratch

Real cells are hard-linked again and again under new names (copied where the file system takes no
more links); symbolic links would all lead to one file, and each file is classified once. The
peak is that of the resident set of the command's own process, as the kernel reports it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "samples" / "cells"
CELLS_IN_A_FOLDER = 100_000


def make_cells(sources: list[Path], folder: Path, cells: int) -> None:
    """Fill a folder with a number of files, all of them real cells, in folders of 100,000."""
    source: dict[int, Path] = dict(enumerate(sources))
    for number in range(cells):
        place = folder / f"{number // CELLS_IN_A_FOLDER:03}"
        place.mkdir(parents=True, exist_ok=True)
        name = place / f"{number:08}.jpg"
        turn = number % len(sources)
        try:
            name.hardlink_to(source[turn])
        except OSError:
            shutil.copy(source[turn], name)
            source[turn] = name


def peak_megabytes(arguments: list[str]) -> tuple[float, float]:
    """Run the command; give the peak of its memory in MB and its seconds.

    Raises:
        RuntimeError: the command failed.
    """
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "marrowscope", *arguments], stdout=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the command ended with {process.returncode}: {' '.join(arguments)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 1e6, time.perf_counter() - start


def measure(cells: int, folder: Path, options: argparse.Namespace) -> tuple[float, float]:
    """Classify a number of cells in a folder made for it."""
    sources = sorted(options.source.rglob("*.jpg"))
    make_cells(sources, folder / "cells", cells)
    arguments = ["classify", str(folder / "cells"), "--bundle", options.bundle]
    arguments += ["--output", str(folder / "out"), "--threads", str(options.threads)]
    arguments += ["--um-per-px", str(options.um_per_px)]
    figures = peak_megabytes([*arguments, *(["--parquet"] if options.parquet else [])])
    rows = (folder / "out/predictions.csv").read_bytes().count(b"\n") - 1
    if rows != cells:
        raise RuntimeError(f"{rows} of {cells} cells are in predictions.csv")
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--bundle", default="default", help="name or folder of a bundle")
    parser.add_argument("--source", type=Path, default=SAMPLES, help="folder of JPEG cells")
    parser.add_argument(
        "--folder", type=Path, help="where to work; the system's place if not given"
    )
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--parquet", action="store_true")
    parser.add_argument("--um-per-px", type=float, default=0.086)
    options = parser.parse_args()
    first = None
    print(f"{'cells':>9} {'peak MB':>9} {'ratio':>7} {'seconds':>9}")
    for cells in options.cells:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            peak, seconds = measure(cells, Path(folder), options)
        first = first or peak
        print(f"{cells:>9,} {peak:>9.1f} {peak / first:>7.3f} {seconds:>9.1f}", flush=True)


if __name__ == "__main__":
    main()
