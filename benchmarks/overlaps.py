"""Recall and precision of the overlap search on planted pairs, and its time and memory by size.

python benchmarks/overlaps.py planted FIELDS_FOLDER    # crops cut from whole fields, re-encoded
python benchmarks/overlaps.py cells CELLS_CSV    # the same from large pictures of single cells
python benchmarks/overlaps.py known CELLS_CSV OVERLAPS_CSV
python benchmarks/overlaps.py growth CELLS_CSV FIELDS_FOLDER 1000 5000 20000
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy.optimize import nnls

from marrowscope.data.audit.overlaps import Overlap, find_overlaps, grey
from marrowscope.data.manifest import read_manifest
from marrowscope.data.split import read_pairs

SIDE = 220
BINS = (0.05, 0.1, 0.2, 0.4, 0.8)
GROWN_SIDE = 250
PLANTED_SHARE = 0.02
PUBLIC_SET = 171_374


def find(files: Sequence[Path]) -> dict[tuple[int, int], Overlap]:
    return {(o.a, o.b): o for o in find_overlaps(len(files), lambda index: grey(files[index]))}


def planted(sources: Sequence[Path], crops: int, seed: int = 0) -> None:
    """Cut crops at random from each source, find the pairs, and count by shared area.

    Every pair of crops of the same source whose rectangles meet is a true pair, every other one is
    not.
    """
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        corner_of: dict[Path, tuple[Path, int, int]] = {}
        for source in sources:
            whole = Image.open(source).convert("RGB")
            for number in range(crops):
                x, y = (int(random.integers(0, size - SIDE + 1)) for size in whole.size)
                file = Path(folder) / f"{source.stem}_{number}.jpg"
                crop = whole.crop((x, y, x + SIDE, y + SIDE))
                crop.save(file, quality=int(random.integers(80, 96)), subsampling=0)
                corner_of[file] = (source, x, y)
        files = sorted(corner_of)
        start = time.process_time()
        found = find(files)
        seconds = time.process_time() - start
    hits, pairs = Counter[float](), Counter[float]()
    true = set()
    for a, one in enumerate(files):
        for b in range(a + 1, len(files)):
            (source, x, y), (other, u, v) = corner_of[one], corner_of[files[b]]
            if source == other and abs(u - x) < SIDE and abs(v - y) < SIDE:
                area = (SIDE - abs(u - x)) * (SIDE - abs(v - y)) / SIDE**2
                true.add((a, b))
                for least in BINS:
                    pairs[least] += area >= least
                    hits[least] += area >= least and (a, b) in found
    print(f"{len(files)} crops, {len(true)} true pairs, {len(found)} found, {seconds:.0f} CPU s")
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
    start = time.process_time()
    files = [manifest.root / cell.path for cell in manifest.cells]
    found = {frozenset((manifest.cells[a].path, manifest.cells[b].path)) for a, b in find(files)}
    listed = {frozenset(pair) for pair in read_pairs(overlaps)}
    seconds = time.process_time() - start
    print(f"{len(files)} cells in {seconds:.0f} CPU s: {len(found)} pairs found,")
    print(f"{len(listed & found)} of the {len(listed)} listed; missed:")
    for pair in sorted(map(sorted, listed - found)):
        print("  ", *pair)


def growth(cells: Path, fields: Path, sizes: Sequence[int], seed: int = 0) -> None:
    """Time the search, each size in a process of its own, and project to the public set."""
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            pairs = grow(cells, fields, size, Path(folder), np.random.default_rng(seed))
            done = subprocess.run(
                [sys.executable, __file__, "search", folder],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        result = json.loads(done.stdout)
        found = {tuple(pair) for pair in result.pop("found")}
        rows.append(result)
        print(f"{size:,} pictures:", *(f"{name} {value:,.2f}," for name, value in result.items()))
        print(f"  {len(found & pairs)} of {len(pairs)} planted pairs found", flush=True)
        print("  others:", sorted(found - pairs)[:20], flush=True)
    _project(rows, np.array(sizes, dtype=float))


def _project(rows: Sequence[dict[str, float]], sizes: np.ndarray) -> None:
    """Fit c1 n to describing and c1 n + c2 n^2, neither negative, to matching."""
    for name, powers in (("describe_cpu_s", (1,)), ("match_cpu_s", (1, 2))):
        values = np.array([row[name] for row in rows])
        terms = np.column_stack([(sizes / PUBLIC_SET) ** power for power in powers])
        parts, _ = nnls(terms / values[:, None], np.ones(len(values)))
        text = ", ".join(
            f"n^{power}: {part:,.0f} s" for power, part in zip(powers, parts, strict=True)
        )
        print(f"{name} projected to {PUBLIC_SET:,} pictures: {text}")


def grow(
    cells: Path, fields: Path, size: int, folder: Path, random: np.random.Generator
) -> set[tuple[int, int]]:
    """Write pictures: cells that are turned and scaled, each use otherwise, and planted pairs."""
    manifest = read_manifest(cells)
    sources = [manifest.root / cell.path for cell in manifest.cells if cell.source == "mll"]
    wholes = sorted(fields.glob("*.jpg"))
    planted_pairs = round(size * PLANTED_SHARE / 2)
    pairs = set()
    for number in range(planted_pairs):
        field = _turned(wholes[number % len(wholes)], 500, random, number // len(wholes))
        while True:
            x, y, u, v = (int(place) for place in random.integers(0, 251, 4))
            if (GROWN_SIDE - abs(x - u)) * (GROWN_SIDE - abs(y - v)) >= 0.1 * GROWN_SIDE**2:
                break
        for side, (left, top) in enumerate(((x, y), (u, v))):
            crop = field[top : top + GROWN_SIDE, left : left + GROWN_SIDE]
            _save(crop, folder / f"{2 * number + side}.jpg", random)
        pairs.add((2 * number, 2 * number + 1))
    for number in range(2 * planted_pairs, size):
        use, place = divmod(number, len(sources))
        _save(_turned(sources[place], GROWN_SIDE, random, use), folder / f"{number}.jpg", random)
    return pairs


def _turned(file: Path, side: int, random: np.random.Generator, use: int) -> np.ndarray:
    """Turn, scale and every other time mirror a picture; uses differ by 30 degrees at least."""
    whole = np.asarray(Image.open(file).convert("RGB"))[:, :: -1 if use % 2 else 1]
    height, width = whole.shape[:2]
    angle, scale = 90 * use + random.uniform(5, 65), random.uniform(0.95, 1.15)
    move = cv2.getRotationMatrix2D((width / 2, height / 2), angle, scale)
    move[:, 2] += (side - width) / 2, (side - height) / 2
    return cv2.warpAffine(
        whole, move, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )


def _save(picture: np.ndarray, file: Path, random: np.random.Generator) -> None:
    Image.fromarray(np.ascontiguousarray(picture)).save(
        file, quality=int(random.integers(85, 96)), subsampling=0
    )


def search(folder: Path) -> None:
    """Search numbered pictures and print figures and pairs as JSON."""
    cv2.setNumThreads(1)
    count = sum(1 for _ in folder.glob("*.jpg"))
    start, clock = time.process_time(), time.perf_counter()
    described: list[float] = []
    decoded: list[int] = []

    def load(index: int) -> np.ndarray:
        decoded.append(index)
        return grey(folder / f"{index}.jpg")

    pairs = [
        (o.a, o.b)
        for o in find_overlaps(count, load, lambda: described.append(time.process_time()))
    ]
    result = {
        "describe_cpu_s": described[-1] - start,
        "match_cpu_s": time.process_time() - described[-1],
        "wall_s": time.perf_counter() - clock,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "decoded_again": len(decoded) - count,
        "found": pairs,
    }
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("planted", "cells", "known", "growth", "search"))
    parser.add_argument("arguments", nargs="+")
    given = parser.parse_args()
    first, rest = Path(given.arguments[0]), given.arguments[1:]
    if given.what == "planted":
        planted(sorted(first.glob("*.jpg")), 16)
    elif given.what == "cells":
        with first.open(newline="") as file:
            rows = [row["path"] for row in csv.DictReader(file) if row["source"] == "pbc"]
        planted([first.parent / path for path in rows[::2]], 2)
    elif given.what == "known":
        known(first, Path(rest[0]))
    elif given.what == "growth":
        growth(first, Path(rest[0]), [int(size) for size in rest[1:]])
    else:
        search(first)


if __name__ == "__main__":
    main()
