"""The cells of whole fields as pictures to classify, found when they are asked for."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrowscope.detection.boxes import Box
from marrowscope.detection.quality import FLAGS
from marrowscope.detection.results import FIELDS, Looked, read_fields, survey
from marrowscope.types import Found, Picture, Place, Reject

NO_SCALE = (
    "the size of its pixels is not known, and too few red cells show it; give --um-per-px (7.2 "
    "divided by the width of a red cell in pixels)"
)
CELLS_OF_A_FIELD = 20
"""As many are reckoned with before they are found, to choose an engine."""
SOURCES = {
    "given": "given by you",
    "file": "as its file says",
    "red cells": "estimated from red cells",
    "other fields": "estimated from red cells of other fields of this folder and size",
    "unknown": "unknown",
}
"""What the scale of a field rests on, in words."""


@dataclass(frozen=True)
class WholeFields:
    """That pictures are whole fields, and how they are taken."""

    um_per_px: float | None = None
    """Side of their pixels on the slide, in micrometres; None to go by the file or by red cells."""
    keep_flagged: bool = False
    """Whether the cells of flagged fields are read all the same."""
    advance: Callable[[int], object] = lambda _cells: None
    """Called for each field that was looked at, with the number of its cells."""

    def cells(self, fields: Iterable[Found], folder: Path) -> Iterator[Found]:
        """Give the cells of fields in order; `survey` finds them and keeps them in a folder.

        A field that cannot be read, that is flagged (without `keep_flagged`) or whose scale is
        unknown comes as a reject. Memory holds the boxes of all fields, but no picture.

        Raises:
            OutputError: a field is not the picture that it was in an earlier search.
            FieldError: the tables of an earlier search cannot be read, or the finder cannot be
                loaded.
            MissingExtraError: a field is large or a slide, and what opens it is not installed.
        """
        for outcome in survey(fields, folder, self.um_per_px, self.advance):
            if isinstance(outcome, Reject):
                yield outcome
            else:
                yield from pictures_on(outcome, keep_flagged=self.keep_flagged)


def pictures_on(looked: Looked, *, keep_flagged: bool = False) -> Iterator[Found]:
    """Give the cells of one field, or the one reason why they are not read."""
    if looked.flags and not keep_flagged:
        yield Reject(looked.file, f"flagged, so its cells are not read: {why(looked.flags)}")
    elif looked.um_per_px is None:
        yield Reject(looked.file, NO_SCALE)
    else:
        places = (place_of(looked.file, box, looked.um_per_px) for box in looked.boxes)
        for place in dict.fromkeys(places):
            yield Picture(Path(place.path), place.um_per_px, place)


def why(flags: Sequence[str]) -> str:
    """Say what flags mean: `empty (next to nothing on it but background)`."""
    return ", ".join(f"{flag} ({FLAGS[flag]})" if flag in FLAGS else flag for flag in flags)


def place_of(field: str, box: Box, um_per_px: float) -> Place:
    """Give a box as the place of a cell, in whole pixels."""
    x0, y0 = max(0, round(box.x0)), max(0, round(box.y0))
    return Place(field, x0, y0, max(x0 + 1, round(box.x1)), max(y0 + 1, round(box.y1)), um_per_px)


@dataclass(frozen=True)
class OnFields:
    """What became of the fields of a classification."""

    fields: int
    """That could be opened."""
    cells: int
    """Found on them, those on flagged ones too."""
    scales: tuple[tuple[str, int, float, float], ...]
    """What the scale rests on, for how many fields, the least and the largest um per pixel."""
    flagged: tuple[tuple[str, int], ...]
    """Reasons and for how many fields each holds; a field may have several."""
    names: tuple[str, ...]
    """Of the flagged fields."""
    kept: bool
    """Whether the cells of flagged fields are read all the same."""

    @property
    def in_words(self) -> tuple[str, ...]:
        """Say how many cells were found, what the scale rests on, and which fields are flagged."""
        sentence = f"{self.cells:,} cells were found on {_fields(self.fields)}."
        return (sentence, *map(scale_in_words, self.scales), *self._flagged())

    def _flagged(self) -> Iterator[str]:
        if self.names:
            reasons = ", ".join(f"{reason} {number:,}" for reason, number in self.flagged)
            read = "read all the same" if self.kept else "not read"
            yield (
                f"{_fields(len(self.names))} flagged, the cells {read}: {reasons}. "
                f"{_named(self.names)}"
            )

    def as_dict(self) -> dict[str, Any]:
        """Give it for machines."""
        return {
            "fields": self.fields,
            "cells_found": self.cells,
            "scales": [
                {"from": source, "fields": number, "um_per_px_least": least, "um_per_px_most": most}
                for source, number, least, most in self.scales
            ],
            "flagged": {
                "fields": list(self.names),
                "reasons": dict(self.flagged),
                "cells_read": self.kept,
            },
        }


SHOWN = 12
"""Names of flagged fields in a sentence."""


def _fields(number: int) -> str:
    return f"{number:,} field" if number == 1 else f"{number:,} fields"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(Path(name).name for name in names[:SHOWN])
    more = len(names) - SHOWN
    return f"{shown} and {more:,} more, all in {FIELDS}." if more > 0 else f"{shown}."


def scale_in_words(row: tuple[str, int, float, float]) -> str:
    """Say what a row of `scales_of` says."""
    source, number, least, most = row
    if source == "unknown":
        return f"Scale of {_fields(number)} unknown."
    span = f"{least:.3g}" if f"{least:.3g}" == f"{most:.3g}" else f"{least:.3g} to {most:.3g}"
    words = SOURCES.get(source, source)
    return f"Scale of {_fields(number)} {words}: {span} µm per pixel."


def scales_of(
    scales: Iterable[tuple[str, float | None]],
) -> tuple[tuple[str, int, float, float], ...]:
    """Sum up what scales rest on: of how many fields, the least and the largest um per pixel.

    Of `("red cells", 0.08)` and `("red cells", 0.1)` that is `("red cells", 2, 0.08, 0.1)`. A scale
    that is not known is 0.
    """
    of_source: dict[str, list[float]] = {}
    for source, um_per_px in scales:
        of_source.setdefault(source, []).append(um_per_px or 0.0)
    return tuple((source, len(of), min(of), max(of)) for source, of in of_source.items())


def on_fields(folder: Path, *, keep_flagged: bool = False) -> OnFields | None:
    """Sum up the fields of a folder of results; None where there are none.

    Raises:
        FieldError: its `fields.csv` cannot be read.
    """
    if not (folder / FIELDS).is_file():
        return None
    return sum_up(read_fields(folder), keep_flagged=keep_flagged)


def sum_up(fields: Sequence[Looked], *, keep_flagged: bool = False) -> OnFields:
    """Sum up fields that were looked at."""
    reasons = Counter(flag for field in fields for flag in field.flags)
    return OnFields(
        fields=len(fields),
        cells=sum(field.cells for field in fields),
        scales=scales_of((field.scale, field.um_per_px) for field in fields),
        flagged=tuple(reasons.most_common()),
        names=tuple(field.file for field in fields if field.flags),
        kept=keep_flagged,
    )
