"""The rows that pass from one step to the next."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from marrowscope.locations import Location


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
class Place:
    """Where a cell lies on a whole field; pixels of the field, with x1 and y1 just outside."""

    field: str
    """The field's file."""
    x0: int
    y0: int
    x1: int
    y1: int
    um_per_px: float
    """Side of the field's pixels on the slide, in micrometres."""

    @property
    def path(self) -> str:
        """Name the cell as if it lay within the field: `scan/7.jpg/120-33-190-101`."""
        return f"{self.field}/{self.x0}-{self.y0}-{self.x1}-{self.y1}"

    @property
    def in_words(self) -> str:
        """Name the field and where the cell's middle is on it: `7.jpg at 155, 67`."""
        x, y = (self.x0 + self.x1) // 2, (self.y0 + self.y1) // 2
        return f"{Path(self.field).name} at {x}, {y}"


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
    place: Place | None = None
    """Where it was cut from; None for a picture of its own."""


class Picture(NamedTuple):
    """A picture to read, and the side of its pixels on the slide, in micrometres, if known."""

    path: Location
    um_per_px: float | None = None
    place: Place | None = None
    """Where it is to be cut from; None for a picture of its own."""


Found = Picture | Reject
"""What stands behind an input: a picture to read, or the reason why there is none."""
