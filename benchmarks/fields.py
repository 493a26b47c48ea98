"""Find cells on fields of looks that the finder has not seen, and on dense fields with known boxes.

python benchmarks/fields.py FIELDS --finders FINDERS [--cells CELLS --split SPLIT] [--flags]

FIELDS holds pictures and boxes.csv; FINDERS comes from benchmarks/finder.py: each look is read by
the finder that was trained without it; the scale is told by the red cells, nothing is given.
With --cells and --split, dense fields are composed of test cells; with --flags, fields are
spoiled on purpose. "Stain alone" needs no training: purple nuclei and their surroundings.
"""

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from finder import cell_files
from numpy.typing import NDArray
from scipy import ndimage

from marrowscope.detection.boxes import BOXES, Box, read_boxes
from marrowscope.detection.detect import USUAL_UM_PER_PX, Found, find_cells
from marrowscope.detection.detector import Finder, load_finder
from marrowscope.detection.field import PlainField, open_field
from marrowscope.detection.nuclei import Limits, find_nucleated
from marrowscope.detection.stain import UM_PER_PX, background, densities, shrunk
from marrowscope.train.detector.copy_paste import Cutout
from marrowscope.train.detector.data import cut_cells, looks_scales, read_scene
from marrowscope.train.detector.metrics import Agreement, agree, interval, together
from marrowscope.train.detector.scenes import Scene, lay_cells

LIGHT = np.array([232, 224, 218], np.float32)
Pixels = NDArray[np.uint8]


def row(name: str, fields: list[Agreement], seconds: float) -> str:
    all_of, (low, high) = together(fields), interval(fields)
    return (
        f"| {name} | {len(fields)} | {all_of.drawn} | {all_of.precision:.3f} | "
        f"{all_of.recall:.3f} | {all_of.f1:.3f} ({low:.3f} to {high:.3f}) | "
        f"{all_of.taken} of {all_of.others} | {len(fields) / seconds:.1f} |"
    )


def by_stain(pixels: Pixels, um_per_px: float) -> list[Box]:
    density = densities(shrunk(pixels, um_per_px / UM_PER_PX), background(pixels))
    return [box.moved(0, 0, UM_PER_PX / um_per_px) for box in find_nucleated(density, Limits())]


def unseen_looks(
    given: argparse.Namespace, looks: dict[str, str], scales: dict[str, float]
) -> None:
    drawn = read_boxes(given.fields / BOXES)
    print("| look left out | fields | WBC | precision | recall | F1 (95%) | taken | fields/s |")
    print("|---|---:|---:|---:|---:|---|---:|---:|")
    every, plain, told = list[Agreement](), defaultdict[str, list[Agreement]](list), []
    means = []
    for look, scale in scales.items():
        finder = load_finder(given.finders / f"without-{look}", threads=given.threads)
        fields, seconds = [], 0.0
        for name in (name for name, of in looks.items() if of == look):
            start = time.perf_counter()
            field = open_field(given.fields / name)
            found = find_cells(field, finder=finder)
            seconds += time.perf_counter() - start
            fields.append(agree(found.boxes, drawn[name]))
            told.append((found.um_per_px or np.nan) / scale)
            pixels = field.read(0, 0, field.width, field.height)
            stain = by_stain(pixels, found.um_per_px or USUAL_UM_PER_PX)
            plain[look].append(agree(stain, drawn[name]))
        print(row(look, fields, seconds), flush=True)
        every += fields
        means.append(together(fields).f1)
    alone = {look: together(fields).f1 for look, fields in plain.items()}
    print(f"\nmean F1 {np.mean(means):.3f}, worst {min(means):.3f}; all fields: {together(every)}")
    print(f"stain alone: mean F1 {np.mean(list(alone.values())):.3f}, {alone}")
    spread = np.nanpercentile(told, [0, 2.5, 50, 97.5, 100]).round(2).tolist()
    without = int(np.isnan(told).sum())
    print(f"scale told by the drawn red cells' (n {len(told)}, {without} without): {spread}\n")


def dense_field(base: Scene, cells: list[Cutout], seed: int) -> tuple[PlainField, list[Box]]:
    """Lay 60 cells onto a square of 100 um of a field repeated; give it and its boxes."""
    tall, wide = base.densities.shape[:2]
    down, across = -(-400 // tall), -(-400 // wide)
    shifts = [(x * wide, y * tall) for y in range(down) for x in range(across)]
    tiled = Scene(
        np.tile(base.densities, (down, across, 1)),
        np.concatenate([base.boxes + np.array([x, y, x, y]) for x, y in shifts]),
        np.tile(base.kinds, len(shifts)),
    )
    drawn = lay_cells(tiled, cells, np.random.default_rng(seed), 60)
    pixels = (LIGHT * np.exp(-drawn.densities)).clip(0, 255).astype(np.uint8)
    boxes = [
        Box(x0, y0, x1, y1, label=("WBC", "RBC", "PLT")[kind])
        for (x0, y0, x1, y1), kind in zip(drawn.boxes.tolist(), drawn.kinds, strict=True)
    ]
    return PlainField(pixels, UM_PER_PX), boxes


def dense(given: argparse.Namespace, looks: dict[str, str], scales: dict[str, float]) -> None:
    cells, left_out = cut_cells(cell_files(given.cells, given.split, "test", "mll", 200), 0.086)
    print(f"{len(cells)} test cells cut out, {left_out} left out as not whole or not alone")
    drawn = read_boxes(given.fields / BOXES)
    print(
        "| dense fields on the look left out | fields | WBC | precision | recall | F1 | taken | |"
    )
    print("|---|---:|---:|---:|---:|---|---:|---:|")
    for look, scale in scales.items():
        finder = load_finder(given.finders / f"without-{look}", threads=given.threads)
        names = [name for name, of in looks.items() if of == look][:5]
        results, start = [], time.perf_counter()
        for seed, name in enumerate(names):
            base = read_scene(given.fields / name, drawn[name], scale)
            field, boxes = dense_field(base, cells, seed)
            results.append(agree(find_cells(field, finder=finder).boxes, boxes))
        print(row(look, results, time.perf_counter() - start), flush=True)


def blurred(um: float) -> Callable[[Pixels, float], Pixels]:
    return lambda pixels, scale: ndimage.gaussian_filter(pixels, (um / scale, um / scale, 0))


def denser(times: float) -> Callable[[Pixels, float], Pixels]:
    def change(pixels: Pixels, _: float) -> Pixels:
        empty = background(pixels)
        light = empty * np.exp(-times * densities(pixels, empty))
        return light.clip(0, 255).astype(np.uint8)

    return change


def noise(pixels: Pixels, _: float) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)


def blank(pixels: Pixels, _: float) -> Pixels:
    light = background(pixels) + np.random.default_rng(0).normal(0, 2, pixels.shape)
    return light.clip(0, 255).astype(np.uint8)


SPOILT: dict[str, Callable[[Pixels, float], Pixels]] = {
    "as it is": lambda pixels, _: pixels,
    "blurred by 0.5 um": blurred(0.5),
    "blurred by 0.8 um": blurred(0.8),
    "blurred by 1.2 um": blurred(1.2),
    "stain twice as dense": denser(2),
    "stain four times as dense": denser(4),
    "colours inverted": lambda pixels, _: 255 - pixels,
    "grey": lambda pixels, _: np.repeat(pixels.mean(2, keepdims=True).astype(np.uint8), 3, 2),
    "noise": noise,
    "background alone": blank,
}


def flags(given: argparse.Namespace, looks: dict[str, str], scales: dict[str, float]) -> None:
    finders = {
        look: load_finder(given.finders / f"without-{look}", threads=given.threads)
        for look in scales
    }
    drawn = read_boxes(given.fields / BOXES)
    print("\n| fields | n | flagged | F1 |\n|---|---:|---|---:|")
    for name, spoil in SPOILT.items():
        counts: Counter[str] = Counter()
        results = []
        for file, look in list(looks.items())[:: given.every]:
            found = spoilt(given.fields / file, spoil, scales[look], finders[look])
            counts.update(found.flags or ("none",))
            results.append(agree(found.boxes, drawn[file]))
        words = ", ".join(f"{flag} {number}" for flag, number in counts.most_common())
        print(f"| {name} | {len(results)} | {words} | {together(results).f1:.3f} |", flush=True)


def spoilt(
    file: Path, spoil: Callable[[Pixels, float], Pixels], um_per_px: float, finder: Finder
) -> Found:
    field = open_field(file)
    pixels = spoil(field.read(0, 0, field.width, field.height), um_per_px)
    return find_cells(PlainField(pixels, um_per_px), finder=finder)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path)
    parser.add_argument("--finders", type=Path, required=True)
    parser.add_argument("--cells", type=Path)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--flags", action="store_true")
    parser.add_argument("--every", type=int, default=1, help="Spoil each so many-th field.")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    looks, scales = looks_scales(given.fields, read_boxes(given.fields / BOXES))
    scales = {
        look: um for look, um in scales.items() if (given.finders / f"without-{look}").is_dir()
    }
    looks = {name: look for name, look in looks.items() if look in scales}
    unseen_looks(given, looks, scales)
    if given.cells and given.split:
        dense(given, looks, scales)
    if given.flags:
        flags(given, looks, scales)


if __name__ == "__main__":
    main()
