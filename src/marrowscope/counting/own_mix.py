"""How much more frequent classes are in a sample than they were in the bundle's test."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from marrowscope.counting.adjusted import rows_of
from marrowscope.model.bundle import Bundle, load_tested
from marrowscope.records import Prediction
from marrowscope.statistics.quantify import Floats, mix_behind

AT_LEAST = 0.5
"""Cells that each class is taken to have besides, so that none is impossible."""


def own_weights(predictions: Iterable[Prediction], bundle: Bundle) -> Floats | None:
    """Give what the probabilities of each class (C,) are multiplied with, before they are summed.

    Probabilities hold for the class mix of the test. Where blasts are 30% of a sample and were 10%
    of the test, a cell that said 0.25 for blast says 0.25 * 3 / (0.25 * 3 + 0.75 * 7/9) = 0.56.
    The sample's mix is the adjusted count. Without cells all are 1; None for a bundle without test
    cells.

    Raises:
        BundleError: the bundle's test cells cannot be read.

    Source: Saerens, Latinne and Decaestecker, Neural Comput 2002;14:21-41, equation 2.4.
    """
    if bundle.adjustment is None:
        return None
    total, cells = np.zeros(len(bundle.classes)), 0
    for prediction in predictions:
        total += prediction.probabilities
        cells += 1
    if not cells:
        return np.ones(len(bundle.classes))
    test = _test_of(_Key(bundle.folder, bundle.adjustment.tested_sha256, bundle))
    mix = mix_behind(test.rows, total / total.sum())
    return _shares(cells * mix) / _shares(test.cells)


@dataclass(frozen=True)
class _Key:
    """Which test cells are meant, by their content."""

    folder: Path
    sha256: str
    bundle: Bundle = field(compare=False)


@dataclass(frozen=True)
class _Test:
    """What own weights need of a test, so that a live count need not read its file each time."""

    rows: Floats
    """(C, C): what the bundle said of the cells of each true class, averaged."""
    cells: Floats
    """(C,): cells of each true class."""


@lru_cache(maxsize=4)
def _test_of(key: _Key) -> _Test:
    tested = load_tested(key.bundle)
    of_class = Counter(tested.labels)
    there = np.array([of_class[code] for code in key.bundle.classes], dtype=np.float64)
    return _Test(rows_of(tested, key.bundle, rounds=0).mean, there)


def _shares(cells: Floats) -> Floats:
    return np.asarray((cells + AT_LEAST) / (cells + AT_LEAST).sum())
