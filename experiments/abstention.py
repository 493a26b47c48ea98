"""Compare ways to make class-conditional conformal sets on the validation cells of a bundle.

Found: 1 - p makes the smallest sets (1.37 classes at a coverage of 0.9, APS 1.62), so it is in use; decision 13.

    python experiments/abstention.py BUNDLE --data cells.csv --split RUN

Validation cells are halved at random by groups, many times: scores come from one half, sets are
made for the other. The test cells are not read.
"""

import argparse
from pathlib import Path

import numpy as np

from marrowscope.data.manifest import read_manifest
from marrowscope.data.split import located, read_split
from marrowscope.inference.predictor import Predictor
from marrowscope.model.bundle import load_bundle
from marrowscope.types import Picture, Prediction

HALVINGS = 200
COVERAGES = (0.8, 0.9, 0.95)
PENALTY, FREE = 0.1, 1
"""Penalty of the regularised score: added for every class beyond the first one."""


def validation_cells(
    bundle_name: str, data: Path, split: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give probabilities (N, C), true class indices (N,) and groups (N,)."""
    bundle, manifest = load_bundle(bundle_name), read_manifest(data)
    rows = [row for row in read_split(split).part("val") if row.cell.label in bundle.classes]
    rows = located(rows, manifest.cells, "val")
    outcomes = Predictor(bundle).classify(
        Picture(manifest.root / row.cell.path, row.cell.um_per_px) for row in rows
    )
    found = [
        (outcome.probabilities, bundle.classes.index(row.cell.label), row.group)
        for row, outcome in zip(rows, outcomes, strict=True)
        if isinstance(outcome, Prediction)
    ]
    probabilities, truth, groups = zip(*found, strict=True)
    return np.array(probabilities), np.array(truth), np.array(groups)


def scores_of(chances: np.ndarray, draw: np.ndarray) -> dict[str, np.ndarray]:
    """Score each class of each cell (N, C) in each way; `draw` (N, 1) is uniform 0..1."""
    order = np.argsort(-chances, axis=1, kind="stable")
    rank = np.argsort(order, axis=1)
    until = np.take_along_axis(
        np.cumsum(np.take_along_axis(chances, order, axis=1), axis=1), rank, axis=1
    )
    beyond = PENALTY * np.maximum(0, rank + 1 - FREE)
    return {
        "1 - p": 1 - chances,
        "APS": until,
        "APS, randomised": until - draw * chances,
        "RAPS": until + beyond,
        "RAPS, randomised": until - draw * chances + beyond,
    }


def limit(scores: np.ndarray, coverage: float) -> float:
    place = int(np.ceil(round((len(scores) + 1) * coverage, 9)))
    return float(np.sort(scores)[place - 1]) if place <= len(scores) else np.inf


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    options = parser.parse_args()
    chances, truth, groups = validation_cells(options.bundle, options.data, options.split)
    random = np.random.default_rng(0)
    kinds = np.unique(groups)
    found: dict[tuple[float, str], list[tuple[float, ...]]] = {}
    for _ in range(HALVINGS):
        first = np.isin(groups, random.choice(kinds, len(kinds) // 2, replace=False))
        for way, scores in scores_of(chances, random.random((len(truth), 1))).items():
            own = scores[np.arange(len(truth)), truth]
            for coverage in COVERAGES:
                limits = [
                    limit(own[first & (truth == index)], coverage)
                    for index in range(chances.shape[1])
                ]
                sets = (scores <= limits)[~first]
                held = sets[np.arange(len(sets)), truth[~first]]
                sizes = sets.sum(axis=1)
                figures = (held.mean(), sizes.mean(), (sizes == 1).mean(), (sizes == 0).mean())
                found.setdefault((coverage, way), []).append(tuple(map(float, figures)))
    print(f"{len(truth)} validation cells, {len(kinds)} groups, {HALVINGS} halvings")
    print("coverage  score              covered  mean size  one class  empty")
    for (coverage, way), rows in sorted(found.items()):
        means = np.mean(rows, axis=0)
        print(f"{coverage:<9} {way:<18} " + "  ".join(f"{value:.3f}   " for value in means))


if __name__ == "__main__":
    main()
