"""The rows that pass from one step to the next."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cell:
    """One labelled cell image of a manifest; `path` is relative to the manifest's root."""

    path: str
    sha256: str
    label: str
    source: str
    patient: str = ""


@dataclass(frozen=True)
class Reject:
    """A file or row that was not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Prediction:
    """The most probable class of one cell and the probability of every class, in list order."""

    path: str
    label: str
    probability: float
    probabilities: tuple[float, ...]


Found = Path | Reject
"""What stands behind an input: a file to read, or the reason why there is none."""
