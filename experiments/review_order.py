"""How much sooner the blast share comes right when the most doubtful cells are reviewed first.

Found: with 5% blasts, ten reviews by doubt halve the error of the blast share; by least certainty they do not.

.venv/bin/python experiments/review_order.py figures-val/predictions.csv --bundle default

Cells are drawn, with replacement, from the predictions of an evaluation, so that blasts have a
stated share; a review replaces the machine's label by the true one. Printed is the mean error of
the counted blast share, in percent points, after so many reviews, and how often two intervals hold
the stated share. Give predictions of other cells than the bundle's test cells: these say how
it errs.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.differential.error_correction import own_weights
from marrowscope.differential.sample_size import chances_of, in_doubt
from marrowscope.errors import SettingsError
from marrowscope.io.tables import read_csv
from marrowscope.metrics.classification import exact_interval
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Prediction

REVIEWS = (0, 10, 20, 40, 80)
SHARES = (0.05, 0.2, 0.6)
Chances = NDArray[np.float64]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("predictions", type=Path, help="predictions.csv of an evaluation.")
    options.add_argument("--bundle", default="default", help="That made them.")
    options.add_argument("--cells", type=int, default=500, help="In each drawn sample.")
    options.add_argument("--rounds", type=int, default=500, help="Samples of each share.")
    given = options.parse_args()
    bundle = load_bundle(given.bundle)
    cells, truth = _read(given.predictions, bundle)
    print(f"{truth.sum()} blasts and {(~truth).sum()} other cells to draw from")
    print("share | order | " + " | ".join(f"after {number}" for number in REVIEWS))
    for share in SHARES:
        samples = list(_samples(truth, share, given.cells, given.rounds))
        _show_orders(share, samples, cells, truth, bundle)
        _show_intervals(share, samples, cells, bundle)


def _read(file: Path, bundle: Bundle) -> tuple[list[Prediction], NDArray[np.bool_]]:
    """Read cells of classes that count, and which of them are blasts."""
    columns = ("truth", "label", "probability", *bundle.classes)
    rows = [row for row in read_csv(file, columns, SettingsError) if CLASSES[row["truth"]].counted]
    cells = [
        Prediction(
            str(number),
            row["label"],
            float(row["probability"]),
            tuple(float(row[code]) for code in bundle.classes),
        )
        for number, row in enumerate(rows)
    ]
    return cells, np.array([row["truth"] == "BLA" for row in rows])


def _samples(
    truth: NDArray[np.bool_], share: float, cells: int, rounds: int
) -> Iterator[NDArray[np.int64]]:
    random = np.random.default_rng(0)
    blasts, others = np.flatnonzero(truth), np.flatnonzero(~truth)
    for _ in range(rounds):
        number = random.binomial(cells, share)
        yield np.concatenate([random.choice(blasts, number), random.choice(others, cells - number)])


def _chances(
    drawn: NDArray[np.int64], cells: Sequence[Prediction], bundle: Bundle
) -> dict[str, Chances]:
    """Give the chances of drawn cells to be blasts: as the model says, and at their own mix."""
    chosen = [cells[index] for index in drawn]
    found = {}
    for name, weights in (("as given", None), ("own mix", own_weights(chosen, bundle))):
        by_path = chances_of(chosen, bundle.classes, weights=weights)
        found[name] = np.array([by_path[cell.path] for cell in chosen])
    return found


def _show_orders(
    share: float,
    samples: Sequence[NDArray[np.int64]],
    cells: Sequence[Prediction],
    truth: NDArray[np.bool_],
    bundle: Bundle,
) -> None:
    taken = np.array([cell.label == "BLA" for cell in cells])
    best = np.array([cell.probability for cell in cells])
    errors: dict[str, list[list[float]]] = {}
    for seed, drawn in enumerate(samples):
        missed = truth[drawn].astype(int) - taken[drawn].astype(int)
        chances = _chances(drawn, cells, bundle)
        for order, rank in (
            ("doubt, own mix", np.argsort(np.abs(chances["own mix"] - 0.5), kind="stable")),
            ("doubt, as given", np.argsort(np.abs(chances["as given"] - 0.5), kind="stable")),
            ("least certain class", np.argsort(best[drawn], kind="stable")),
            ("at random", np.random.default_rng(seed).permutation(len(drawn))),
        ):
            left = [100 * abs(missed[rank[number:]].sum()) / len(drawn) for number in REVIEWS]
            errors.setdefault(order, []).append(left)
    for order, rows in errors.items():
        means = " | ".join(f"{mean:.2f}" for mean in np.mean(rows, axis=0))
        print(f"{share:.0%} | {order} | {means}")


def _show_intervals(
    share: float,
    samples: Sequence[NDArray[np.int64]],
    cells: Sequence[Prediction],
    bundle: Bundle,
) -> None:
    held: dict[str, list[bool]] = {"exact, as counted": []}
    for drawn in samples:
        taken = sum(cells[index].label == "BLA" for index in drawn)
        plain = exact_interval(taken, len(drawn))
        held["exact, as counted"].append(plain.low <= share <= plain.high)
        for name, chance in _chances(drawn, cells, bundle).items():
            found = in_doubt(chance, len(drawn))
            inside = found.low <= 100 * share <= found.high
            held.setdefault(f"with doubt, {name}", []).append(inside)
    for name, each in held.items():
        print(f"{share:.0%} | interval {name} holds it in {np.mean(each):.1%}")


if __name__ == "__main__":
    main()
