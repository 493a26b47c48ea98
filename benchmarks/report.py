"""Seconds of `marrowscope report`, from a folder of cells to the PDF, and of what follows reading.

.venv/bin/python benchmarks/report.py --cells 500 --threads 2

Real cells again and again, each cut a little differently so that no two files are the same; other
work on the machine falsifies the figures.
"""

import argparse
import random
import tempfile
import time
from pathlib import Path

from PIL import Image

from marrowscope.cases.case import read_case
from marrowscope.cases.classify_case import read_cells
from marrowscope.cases.report import WRITERS, report_case
from marrowscope.inference.options import InferenceOptions
from marrowscope.model.bundle import load_bundle

SAMPLES = Path(__file__).parents[1] / "samples" / "cells"
EDGE = 6
"""Pixels that are cut away at most."""


def make_cells(folder: Path, cells: int) -> None:
    """Write a number of pictures, no two of them the same."""
    sources = sorted(SAMPLES.rglob("*.jpg"))
    draw = random.Random(0)
    folder.mkdir()
    for number in range(cells):
        image = Image.open(sources[number % len(sources)])
        left, top = draw.randint(0, EDGE), draw.randint(0, EDGE)
        box = (left, top, image.width - EDGE + left, image.height - EDGE + top)
        image.crop(box).save(folder / f"{number:05}.jpg", quality=92)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engine", default="onnxruntime")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        cells, folder = Path(scratch) / "cells", Path(scratch) / "report"
        make_cells(cells, options.cells)
        start, used = time.perf_counter(), time.process_time()
        reading = read_cells(
            read_case(cells, 0.086),
            load_bundle("default"),
            folder,
            inference=InferenceOptions(threads=options.threads, engine=options.engine),
        )
        read, used_to_read = time.perf_counter(), time.process_time()
        report_case(reading, folder)
        done, used_in_all = time.perf_counter(), time.process_time()
        print(f"{len(reading.cells)} cells in {done - start:.1f} s: {read - start:.1f} s to read,")
        print(
            f"{done - read:.1f} s for the report ({used_in_all - used_to_read:.1f} s of processor"
        )
        print(f"time of {used_in_all - used:.1f} s in all)")
        for name in WRITERS:
            print(f"{(folder / name).stat().st_size:>12,} bytes  {name}")


if __name__ == "__main__":
    main()
