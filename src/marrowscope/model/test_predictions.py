"""Test cells with their true class, kept in a bundle to correct shares for its errors."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BundleError
from marrowscope.io.npz import read_arrays, write_arrays
from marrowscope.taxonomy import in_order

TESTED = "tested.npz"
"""The file in the bundle's folder."""
FIELDS = ("probabilities", "labels", "sources", "groups")
ENOUGH = 20
"""Cells of a class that are enough to know how it is read, without those of other sources."""
SUM_TOLERANCE = 5e-3
"""How far stored probabilities may be from a sum of 1; float16 is off by some 1e-3."""


@dataclass(frozen=True)
class LabelledCells:
    """Test cells of the classes that a bundle covers, and what it made of them."""

    probabilities: NDArray[np.float16]
    """(N, C), 0..1, in the order of the bundle's classes."""
    labels: tuple[str, ...]
    """True class codes, one for each cell."""
    sources: tuple[str, ...]
    """Data set or laboratory of each cell."""
    groups: tuple[int, ...]
    """Cells that belong together have the same."""

    def __post_init__(self) -> None:
        """Check the arrays.

        Raises:
            BundleError: there is no cell, the numbers of cells differ, or a row holds no
                probabilities.
        """
        cells = len(self.probabilities)
        lengths = {len(self.labels), len(self.sources), len(self.groups)}
        if self.probabilities.ndim != 2 or lengths != {cells} or not cells:
            raise BundleError(
                f"test cells need probabilities (N, C), N labels, sources and groups, and at least "
                f"one; got {self.probabilities.shape}, {len(self.labels)}, {len(self.sources)} and "
                f"{len(self.groups)}"
            )
        values = self.probabilities.astype(np.float64)
        inside = ((values >= 0) & (values <= 1)).all()
        if not inside or not (np.abs(values.sum(axis=1) - 1) < SUM_TOLERANCE).all():
            raise BundleError("the probabilities of test cells must be 0..1 and add up to 1")


@dataclass(frozen=True)
class Adjustment:
    """What `bundle.json` says of the test cells that shares are corrected with."""

    reference: str
    """Source whose cells are used alone for the classes of which it has enough; empty for none."""
    rows: dict[str, dict[str, int]]
    """For each class its test cells by source."""
    set_aside: int
    """Test cells left out as unlike the known ones: such are not counted either."""
    tested_sha256: str
    """Of `tested.npz`."""

    @property
    def borrowed(self) -> tuple[str, ...]:
        """Classes of which cells of other sources had to be used too; none without a reference."""
        if not self.reference:
            return ()
        return tuple(code for code, of in self.rows.items() if set(of) - {self.reference})

    def cells(self, code: str) -> int:
        """Test cells of a class."""
        return sum(self.rows.get(code, {}).values())


def adjustment_of(values: Mapping[str, Any] | None) -> Adjustment | None:
    """Read what `bundle.json` holds; bundles that were evaluated before have none."""
    if values is None:
        return None
    rows = {
        str(code): {str(source): int(cells) for source, cells in of.items()}
        for code, of in values["rows"].items()
    }
    return Adjustment(
        str(values["reference"]), rows, int(values["set_aside"]), str(values["tested_sha256"])
    )


def to_correct_with(tested: LabelledCells, reference: str) -> LabelledCells:
    """Keep the cells of one source for each class of which it has enough, else those of all.

    How a class is mistaken depends on the stain and the scanner, so cells of the source at hand,
    where there are enough, tell more than many of another. With 119 marrow and 17 blood cells of a
    class, the 119 are kept; with 3 and 44, all 47.
    """
    of_reference = Counter(
        label
        for label, source in zip(tested.labels, tested.sources, strict=True)
        if source == reference
    )
    rows = [
        index
        for index, label in enumerate(tested.labels)
        if tested.sources[index] == reference or of_reference[label] < ENOUGH
    ]
    return LabelledCells(
        tested.probabilities[rows],
        tuple(tested.labels[index] for index in rows),
        tuple(tested.sources[index] for index in rows),
        tuple(tested.groups[index] for index in rows),
    )


def cells_by_source(tested: LabelledCells) -> dict[str, dict[str, int]]:
    """Count the cells of each class by source.

    Raises:
        UnknownClassError: a label is not a known class.
    """
    pairs = Counter(zip(tested.labels, tested.sources, strict=True))
    return {
        code: {source: cells for (label, source), cells in sorted(pairs.items()) if label == code}
        for code in in_order(tested.labels)
    }


def write_tested(tested: LabelledCells, folder: Path) -> Path:
    """Write `tested.npz` into a bundle's folder; give the file."""
    return write_arrays(
        folder / TESTED,
        probabilities=tested.probabilities,
        labels=np.array(tested.labels),
        sources=np.array(tested.sources),
        groups=np.array(tested.groups, dtype=np.int64),
    )


def read_tested(file: Path, classes: Sequence[str]) -> LabelledCells:
    """Read `tested.npz` of a bundle with such classes; nothing in it is executed.

    Raises:
        BundleError: it cannot be read, or holds something else.
    """
    probabilities, labels, sources, groups = read_arrays(
        file, FIELDS, "test cells", "fetch the bundle or evaluate it again"
    )
    kinds = "".join(array.dtype.kind for array in (probabilities, labels, sources, groups))
    if kinds != "fUUi" or probabilities.shape[1:] != (len(classes),):
        raise BundleError(
            f"{file}: {', '.join(FIELDS)} must be floats (N, {len(classes)}), text, text and whole "
            f"numbers; got the kinds {', '.join(kinds)} and the shape {probabilities.shape}"
        )
    strange = sorted(set(labels.tolist()) - set(classes))
    if strange:
        raise BundleError(
            f"{file} has cells of {', '.join(strange)}; the bundle covers {', '.join(classes)}: "
            "fetch the bundle or evaluate it again"
        )
    return LabelledCells(
        probabilities.astype(np.float16),
        tuple(labels.tolist()),
        tuple(sources.tolist()),
        tuple(groups.tolist()),
    )
