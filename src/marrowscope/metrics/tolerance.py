"""Ways of scoring that forgive a confusion: neighbours in maturation, and the same lineage."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from marrowscope.taxonomy import CLASSES

TOLERATED: tuple[tuple[str, str], ...] = tuple(
    (code, row.matures_into) for code, row in CLASSES.items() if row.matures_into
)
"""Pairs that tolerant scoring counts as right, both ways round: single steps of maturation.

Blasts are never forgiven, as their share decides a diagnosis. In Matek et al. 2021, Table 1,
tolerant and strict figures of BLA, LYT, LYI and HAC differ too; such pairs are no steps of
maturation in this list, so tolerant figures here are not to be compared with theirs.

Source: after Matek et al., Blood 2021;138:1917-1927.
"""


def tolerated_in_words() -> str:
    """Name the tolerated pairs: `PMO/MYB, ...`."""
    return ", ".join("/".join(pair) for pair in TOLERATED)


def forgiven(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Give predictions (N,) in which a tolerated confusion is replaced by the true class.

    A true PMO taken for MYB becomes PMO; one taken for MMZ, two steps on, stays MMZ.
    """
    index_of = {code: index for index, code in enumerate(classes)}
    tolerated = np.zeros((len(classes), len(classes)), dtype=bool)
    for one, other in TOLERATED:
        if one in index_of and other in index_of:
            tolerated[index_of[one], index_of[other]] = True
            tolerated[index_of[other], index_of[one]] = True
    return np.where(tolerated[truth, predicted], truth, predicted)


def lineages(classes: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Give the lineages of classes, in the order of the differential, and each class's index (C,).

    `lineages(["PMO", "BLA", "NGS"])` is `("blasts", "neutrophilic")` and `[1, 0, 1]`.
    """
    of_class = [CLASSES[code].lineage for code in classes]
    lineages_in_order = dict.fromkeys(row.lineage for row in CLASSES.values())
    names = tuple(name for name in lineages_in_order if name in of_class)
    return names, np.array([names.index(name) for name in of_class], dtype=np.int64)
