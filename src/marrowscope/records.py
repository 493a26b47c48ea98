"""The rows that pass from one step to the next."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from marrowscope.places import Place


@dataclass(frozen=True)
class Cell:
    """One labelled cell image of a manifest; what is not known is empty."""

    path: str
    """Relative to the manifest's root; it may lead into a zip archive or a Parquet file."""
    sha256: str
    """Of the file's bytes."""
    label: str
    """Class code."""
    source: str
    """Data set or laboratory."""
    patient: str = ""
    slide: str = ""
    field: str = ""
    """Microscope field that the cell was cut from."""
    um_per_px: float | None = None
    """Side of a pixel on the slide, in micrometres."""


@dataclass(frozen=True)
class Reject:
    """A file or row that was not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Prediction:
    """The class of one cell and the probability of every class, in list order."""

    path: str
    label: str
    """The most probable class, or the one that a person gave."""
    probability: float
    """Of the most probable class."""
    probabilities: tuple[float, ...]
    set: tuple[str, ...] | None = None
    """Codes that the cell may be of at the coverage asked for; None where none was."""
    novelty: float = math.nan
    """How unlike the known cells it is, 0 or more; NaN where the bundle cannot tell."""
    reviewer: str = ""
    """Who gave the label; empty for the machine."""


class Picture(NamedTuple):
    """A picture to read, and the side of its pixels on the slide, in micrometres, if known."""

    path: Place
    um_per_px: float | None = None


Found = Picture | Reject
"""What stands behind an input: a picture to read, or the reason why there is none."""
