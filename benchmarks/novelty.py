"""How well a bundle tells cells that it knows from what it does not know.

python benchmarks/novelty.py BUNDLE CELLS_CSV SPLIT FIELDS_FOLDER [--json FILE]

Test cells of covered classes against: cells of classes that are not covered, red cells and
background cut from whole fields (boxes.csv: file,label,x0,y0,x1,y1 in pixels), tiles of
photographs, and test cells blurred and inverted. AUROC 0.5 is a guess, 1 is perfect; its interval
(95%) is from a bootstrap over cells. The photographs are files inside the wheels of scikit-image
(where that is installed) and scikit-learn; nothing is downloaded.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from scipy.stats import rankdata

from marrowscope.data.manifest import read_manifest
from marrowscope.data.split import located, read_split
from marrowscope.detection.boxes import BOXES, read_boxes
from marrowscope.inference.predictor import BATCH_SIZE, Predictor
from marrowscope.io.images import read_image
from marrowscope.model.bundle import load_bundle
from marrowscope.types import Cell

ROUNDS = 1_000
FEWEST = 5
"""Cells of a class from which on it gets a row of its own."""
BLUR = 0.03
"""Deviation of the blur, as a share of the picture's width."""
PHOTOGRAPHS = (
    ("sklearn", "datasets/images", ("china.jpg", "flower.jpg")),
    (
        "skimage",
        "data",
        (
            *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"),
            *("hubble_deep_field.jpg", "color.png", "retina.jpg", "ihc.png"),
        ),
    ),
)
"""Package, folder in it, files: all in colour."""
TILE = 128
T = TypeVar("T")
Square = tuple[int, int, int, int]
Shown = tuple[Image.Image, float | None]
"""A picture and its micrometres a pixel."""
Floats = NDArray[np.float64]


def auroc(known: Floats, strange: Floats) -> float:
    """Chance that a strange picture scores above a known cell; equal scores count half."""
    ranks = rankdata(np.concatenate([strange, known]))
    n = len(strange)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * len(known)))


def interval(known: Floats, strange: Floats) -> tuple[float, float]:
    random = np.random.default_rng(0)
    rounds = [
        auroc(random.choice(known, len(known)), random.choice(strange, len(strange)))
        for _ in range(ROUNDS)
    ]
    low, high = np.percentile(rounds, [2.5, 97.5])
    return float(low), float(high)


def some(items: Sequence[T], most: int) -> list[T]:
    order = np.random.default_rng(0).permutation(len(items))[:most]
    return [items[place] for place in sorted(order)]


def cells_shown(root: Path, cells: Sequence[Cell]) -> list[Shown]:
    return [(read_image(root / cell.path), cell.um_per_px) for cell in cells]


def blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(image.width * BLUR))


def boxes_of(folder: Path) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    return {
        name: [(box.label, (box.x0, box.y0, box.x1, box.y1)) for box in boxes]
        for name, boxes in read_boxes(folder / BOXES).items()
    }


def red_cells(folder: Path) -> Iterator[tuple[Path, Square]]:
    """Squares around red cells that touch no white cell."""
    for name, boxes in sorted(boxes_of(folder).items()):
        white = [box for label, box in boxes if label == "WBC"]
        with Image.open(folder / name) as image:
            size = image.size
        for label, box in boxes:
            side = max(box[2] - box[0], box[3] - box[1]) * 1.2
            left, top = ((box[i] + box[i + 2] - side) / 2 for i in (0, 1))
            square = left, top, left + side, top + side
            if label == "RBC" and inside(square, size) and not touches(square, white):
                x0, y0, x1, y1 = map(round, square)
                yield folder / name, (x0, y0, x1, y1)


def background(folder: Path) -> Iterator[tuple[Path, Square]]:
    """Squares of an eighth to a quarter of the field that touch no box."""
    random = np.random.default_rng(0)
    for name, boxes in sorted(boxes_of(folder).items()):
        with Image.open(folder / name) as image:
            width, height = image.size
        for _ in range(40):
            side = int(min(width, height) * random.uniform(1 / 8, 1 / 4))
            left = int(random.integers(0, width - side))
            top = int(random.integers(0, height - side))
            square = left, top, left + side, top + side
            if not touches(square, [box for _, box in boxes]):
                yield folder / name, square


def inside(square: tuple[float, ...], size: tuple[int, int]) -> bool:
    large = min(square[2] - square[0], square[3] - square[1]) >= 24
    return large and min(square) >= 0 and square[2] <= size[0] and square[3] <= size[1]


def touches(square: tuple[float, ...], boxes: Sequence[tuple[float, ...]]) -> bool:
    left, top, right, bottom = square
    return any(left < b[2] and b[0] < right and top < b[3] and b[1] < bottom for b in boxes)


def cut(squares: Sequence[tuple[Path, Square]], um: float | None) -> list[Shown]:
    return [(read_image(path).crop(square), um) for path, square in squares]


def tiles(um: float | None) -> list[Shown]:
    found: list[Shown] = []
    for package, folder, names in PHOTOGRAPHS:
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            for name in names:
                whole = Image.open(Path(place) / folder / name).convert("RGB")
                found += [
                    (whole.crop((x, y, x + TILE, y + TILE)), um)
                    for x in range(0, whole.width - TILE + 1, TILE)
                    for y in range(0, whole.height - TILE + 1, TILE)
                ]
    return found


def scores(predictor: Predictor, shown: Sequence[Shown]) -> Floats:
    """Novelty of pictures; one without a known scale fills the field that the network sees."""
    prepare = predictor.bundle.preprocessing
    found = []
    for start in range(0, len(shown), BATCH_SIZE):
        pixels = [
            prepare.resize(image, um or (prepare.field_um / min(image.size) or None))
            for image, um in shown[start : start + BATCH_SIZE]
        ]
        found.append(predictor.novelty(np.stack(pixels)))
    return np.concatenate(found)


def not_covered(root: Path, cells: Sequence[Cell], most: int) -> dict[str, list[Shown]]:
    by_class = defaultdict(list)
    for cell in cells:
        by_class[cell.label].append(cell)
    kinds = {"cells of classes that are not covered": cells_shown(root, some(cells, most))}
    for code in sorted(by_class):
        if len(by_class[code]) >= FEWEST:
            kinds[f"of these, {code}"] = cells_shown(root, some(by_class[code], most))
    return kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("cells_csv", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("fields", type=Path)
    parser.add_argument("--um-per-px", type=float, help="of fields and photographs")
    parser.add_argument("--most", type=int, default=300, help="pictures of a kind")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    bundle = load_bundle(given.bundle)
    if bundle.novelty is None:
        raise SystemExit(f"the bundle {bundle.name} has no known cells; export it again")
    predictor = Predictor(bundle)
    manifest = read_manifest(given.cells_csv)
    rows = located(read_split(given.split).part("test"), manifest.cells, "test")
    covered = [row.cell for row in rows if row.cell.label in bundle.classes]
    strangers = [cell for cell in manifest.cells if cell.label not in bundle.classes]
    known = cells_shown(manifest.root, covered)
    altered = cells_shown(manifest.root, some(covered, given.most))
    um = given.um_per_px
    kinds = not_covered(manifest.root, strangers, given.most) if strangers else {}
    kinds |= {
        "red cells": cut(some(list(red_cells(given.fields)), given.most), um),
        "background": cut(some(list(background(given.fields)), given.most), um),
        "photographs": some(tiles(um), given.most),
        "test cells, blurred": [(blurred(image), scale) for image, scale in altered],
        "test cells, inverted": [(ImageOps.invert(image), scale) for image, scale in altered],
    }
    usual = scores(predictor, known)
    limit = bundle.novelty.threshold
    alarms = float((usual > limit).mean())
    print(f"{bundle.name}: {len(usual)} covered test cells, {alarms:.1%} set aside by mistake\n")
    print("| against | n | AUROC | 95% | set aside |\n|---|---:|---:|---|---:|")
    found = {"known": {"n": len(usual), "set_aside": alarms}}
    for kind, shown in kinds.items():
        strange = scores(predictor, shown)
        area, (low, high) = auroc(usual, strange), interval(usual, strange)
        caught = float((strange > limit).mean())
        print(f"| {kind} | {len(strange)} | {area:.3f} | {low:.3f} to {high:.3f} | {caught:.0%} |",
              flush=True)  # fmt: skip
        found[kind] = {
            "n": len(strange),
            "auroc": area,
            "low": low,
            "high": high,
            "set_aside": caught,
        }
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
