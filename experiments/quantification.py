"""Measure how close corrected shares come to the truth, on mixes of real labelled predictions.

Found: the corrected blast share is nearer to the truth from 5% blasts on, and its interval holds; see docs.

    python experiments/quantification.py BUNDLE predictions.csv

The predictions are those that `evaluate` wrote. In `halves`, the groups of each class are halved at
random: one half says how the model errs, from the other the cells of a sample are drawn. No picture
is in both, but a sample of 300 blasts then has only some 60 pictures, each about five times, which
no interval from independent cells can know. In `draws`, both are drawn from all cells with
replacement, as two samples of one population: that is what an interval promises to cover. Cells
that are set aside as unlike the known ones are left out.

Plain is classify and count; its interval is exact binomial.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from marrowscope.errors import PredictionError
from marrowscope.io.tables import read_csv
from marrowscope.metrics.classification import exact_interval, percentile_interval
from marrowscope.metrics.domain_shift import most_trained
from marrowscope.metrics.prevalence import ADULT_MARROW
from marrowscope.metrics.quantification import (
    Sample,
    answer_rows,
    drawn_mixes,
    mix_behind,
    mix_by_em,
    of_nucleated,
)
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.model.test_predictions import LabelledCells, to_correct_with
from marrowscope.taxonomy import CLASSES

BLASTS = (0.05, 0.2, 0.6, 0.01)
CELLS = 500
CLOSE = 1e-5
METHODS = ("plain", "adjusted count", "probabilistic adjusted count", "EM")


@dataclass(frozen=True)
class Pool:
    """Labelled cells: probabilities (N, C), true class indices (N,), groups (N,)."""

    chances: np.ndarray
    truth: np.ndarray
    groups: np.ndarray

    def take(self, index: np.ndarray) -> "Pool":
        return Pool(self.chances[index], self.truth[index], self.groups[index])


def read(bundle: Bundle, file: Path) -> Pool:
    columns = ("truth", "source", "group", "novelty", *bundle.classes)
    rows = [
        row
        for row in read_csv(file, columns, PredictionError)
        if row["truth"] in bundle.classes
        and not (bundle.novelty and bundle.novelty.is_novel(float(row["novelty"] or "nan")))
    ]
    found = LabelledCells(
        np.array([[row[code] for code in bundle.classes] for row in rows], dtype=np.float16),
        tuple(row["truth"] for row in rows),
        tuple(row["source"] for row in rows),
        tuple(int(row["group"]) for row in rows),
    )
    kept = to_correct_with(found, most_trained(bundle.origin["images"], sorted(set(found.sources))))
    chances = kept.probabilities.astype(np.float64)
    truth = [bundle.classes.index(label) for label in kept.labels]
    return Pool(
        chances / chances.sum(axis=1, keepdims=True), np.array(truth), np.array(kept.groups)
    )


def halves(pool: Pool, random: np.random.Generator) -> tuple[Pool, Pool]:
    first = np.zeros(len(pool.truth), dtype=bool)
    for index in np.unique(pool.truth):
        groups = random.permutation(np.unique(pool.groups[pool.truth == index]))
        mine = np.isin(pool.groups, groups[: (len(groups) + 1) // 2])
        first |= mine & (pool.truth == index)
    # cells of two classes can share a group: such a cell of the second half is left out
    second = ~first & ~np.isin(pool.groups, pool.groups[first])
    return pool.take(np.flatnonzero(first)), pool.take(np.flatnonzero(second))


def draws(pool: Pool, random: np.random.Generator) -> tuple[Pool, Pool]:
    drawn: list[np.ndarray] = []
    groups: list[np.ndarray] = []
    for index in np.unique(pool.truth):
        kinds = np.unique(pool.groups[pool.truth == index])
        for kind in random.choice(kinds, len(kinds)):
            members = np.flatnonzero((pool.truth == index) & (pool.groups == kind))
            groups.append(np.full(len(members), len(drawn)))
            drawn.append(members)
    cells = pool.take(np.concatenate(drawn))
    return Pool(cells.chances, cells.truth, np.concatenate(groups)), pool


DESIGNS: dict[str, Callable[[Pool, np.random.Generator], tuple[Pool, Pool]]] = {
    "halves": halves,
    "draws": draws,
}


def mix_of(bundle: Bundle, blasts: float, excluded: float) -> np.ndarray:
    """Shares (C,) of a marrow with so many blasts; excluded cells are a share of all cells."""
    percent = np.array([ADULT_MARROW.percent.get(code, 0.0) for code in bundle.classes])
    counted = np.array([CLASSES[code].counted for code in bundle.classes])
    is_blast = np.array([code == "BLA" for code in bundle.classes])
    others = np.where(is_blast, 0, percent)
    mix: np.ndarray = (1 - blasts) * others / others.sum() + blasts * is_blast
    whole: np.ndarray = (1 - excluded) * mix + excluded * ~counted / max(1, (~counted).sum())
    return whole


def estimates(
    test: Pool, seen: Pool, bundle: Bundle, rounds: int, seed: int, methods: list[str]
) -> dict[str, tuple[float, float, float]]:
    """Give the blast share with its limits, by each method."""
    counted = np.array([CLASSES[code].counted for code in bundle.classes])
    blast, size = bundle.classes.index("BLA"), len(bundle.classes)
    hard_test, hard_seen = (np.eye(size)[each.chances.argmax(axis=1)] for each in (test, seen))
    labels = hard_seen.sum(axis=0)
    plain = exact_interval(int(labels[blast]), int(labels[counted].sum()))
    found = {"plain": (plain.value, plain.low, plain.high)}
    ways = {METHODS[1]: (hard_test, hard_seen), METHODS[2]: (test.chances, seen.chances)}
    for name, (answers, cells) in ways.items():
        if name not in methods:
            continue
        rows = answer_rows(answers, test.truth, test.groups, rounds, seed)
        sample = Sample(size, rounds, seed + 1)
        sample.add(cells)
        value = of_nucleated(mix_behind(rows.mean, sample.mean), counted)[blast]
        drawn = of_nucleated(drawn_mixes(rows, sample), counted)[:, blast]
        share = percentile_interval(float(value), drawn.tolist())
        found[name] = (share.value, share.low, share.high)
    if METHODS[3] not in methods:
        return found
    known = np.array(bundle.sets.cells, dtype=np.float64)
    random = np.random.default_rng(seed)
    by_em = [
        of_nucleated(mix_by_em(cells, known / known.sum(), close=CLOSE), counted)[blast]
        for cells in (
            seen.chances,
            *(seen.chances[random.integers(0, CELLS, CELLS)] for _ in range(rounds)),
        )
    ]
    share = percentile_interval(float(by_em[0]), [float(each) for each in by_em[1:]])
    return found | {"EM": (share.value, share.low, share.high)}


def sampled(pool: Pool, mix: np.ndarray, random: np.random.Generator) -> Pool:
    numbers = random.multinomial(CELLS, mix)
    return pool.take(
        np.concatenate(
            [
                random.choice(np.flatnonzero(pool.truth == index), number)
                for index, number in enumerate(numbers)
                if number
            ]
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle")
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--excluded", type=float, default=0.0, help="Share of excluded cells.")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=list(DESIGNS))
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    pool = read(bundle, options.predictions)
    print(f"{len(pool.truth)} cells; {options.repeats} repeats of {CELLS} cells, seed 0")
    for design in options.designs:
        print(f"\n{design}: blasts, method, mean absolute error, bias, coverage, mean width (%)")
        for blasts in BLASTS:
            random = np.random.default_rng(0)
            mix = mix_of(bundle, blasts, options.excluded)
            found: dict[str, list[tuple[float, float, float]]] = {}
            for repeat in range(options.repeats):
                test, others = DESIGNS[design](pool, random)
                seen = sampled(others, mix, random)
                shares_of = estimates(test, seen, bundle, options.rounds, repeat, options.methods)
                for name, share in shares_of.items():
                    found.setdefault(name, []).append(share)
            for name, shares in found.items():
                value, low, high = np.array(shares).T
                figures = (
                    np.abs(value - blasts).mean(),
                    (value - blasts).mean(),
                    ((low <= blasts) & (blasts <= high)).mean(),
                    (high - low).mean(),
                )
                words = "  ".join(f"{100 * figure:6.2f}" for figure in figures)
                print(f"{100 * blasts:4.0f}%  {name:<28}  {words}", flush=True)


if __name__ == "__main__":
    main()
