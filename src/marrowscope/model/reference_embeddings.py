"""Cells of the training as the network sees them: what a bundle compares new cells with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BundleError
from marrowscope.io.npz import read_arrays, write_arrays

REFERENCES = "references.npz"
"""The file in the bundle's folder."""
MOST_CELLS = 2_000
MOST_BYTES = 3_500_000
"""Of the embeddings: two bytes a number, which hardly compress."""
FIELDS = ("embeddings", "labels", "paths")
LENGTH_TOLERANCE = 1e-2
"""How far the length of a stored embedding may be from 1; float16 is off by some 1e-4."""

Embeddings = NDArray[np.floating]
"""(N, D): near for cells that look alike to the network."""


@dataclass(frozen=True)
class Similar:
    """A known cell, and how alike it is to another."""

    path: str
    """As the manifest of the training has it."""
    label: str
    """Class code."""
    similarity: float
    """Cosine of the two embeddings, -1..1; 1 for the same picture."""
    row: int
    """Of the known cell in `references.npz`, from 0; its picture, if there is one, has it too."""


@dataclass(frozen=True)
class References:
    """Known cells."""

    embeddings: NDArray[np.float16]
    """(M, D), each of length 1."""
    labels: tuple[str, ...]
    """Class codes, one for each cell."""
    paths: tuple[str, ...]
    """As the manifest of the training has them."""

    def __post_init__(self) -> None:
        """Check the arrays.

        Raises:
            BundleError: there is no cell, the numbers of cells differ, or an embedding is not
                finite and of length 1.
        """
        cells = len(self.embeddings)
        if self.embeddings.ndim != 2 or not cells == len(self.labels) == len(self.paths) > 0:
            raise BundleError(
                f"reference cells need embeddings (M, D), M labels and M paths, and at least one; "
                f"got {self.embeddings.shape}, {len(self.labels)} and {len(self.paths)}"
            )
        lengths = np.linalg.norm(self.embeddings.astype(np.float32), axis=1)
        if not (np.abs(lengths - 1) < LENGTH_TOLERANCE).all():
            raise BundleError("the embeddings of reference cells must be finite and of length 1")

    def similarities(self, embeddings: Embeddings) -> NDArray[np.float32]:
        """Give the cosine of cells (N, D) with each known cell: (N, M), -1..1.

        `[3, 4]` and a known `[1, 0]` have 3 / 5 = 0.6.
        """
        return np.asarray(unit(embeddings) @ self._across)

    @cached_property
    def _across(self) -> NDArray[np.float32]:
        return np.asarray(self.embeddings.T, dtype=np.float32)

    def nearest(self, embeddings: Embeddings, k: int) -> list[tuple[Similar, ...]]:
        """Give for each cell (N, D) the k known cells most alike, the most alike first."""
        cosines = self.similarities(embeddings)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        return [
            tuple(Similar(self.paths[i], self.labels[i], float(row[i]), int(i)) for i in best)
            for row, best in zip(cosines, order, strict=True)
        ]


def unit(embeddings: Embeddings) -> NDArray[np.float32]:
    """Scale embeddings (N, D) to length 1; one of zeros stays as it is.

    `[3, 4]` becomes `[0.6, 0.8]`.
    """
    values = np.asarray(embeddings, dtype=np.float32)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.maximum(lengths, np.finfo(np.float32).tiny))


def cells_that_fit(width: int) -> int:
    """Say how many known cells of `width` numbers a bundle keeps: 2,000 of 768, 854 of 2,048."""
    return max(1, min(MOST_CELLS, MOST_BYTES // (2 * width)))


def known_cells(embeddings: Embeddings, labels: Sequence[str], paths: Sequence[str]) -> References:
    """Make references of cells (M, D), of any length, with their class codes and paths.

    Raises:
        BundleError: there is no cell, the numbers of cells differ, or an embedding is not finite
            or all zeros.
    """
    return References(unit(embeddings).astype(np.float16), tuple(labels), tuple(paths))


def write_references(references: References, folder: Path) -> Path:
    """Write `references.npz` into a bundle's folder; give the file."""
    return write_arrays(
        folder / REFERENCES,
        embeddings=references.embeddings,
        labels=np.array(references.labels),
        paths=np.array(references.paths),
    )


def read_references(file: Path) -> References:
    """Read `references.npz`; nothing in it is executed.

    Raises:
        BundleError: it cannot be read, or holds something else.
    """
    embeddings, labels, paths = read_arrays(
        file, FIELDS, "reference cells", "fetch or export the bundle again"
    )
    kinds = embeddings.dtype.kind, labels.dtype.kind, paths.dtype.kind
    if kinds != ("f", "U", "U"):
        raise BundleError(
            f"{file}: {', '.join(FIELDS)} must be floats, text and text; got the kinds "
            f"{', '.join(kinds)}"
        )
    return References(
        embeddings.astype(np.float16), tuple(map(str, labels)), tuple(map(str, paths))
    )
