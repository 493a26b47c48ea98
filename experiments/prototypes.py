"""Ask whether classes of a few cells could be told by a prototype, without any training.

Found: 43 of 49 platelets are nearest to the prototype of the others, and no other cell is.

    python experiments/prototypes.py BUNDLE --data cells.csv --split RUN

The prototype of a class is the mean of the embeddings of its cells. A cell is taken for a class
with few cells if it is nearer (cosine) to that prototype than to those of all covered classes.
Each of the few is asked with a prototype of the others; validation cells of covered classes tell
what it costs. The test cells are not read.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.split import located, read_split
from marrowscope.inference.backends import Pixels
from marrowscope.inference.predictor import Predictor
from marrowscope.model.bundle import load_bundle, load_references
from marrowscope.model.reference_embeddings import unit
from marrowscope.types import Cell, Picture, Reject

BATCH = 32
FEWEST = 2
"""Cells that a prototype is tried with."""


def embed(predictor: Predictor, manifest: Manifest, cells: list[Cell]) -> np.ndarray:
    """Give embeddings (N, D) of length 1."""
    found = []
    for start in range(0, len(cells), BATCH):
        batch = [pixels_of(predictor, manifest, cell) for cell in cells[start : start + BATCH]]
        found.append(predictor.embeddings(np.stack(batch)))
    return unit(np.concatenate(found))


def pixels_of(predictor: Predictor, manifest: Manifest, cell: Cell) -> Pixels:
    pixels = predictor.read(Picture(manifest.root / cell.path, cell.um_per_px))
    if isinstance(pixels, Reject):
        raise SystemExit(f"{pixels.path}: {pixels.reason}")
    return pixels


def taken(cells: np.ndarray, prototype: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Tell which cells (N, D) are nearer to the prototype (D,) than to any covered one (C, D)."""
    return np.asarray(cells @ unit(prototype[None])[0] > (cells @ covered.T).max(axis=1))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    options = parser.parse_args()
    bundle, manifest = load_bundle(options.bundle), read_manifest(options.data)
    predictor, split = Predictor(bundle), read_split(options.split)
    rows = [
        row.cell
        for part in ("train", "val")
        for row in located(split.part(part), manifest.cells, part)
        if part == "val" or row.cell.label not in bundle.classes
    ]
    few = [cell for cell in rows if cell.label not in bundle.classes]
    val = [cell for cell in rows if cell.label in bundle.classes]
    references = load_references(bundle)
    known, labels = unit(references.embeddings), np.array(references.labels)
    covered = unit(np.stack([known[labels == code].mean(axis=0) for code in bundle.classes]))
    cells, truth = embed(predictor, manifest, val), np.array([cell.label for cell in val])
    right = (cells @ covered.T).argmax(axis=1) == [bundle.classes.index(code) for code in truth]
    strange, codes = embed(predictor, manifest, few), np.array([cell.label for cell in few])
    print(f"{len(val)} validation cells, {right.mean():.3f} right by the nearest prototype")
    for code, count in Counter(codes.tolist()).most_common():
        if count < FEWEST:
            continue
        own = strange[codes == code]
        found = sum(
            taken(own[[n]], np.delete(own, n, axis=0).mean(axis=0), covered)[0]
            for n in range(count)
        )
        lost = taken(cells, own.mean(axis=0), covered)
        print(
            f"{code}: {found} of {count} found; {lost.sum()} of {len(val)} others taken, of them "
            f"{(lost & right).sum()} that were right: {dict(Counter(truth[lost].tolist()))}"
        )


if __name__ == "__main__":
    main()
