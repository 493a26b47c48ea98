"""Ask how far the coverage of each class lies from what was asked, over many divisions.

Found: on average every class comes within a point of 0.9; one draw comes within 2 points in two of five cases.

    marrowscope evaluate --bundle BUNDLE --data cells.csv --split RUN --part val --output val
    marrowscope evaluate --bundle BUNDLE --data cells.csv --split RUN --output test
    python experiments/coverage.py val/predictions.csv test/predictions.csv

One test part shows one draw: with 118 cells of a class in each part, chance alone moves the
coverage by 4 points. So the cells of both parts are pooled and divided anew, by groups, into as
many parts of the same shares; scores come from one, sets are made for the other. Nothing of the
bundle is chosen by it.
"""

import argparse
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from marrowscope.errors import ComparisonError
from marrowscope.io.tables import read_csv
from marrowscope.metrics.conformal import conform
from marrowscope.taxonomy import CLASSES

DIVISIONS = 2000
FEWEST = 50
"""Cells of a class, in each part, that a coverage is stated for."""
NEAR = 0.02
"""How near to what was asked the coverage is meant to come."""


@dataclass(frozen=True)
class Part:
    """The cells of a part whose class the bundle covers."""

    chances: np.ndarray
    """Probabilities (N, C)."""
    truth: np.ndarray
    """Indices of classes (N,)."""
    groups: np.ndarray
    """Names of groups (N,)."""


def read(path: Path) -> tuple[Part, list[str]]:
    rows = list(read_csv(path, ("truth", "group"), ComparisonError))
    classes = [name for name in rows[0] if name in CLASSES]
    rows = [row for row in rows if row["truth"] in classes]
    chances = np.array([[float(row[code]) for code in classes] for row in rows])
    truth = np.array([classes.index(row["truth"]) for row in rows])
    return Part(chances, truth, np.array([row["group"] for row in rows])), classes


def covered(first: Part, second: Part, coverage: float, classes: int) -> np.ndarray:
    """Give the share (C,) of the second part's cells whose set, by the first, holds their class."""
    sealed = conform(first.chances, first.truth.tolist(), classes)
    sets = sealed.sets(second.chances, coverage)
    held = sets[np.arange(len(sets)), second.truth]
    return np.array([held[second.truth == index].mean() for index in range(classes)])


def divided_anew(val: Part, test: Part, coverage: float, classes: int) -> np.ndarray:
    """Give the coverage (DIVISIONS, C) with the cells of both parts dealt again, by groups."""
    both = [np.concatenate(pair) for pair in zip(astuple(val), astuple(test), strict=True)]
    kinds = np.unique(both[2])
    share, random = len(val.truth) / len(both[1]), np.random.default_rng(0)
    rounds = []
    for _ in range(DIVISIONS):
        first = np.isin(both[2], random.choice(kinds, round(share * len(kinds)), replace=False))
        parts = [Part(*(values[mine] for values in both)) for mine in (first, ~first)]
        rounds.append(covered(parts[0], parts[1], coverage, classes))
    return np.array(rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("val", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--coverage", type=float, default=0.9)
    options = parser.parse_args()
    (val, classes), (test, _) = read(options.val), read(options.test)
    once = covered(val, test, options.coverage, len(classes))
    again = divided_anew(val, test, options.coverage, len(classes))
    print(f"{len(val.truth)} + {len(test.truth)} cells, {DIVISIONS} divisions")
    print("class  val  test   once    mean   2.5%  97.5%  within 2 points")
    for n, code in enumerate(classes):
        cells = [int((part.truth == n).sum()) for part in (val, test)]
        if min(cells) >= FEWEST:
            low, high = np.nanquantile(again[:, n], (0.025, 0.975))
            near = (abs(again[:, n] - options.coverage) <= NEAR).mean()
            print(
                f"{code:5} {cells[0]:4} {cells[1]:5}  {once[n]:6.3f} {np.nanmean(again[:, n]):7.3f}"
                f" {low:6.3f} {high:6.3f} {near:8.2f}"
            )


if __name__ == "__main__":
    main()
