"""How unlike the known cells a cell is, and from where on it is set aside."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BundleError
from marrowscope.model.reference_embeddings import Embeddings, References, unit
from marrowscope.model.reference_images import KnownPictures

METHOD = "mahalanobis"
SHRINKAGE = 0.1
"""Share of the covariance that is replaced by its mean variance in every direction."""
FALSE_ALARMS = 0.02
UNKNOWN = math.nan
"""The novelty of a cell where the bundle cannot tell."""


@dataclass(frozen=True)
class Novelty:
    """What a bundle says about strange cells."""

    method: str
    """`mahalanobis`."""
    shrinkage: float
    """0..1."""
    threshold: float
    """A cell above it is set aside."""
    false_alarms: float
    """Share of the validation cells that lie above it, 0..1."""
    cells: int
    """Validation cells of covered classes that the threshold was set on."""
    references_sha256: str
    """Of `references.npz`."""
    pictures: KnownPictures | None = None
    """Of the known cells; None where the bundle keeps none."""

    def __post_init__(self) -> None:
        """Check the method.

        Raises:
            BundleError: it is not known.
        """
        if self.method != METHOD:
            raise BundleError(
                f"novelty by {self.method!r} is not known, {METHOD} is: update marrowscope or "
                "export the bundle again"
            )

    @property
    def in_words(self) -> str:
        """Say how the threshold was set."""
        return (
            f"novelty: of {self.cells} validation cells {self.false_alarms:.1%} lie above the "
            f"threshold of {self.threshold:.3f}"
        )

    def is_novel(self, novelty: float) -> bool:
        """Tell whether a cell is set aside; one of unknown novelty is not."""
        return novelty > self.threshold


class Strangeness:
    """Measures how far cells lie from the nearest class of known cells.

    It is the Mahalanobis distance of the embedding, scaled to length 1, to the nearest class mean,
    by the covariance within the classes, over the root of its D numbers: about 1 for the cells
    that the covariance comes from. The covariance S is shrunk to (1 - a) S + a tr(S) / D I, so that
    few cells are enough.

    Source: Lee et al., NeurIPS 2018 (distance to class means, one covariance); Ledoit and Wolf,
    J Multivar Anal 2004 (shrinkage to the mean variance).
    """

    def __init__(self, references: References, shrinkage: float = SHRINKAGE) -> None:
        reference = unit(references.embeddings).astype(np.float64)
        codes, of_cell = np.unique(np.array(references.labels), return_inverse=True)
        means = np.stack([reference[of_cell == code].mean(axis=0) for code in range(len(codes))])
        whiten = _whitening(reference - means[of_cell], shrinkage)
        self._whiten = whiten.astype(np.float32)
        self._means = (means @ whiten).astype(np.float32)

    def __call__(self, embeddings: Embeddings) -> NDArray[np.float64]:
        """Score cells (N, D): (N,), 0 or more, higher for stranger ones."""
        cells = unit(embeddings) @ self._whiten
        offsets = cells[:, None, :].astype(np.float64) - self._means
        return np.asarray(np.sqrt((offsets**2).mean(axis=2).min(axis=1)))


def _whitening(residuals: NDArray[np.float64], shrinkage: float) -> NDArray[np.float64]:
    """Give W (D, D) by which residuals (M, D) get the shrunk covariance of 1 in all directions."""
    width = residuals.shape[1]
    covariance = residuals.T @ residuals / len(residuals)
    variance = max(float(np.trace(covariance)) / width, float(np.finfo(np.float32).tiny))
    shrunk = (1 - shrinkage) * covariance + shrinkage * variance * np.eye(width)
    values, directions = np.linalg.eigh(shrunk)
    return np.asarray(directions / np.sqrt(values))


def threshold_of(scores: NDArray[np.floating], false_alarms: float = FALSE_ALARMS) -> float:
    """Give the novelty that at most this share of known cells' scores (N,) exceeds.

    Of scores 1 to 100 at 0.02 it is 98: two lie above.
    """
    allowed = int(false_alarms * len(scores) + 1e-9)
    return float(np.sort(scores)[len(scores) - 1 - allowed])


def novel_in_words(novelty: Novelty | None, novel: int, *, counted: bool) -> str:
    """Say how many cells are unlike the known ones and what became of them.

    It is empty where no cell is; where `novelty` is None, it says that nobody can tell.
    """
    if novelty is None:
        return (
            "Whether cells are unlike those that the model knows is unknown: the bundle has no "
            "reference cells; one that is exported again has."
        )
    if not novel:
        return ""
    which = "1 cell is" if novel == 1 else f"{novel:,} cells are"
    done = "counted all the same" if counted else "not counted"
    return (
        f"{which} unlike the cells the model knows: to be looked at ({done}; about "
        f"{novelty.false_alarms:.0%} of known cells are taken for such too)."
    )
