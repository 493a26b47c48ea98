"""Make one large TIFF by repeating real fields, find its cells, and measure time and peak memory.

python benchmarks/large_field.py FIELDS --size 640x480 --side 20000 --output FOLDER

Fields of one size in pixels are laid side by side; each is there as often as the side asks for.
"""

import argparse
import itertools
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from marrowscope.detection.boxes import BOXES, read_boxes
from marrowscope.train.detector.data import looks_scales

TILE = 512


def tiles(fields: list[np.ndarray], side: int) -> Iterator[np.ndarray]:
    """Give the tiles of the large picture, a row after the other."""
    tall, wide = fields[0].shape[:2]
    for y, x in itertools.product(range(0, side, TILE), range(0, side, TILE)):
        rows, columns = np.arange(y, y + TILE), np.arange(x, x + TILE)
        tile = np.empty((TILE, TILE, 3), np.uint8)
        for row, column in itertools.product(np.unique(rows // tall), np.unique(columns // wide)):
            field = fields[(row * 7 + column) % len(fields)]
            down, across = rows // tall == row, columns // wide == column
            tile[np.ix_(down, across)] = field[np.ix_(rows[down] % tall, columns[across] % wide)]
        yield tile


def make(folder: Path, size: str, side: int, file: Path) -> int:
    """Write the TIFF; give how many nucleated cells were drawn on it, cut ones among them."""
    boxes = read_boxes(folder / BOXES)
    looks, scales = looks_scales(folder, boxes)
    names = [name for name, look in looks.items() if look == size]
    fields = [np.asarray(Image.open(folder / name).convert("RGB")) for name in names]
    dots = 25_400 / scales[size]
    tifffile.imwrite(
        file,
        tiles(fields, side),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(TILE, TILE),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 90},
        resolution=(dots, dots),
        resolutionunit="INCH",
    )
    tall, wide = fields[0].shape[:2]
    cells = [sum(box.label == "WBC" for box in boxes[name]) for name in names]
    places = itertools.product(range(side // tall), range(side // wide))
    return sum(cells[(row * 7 + column) % len(cells)] for row, column in places)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    file = given.output / f"field-{given.side}.tif"
    drawn = make(given.fields, given.size, given.side, file)
    print(f"{file}: {file.stat().st_size / 2**20:.0f} MiB, {drawn} nucleated cells drawn on it")
    command = [sys.executable, "-m", "marrowscope", "find-cells", str(file)]
    command += ["--output", str(given.output / "found"), "--overwrite"]
    start = time.perf_counter()
    subprocess.run([*command, "--threads", str(given.threads)], check=True)
    passed = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{passed:.0f} s, peak memory {peak:.2f} GiB")


if __name__ == "__main__":
    main()
