"""Plant wrong labels into an evaluation and see how many the list of doubts finds.

Found: of planted wrong labels 74 to 80% are listed, at a precision of at least 0.35; decision 14.

python experiments/doubts.py FIGURES --share 0.05 --seeds 0 1 2 3 4

FIGURES is a folder of `marrowscope evaluate`. Two kinds are planted: any other class, evenly, and
the class that the model finds likeliest after the given one, as a person would confuse it.
Precision counts planted labels alone, so it is a lower bound: labels that were wrong before count
against it. The model itself was trained on labels without planted errors.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.evaluation.out_of_fold import OutOfFold, read_out_of_fold
from marrowscope.metrics.label_issues import find_doubts

Labels = NDArray[np.int64]
Plant = Callable[[OutOfFold, Labels, np.random.Generator], Labels]


def any_other(cells: OutOfFold, places: Labels, random: np.random.Generator) -> Labels:
    """Give wrong labels for some cells: any other class, evenly."""
    steps = random.integers(1, len(cells.classes), len(places))
    others: Labels = (cells.labels[places] + steps) % len(cells.classes)
    return others


def likeliest_other(cells: OutOfFold, places: Labels, _: np.random.Generator) -> Labels:
    """Give wrong labels for some cells: the most probable class besides the given one."""
    chances = cells.probabilities[places].copy()
    chances[np.arange(len(places)), cells.labels[places]] = -1
    likeliest: Labels = chances.argmax(axis=1)
    return likeliest


PLANTS: dict[str, Plant] = {"any other class": any_other, "the likeliest other": likeliest_other}


def measure(cells: OutOfFold, plant: Plant, share: float, seed: int) -> tuple[int, int, int, int]:
    """Give the lengths of the list without and with planted labels, those, and those found."""
    random = np.random.default_rng(seed)
    places = random.choice(len(cells.labels), round(share * len(cells.labels)), replace=False)
    labels = cells.labels.copy()
    labels[places] = plant(cells, places, random)
    before = find_doubts(cells.labels, cells.probabilities)
    found = [doubt.index for doubt in find_doubts(labels, cells.probabilities)]
    return len(before), len(found), len(places), len(set(found) & set(places.tolist()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", type=Path, nargs="+")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    given = parser.parse_args()
    cells = read_out_of_fold(given.figures)
    print(f"{len(cells.paths):,} cells of {len(cells.classes)} classes, seeds {given.seeds}\n")
    print("| planted | n | list without | list | found | precision | recall | at random |")
    print("|---|---:|---:|---:|---:|---|---|---:|")
    for name, plant in PLANTS.items():
        rows = [measure(cells, plant, given.share, seed) for seed in given.seeds]
        before, length, planted, found = np.array(rows).T
        precision, recall = found / length, found / planted
        print(
            f"| {name} | {planted[0]} | {before[0]} | {length.mean():.0f} | {found.mean():.1f} | "
            f"{precision.mean():.2f} ({precision.min():.2f} to {precision.max():.2f}) | "
            f"{recall.mean():.2f} ({recall.min():.2f} to {recall.max():.2f}) | {given.share:.2f} |"
        )


if __name__ == "__main__":
    main()
