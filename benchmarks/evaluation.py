"""Time all figures of `marrowscope evaluate` with their intervals on 20,000 real predictions.

    python benchmarks/evaluation.py

The sample cells are classified by the default bundle and repeated; a group has ten cells.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from marrowscope.data.manifest import read_manifest
from marrowscope.inference.predictor import Predictor
from marrowscope.metrics.conformal import conform
from marrowscope.metrics.prevalence import ADULT_MARROW
from marrowscope.metrics.reliability import Sealed, trust
from marrowscope.metrics.scores import Answers, marrow_shares, score
from marrowscope.metrics.selective import Threshold
from marrowscope.model.bundle import load_bundle
from marrowscope.types import Picture, Prediction

SAMPLES = Path(__file__).parents[1] / "samples/cells.csv"
CELLS_OF_A_GROUP = 10


def real_answers(cells: int) -> tuple[tuple[str, ...], Answers]:
    bundle, manifest = load_bundle("default"), read_manifest(SAMPLES)
    index_of = {code: index for index, code in enumerate(bundle.classes)}
    known = [cell for cell in manifest.cells if cell.label in index_of]
    outcomes = Predictor(bundle).classify(
        Picture(manifest.root / cell.path, cell.um_per_px) for cell in known
    )
    found = [
        (index_of[cell.label], index_of[outcome.label], outcome.probabilities)
        for cell, outcome in zip(known, outcomes, strict=True)
        if isinstance(outcome, Prediction)
    ]
    again = np.arange(cells) % len(found)
    return bundle.classes, Answers(
        truth=np.array([each[0] for each in found])[again],
        predicted=np.array([each[1] for each in found])[again],
        probabilities=np.array([each[2] for each in found])[again],
        groups=np.arange(cells) // CELLS_OF_A_GROUP,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=2_000)
    options = parser.parse_args()
    classes, answers = real_answers(options.cells)
    support = np.bincount(answers.truth, minlength=len(classes))
    shares = marrow_shares(ADULT_MARROW.percent, classes, support, 10)
    start = time.perf_counter()
    scores = score(answers, classes, shares, least_support=10, rounds=options.rounds, seed=0)
    seconds = time.perf_counter() - start
    figures = sum(len(each.figures) + sum(map(len, each.per_class.values())) for each in scores)
    print(
        f"{options.cells:,} cells of {len(classes)} classes, {options.rounds:,} rounds: "
        f"{figures} figures with intervals in {seconds:.1f} s"
    )
    abstention = conform(answers.probabilities, answers.truth.tolist(), len(classes))
    sealed = Sealed(load_bundle("default").scaling, abstention, (Threshold(0.05, 0.9),))
    start = time.perf_counter()
    trust(answers, classes, sealed, rounds=options.rounds, seed=0)
    print(f"calibration, abstention and review in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
