"""Shares of classes behind what a classifier said, if only the class mix differs from its test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]
ROUNDS = 1000
"""Of the bootstrap."""
TOGETHER = 100.0
"""How much more a sum that is not 1 costs than a share that is off."""
CHUNK = 1000
"""Cells that are drawn at once."""


def mix_behind(rows: Floats, observed: Floats) -> Floats:
    """Find the shares (C,) of classes whose mixture of rows (C, K) is nearest to `observed` (K,).

    Row c is what the classifier says of cells of class c on average: shares of its answers
    (adjusted count) or mean probabilities (probabilistic adjusted count). The shares are at least 0
    and add up to 1; nearest is by least squares. If it finds 80% of the blasts and takes 10% of
    other cells for blasts, 24% taken for blasts come from 20%: 0.8 * 0.2 + 0.1 * 0.8 = 0.24.

    Source: Forman, Data Min Knowl Discov 2008;17:164-206; Bella et al., ICDM 2010 (probabilities);
    Bunse, LQ 2022 (least squares for several classes).
    """
    weighed = np.vstack([rows.T, np.full(len(rows), TOGETHER)])
    shares = nnls(weighed, np.append(observed, TOGETHER))[0]
    return np.asarray(shares / shares.sum())


def mix_by_em(probabilities: Floats, mix: Floats, most: int = 1000, close: float = 1e-8) -> Floats:
    """Find the shares (C,) of classes under which probabilities (N, C) agree with their own mean.

    `mix` (C,) is the class mix for which the probabilities hold. Expectation maximisation: weigh
    them anew for the shares found so far, take their mean, until it no longer moves by `close`.
    For cells that are certain, it is the mean of the probabilities.

    Source: Saerens, Latinne and Decaestecker, Neural Comput 2002;14:21-41.
    """
    likely = probabilities / mix
    shares = mix
    for _ in range(most):
        before = shares
        shares = shares * (likely.T @ (1 / (likely @ shares))) / len(likely)
        if np.abs(shares - before).max() < close:
            break
    return shares


class Sample:
    """The mean probabilities of cells and of as many bootstrap draws of them.

    Each cell comes into each draw as often as a Poisson number of mean 1 says, which is drawing
    with replacement without knowing how many cells will come: memory does not grow with them.

    Source: Hanley and MacGibbon, Comput Methods Programs Biomed 2006;83:57-62 (Poisson weights).
    """

    def __init__(self, classes: int, rounds: int = ROUNDS, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._sum = np.zeros(classes)
        self._drawn = np.zeros((rounds, classes))
        self.cells = 0

    def add(self, probabilities: Floats) -> None:
        """Take cells with probabilities (N, C) into account."""
        for start in range(0, len(probabilities), CHUNK):
            cells = probabilities[start : start + CHUNK]
            times = self._random.poisson(1.0, (len(self._drawn), len(cells)))
            self._drawn += times @ cells
            self._sum += cells.sum(axis=0)
        self.cells += len(probabilities)

    @property
    def mean(self) -> Floats:
        """Mean probabilities (C,) of the cells."""
        return np.asarray(self._sum / self._sum.sum())

    @property
    def drawn(self) -> Floats:
        """Mean probabilities (rounds, C) of the draws; those that drew no cell are left out."""
        sums = self._drawn.sum(axis=1, keepdims=True)
        return np.asarray(self._drawn[sums[:, 0] > 0] / sums[sums[:, 0] > 0])


@dataclass(frozen=True)
class AnswerRows:
    """What a classifier says of the cells of each class, on a test and in draws of its groups."""

    mean: Floats
    """(C, K): row c is the mean over the cells of class c."""
    drawn: Floats
    """(rounds, C, K)."""


def answer_rows(
    answers: Floats,
    truth: NDArray[np.int64],
    groups: NDArray[np.int64],
    rounds: int = ROUNDS,
    seed: int = 0,
) -> AnswerRows:
    """Average what was said of test cells (N, C) by true class (N,); draw whole groups (N,).

    The groups of each class are drawn with replacement on their own. A class without a test
    cell is taken to be always recognised.
    """
    random = np.random.default_rng(seed)
    classes = answers.shape[1]
    mean = np.eye(classes)
    drawn = np.tile(mean, (rounds, 1, 1))
    for index in np.unique(truth).tolist():
        mine = truth == index
        group = np.unique(groups[mine], return_inverse=True)[1]
        size = int(group.max()) + 1
        sums, cells = np.zeros((size, classes)), np.bincount(group, minlength=size)
        np.add.at(sums, group, answers[mine])
        times = random.multinomial(size, np.full(size, 1 / size), rounds)
        mean[index] = sums.sum(axis=0) / cells.sum()
        drawn[:, index] = times @ sums / (times @ cells)[:, None]
    return AnswerRows(mean, drawn)


def drawn_mixes(rows: AnswerRows, sample: Sample) -> Floats:
    """Adjust each draw of a sample with a draw of the test: shares (rounds, C)."""
    return np.array(
        [
            mix_behind(matrix, observed)
            for matrix, observed in zip(rows.drawn, sample.drawn, strict=False)
        ]
    )


def of_nucleated(shares: Floats, counted: NDArray[np.bool_]) -> Floats:
    """Give shares (..., C) as parts of the counted classes (C,) together; NaN where these are none.

    Of shares .2, .6 and .2, the last not counted: .25, .75 and 0.
    """
    of_counted = shares * counted
    whole = of_counted.sum(axis=-1, keepdims=True)
    shared = np.divide(of_counted, whole, out=np.full_like(of_counted, np.nan), where=whole > 0)
    return np.asarray(shared)
