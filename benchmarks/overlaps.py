"""Recall and precision of the overlap search on planted pairs, and its time and memory by size.

python benchmarks/overlaps.py planted FIELDS_FOLDER    # crops cut from whole fields, re-encoded
python benchmarks/overlaps.py known CELLS_CSV OVERLAPS_CSV
python benchmarks/overlaps.py growth CELLS_CSV 1000 5000 20000
"""

import argparse
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from marrowscope.data.manifest import read_manifest
from marrowscope.data.overlaps import find_overlaps
from marrowscope.data.split import read_pairs

SIDE = 220
BINS = (0.05, 0.1, 0.2, 0.4, 0.8)
PAIRS_PER_FIELD = 8


def planted(fields: Path, seed: int = 0) -> None:
    """Cut pairs at random shifts from each field, find them, and count by shared area.

    Crops of different pairs of one field may overlap too; every pair of crops of the same field
    whose rectangles meet is a true pair, every other one is not.
    """
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        corner_of: dict[Path, tuple[Path, int, int]] = {}
        for field in sorted(fields.glob("*.jpg")):
            whole = Image.open(field).convert("RGB")
            for number in range(2 * PAIRS_PER_FIELD):
                x, y = (int(random.integers(0, size - SIDE + 1)) for size in whole.size)
                file = Path(folder) / f"{field.stem}_{number}.jpg"
                crop = whole.crop((x, y, x + SIDE, y + SIDE))
                crop.save(file, quality=int(random.integers(80, 96)), subsampling=0)
                corner_of[file] = (field, x, y)
        files = sorted(corner_of)
        start = time.perf_counter()
        found = {(o.a, o.b): o for o in find_overlaps(files)}
        seconds = time.perf_counter() - start
    hits, pairs = Counter[float](), Counter[float]()
    true = set()
    for a, one in enumerate(files):
        for b in range(a + 1, len(files)):
            (field, x, y), (other, u, v) = corner_of[one], corner_of[files[b]]
            if field == other and abs(u - x) < SIDE and abs(v - y) < SIDE:
                area = (SIDE - abs(u - x)) * (SIDE - abs(v - y)) / SIDE**2
                true.add((a, b))
                for least in BINS:
                    pairs[least] += area >= least
                    hits[least] += area >= least and (a, b) in found
    print(f"{len(files)} crops, {len(true)} true pairs, {len(found)} found, {seconds:.0f} s")
    for least in BINS:
        recall = hits[least] / pairs[least]
        print(f"recall of pairs that share at least {least:.0%}: {recall:.4f} of {pairs[least]}")
    wrong = [pair for pair in found if pair not in true]
    print(f"precision: {1 - len(wrong) / len(found):.4f}")
    for a, b in wrong[:10]:
        print("  not a pair:", files[a].name, files[b].name, found[a, b])


def known(cells: Path, overlaps: Path) -> None:
    """Count how many pairs of a list are found, and how many others."""
    manifest = read_manifest(cells)
    start = time.perf_counter()
    files = [manifest.root / cell.path for cell in manifest.cells]
    found = {
        frozenset((manifest.cells[o.a].path, manifest.cells[o.b].path))
        for o in find_overlaps(files)
    }
    listed = {frozenset(pair) for pair in read_pairs(overlaps)}
    seconds = time.perf_counter() - start
    print(f"{len(files)} cells in {seconds:.0f} s: {len(found)} pairs found,")
    print(f"{len(listed & found)} of the {len(listed)} listed; missed:")
    for pair in sorted(map(sorted, listed - found)):
        print("  ", *pair)


def growth(cells: Path, sizes: list[int], seed: int = 0) -> None:
    """Time the search on pictures made by shifting and re-encoding real cells."""
    manifest = read_manifest(cells)
    random = np.random.default_rng(seed)
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            files = []
            for number in range(size):
                cell = manifest.cells[number % len(manifest.cells)]
                whole = Image.open(manifest.root / cell.path)
                x, y = (int(step) for step in random.integers(0, 21, 2))
                turned = whole.rotate(90 * (number // len(manifest.cells) % 4))
                file = Path(folder) / f"{number}.jpg"
                turned.crop((x, y, whole.width - 20 + x, whole.height - 20 + y)).save(
                    file, quality=90
                )
                files.append(file)
            start = time.perf_counter()
            found = sum(1 for _ in find_overlaps(files))
            seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{size:,} pictures: {seconds:.1f} s, peak {peak:.2f} GB, {found:,} pairs", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("planted", "known", "growth"))
    parser.add_argument("arguments", nargs="+")
    given = parser.parse_args()
    first, rest = Path(given.arguments[0]), given.arguments[1:]
    if given.what == "planted":
        planted(first)
    elif given.what == "known":
        known(first, Path(rest[0]))
    else:
        growth(first, [int(size) for size in rest])


if __name__ == "__main__":
    main()
