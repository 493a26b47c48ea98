"""Recall and precision of the search for copies: turned, mirrored, resized, brightened, re-encoded.

python benchmarks/copies.py CELLS_CSV --copied 500
"""

import argparse
import io
import random
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance

from marrowscope.data.audit.keypoints import opencv
from marrowscope.data.audit.near_duplicates import find_copies, signature
from marrowscope.data.manifest import read_manifest
from marrowscope.metrics.classification import exact_interval

MAKE: dict[str, Callable[[Image.Image], Image.Image]] = {
    "encoded anew, quality 60": lambda image: image,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned by 37 degrees": lambda image: image.rotate(37, Image.Resampling.BICUBIC),
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "224 x 224, mirrored and turned by 12 degrees": lambda image: (
        image.resize((224, 224))
        .transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        .rotate(12, Image.Resampling.BILINEAR)
    ),
    "brightness 1.2": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "contrast 0.8, colour 1.3": lambda image: ImageEnhance.Contrast(
        ImageEnhance.Color(image).enhance(1.3)
    ).enhance(0.8),
    "enlarged by 1.05, cut to size": lambda image: _enlarged(image, 1.05),
}


def _enlarged(image: Image.Image, factor: float) -> Image.Image:
    width, height = image.size
    x, y = (width - width / factor) / 2, (height - height / factor) / 2
    box = (x, y, width - x, height - y)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)


def grey_of(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells_csv", type=Path)
    parser.add_argument("--copied", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    opencv().setNumThreads(1)
    manifest = read_manifest(given.cells_csv)
    contents = [(manifest.root / cell.path).read_bytes() for cell in manifest.cells]
    originals = len(contents)
    made: dict[int, tuple[int, str]] = {}
    for index in random.Random(given.seed).sample(range(originals), given.copied):
        image = Image.open(io.BytesIO(contents[index])).convert("RGB")
        for name, change in MAKE.items():
            buffer = io.BytesIO()
            change(image).save(buffer, "JPEG", quality=60 if "60" in name else 88)
            made[len(contents)] = (index, name)
            contents.append(buffer.getvalue())
    start = time.process_time()
    signatures = np.stack([signature(grey_of(content)) for content in contents])
    described = time.process_time()
    load = lru_cache(5000)(lambda index: grey_of(contents[index]))
    found = {(copy.a, copy.b) for copy in find_copies(signatures, load)}
    done = time.process_time()
    print(f"{len(contents):,} pictures: described in {described - start:.0f} s, ", end="")
    print(f"searched in {done - described:.0f} s of processor time")
    for name in MAKE:
        pairs = [(index, copy) for copy, (index, of) in made.items() if of == name]
        hits = sum(pair in found for pair in pairs)
        share = exact_interval(hits, len(pairs))
        print(f"{name}: {hits} of {len(pairs)} ({share.low:.3f} to {share.high:.3f})")
    source = {index: index for index in range(originals)} | {c: i for c, (i, _) in made.items()}
    wrong = [(a, b) for a, b in found if source[a] != source[b]]
    print(f"pairs found: {len(found):,}, of different cells: {len(wrong)}")
    for a, b in wrong[:20]:
        print("  ", manifest.cells[source[a]].path, manifest.cells[source[b]].path)


if __name__ == "__main__":
    main()
