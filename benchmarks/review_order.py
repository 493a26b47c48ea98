"""How much faster the blast percentage comes right when cells are reviewed in order of doubt.

Cells are drawn, with replacement, from the predictions of an evaluation, so that blasts have a
stated share; a review replaces the machine's label by the true one. Printed is the mean error of
the blast share that is counted, in percent points, after so many reviews.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import SettingsError
from marrowscope.labels import CLASSES
from marrowscope.results import read_csv

REVIEWS = (0, 10, 20, 40, 80)
SHARES = (0.05, 0.2, 0.6)
ORDERS = ("nearest to a half", "least certain", "at random")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("predictions", type=Path, help="predictions.csv of an evaluation.")
    options.add_argument("--cells", type=int, default=500, help="In each drawn sample.")
    options.add_argument("--rounds", type=int, default=500, help="Samples of each share.")
    given = options.parse_args()
    rows = [
        row
        for row in read_csv(given.predictions, ("truth", "label", "BLA"), SettingsError)
        if CLASSES[row["truth"]].counted
    ]
    truth, taken = (np.array([row[name] == "BLA" for row in rows]) for name in ("truth", "label"))
    chance, best = (np.array([float(row[name]) for row in rows]) for name in ("BLA", "probability"))
    print(f"{truth.sum()} blasts and {(~truth).sum()} other cells to draw from")
    print("share | order | " + " | ".join(f"after {number}" for number in REVIEWS))
    for share in SHARES:
        samples = list(_samples(truth, share, given.cells, given.rounds))
        for order in ORDERS:
            errors = [
                _errors(truth[drawn], taken[drawn], _rank(order, chance[drawn], best[drawn], seed))
                for seed, drawn in enumerate(samples)
            ]
            means = np.mean(errors, axis=0)
            print(f"{share:.0%} | {order} | " + " | ".join(f"{mean:.2f}" for mean in means))


def _samples(
    truth: NDArray[np.bool_], share: float, cells: int, rounds: int
) -> Iterator[NDArray[np.int64]]:
    random = np.random.default_rng(0)
    blasts, others = np.flatnonzero(truth), np.flatnonzero(~truth)
    number = round(share * cells)
    for _ in range(rounds):
        yield np.concatenate([random.choice(blasts, number), random.choice(others, cells - number)])


def _rank(
    order: str, chance: NDArray[np.float64], best: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    if order == "nearest to a half":
        return np.argsort(np.abs(chance - 0.5), kind="stable")
    if order == "least certain":
        return np.argsort(best, kind="stable")
    return np.random.default_rng(seed).permutation(len(chance))


def _errors(
    truth: NDArray[np.bool_], taken: NDArray[np.bool_], rank: NDArray[np.int64]
) -> Sequence[float]:
    """Error of the share in percent points after each number of `REVIEWS`."""
    missed = truth.astype(int) - taken.astype(int)
    return [100 * abs(missed[rank[number:]].sum()) / len(truth) for number in REVIEWS]


if __name__ == "__main__":
    main()
