"""Boxes around cells: how far two overlap, which to keep, and the table they are kept in."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from marrowscope.errors import FieldError
from marrowscope.io.tables import csv_file, read_csv

BOXES = "boxes.csv"
HEADER = ("file", "label", "x0", "y0", "x1", "y1", "score")
CELL = "WBC"
"""Label of a nucleated cell."""
DECIMALS = 1
"""Of the sides in `boxes.csv`, in pixels."""


@dataclass(frozen=True)
class Box:
    """A box in pixels of the field; x to the right, y down, from the field's upper left corner."""

    x0: float
    y0: float
    x1: float
    """Exclusive."""
    y1: float
    """Exclusive."""
    score: float = 1.0
    """How sure the finder is, 0 to 1."""
    label: str = CELL

    @property
    def area(self) -> float:
        """In pixels; 0 where the sides are the wrong way round."""
        return max(0.0, self.x1 - self.x0) * max(0.0, self.y1 - self.y0)

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle, x and y."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def moved(self, x: float, y: float, scale: float = 1.0) -> "Box":
        """Scale the box, then shift it.

        Example: (10, 10, 20, 30) moved by (5, 0) at scale 2 is (25, 20, 45, 60).
        """
        return Box(
            self.x0 * scale + x,
            self.y0 * scale + y,
            self.x1 * scale + x,
            self.y1 * scale + y,
            self.score,
            self.label,
        )


def shared(one: Box, other: Box) -> float:
    """Give the area that two boxes share, in pixels."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return max(0.0, width) * max(0.0, height)


def iou(one: Box, other: Box) -> float:
    """Divide the area that two boxes share by the area that either covers (IoU): 0 to 1.

    Example: (0, 0, 2, 2) and (1, 0, 3, 2) share 2 of 6 pixels: 0.333.
    """
    both = shared(one, other)
    either = one.area + other.area - both
    return both / either if either else 0.0


def merge(boxes: Sequence[Box], most: float = 0.5) -> tuple[Box, ...]:
    """Keep the surest of boxes that overlap by more than `most` (IoU), the surest first.

    A box of which more than 80% lies inside a surer one is dropped as well: it is a part of it.

    Example: scores 0.9 and 0.8 with IoU 0.6: the first stays.
    """
    merged: list[Box] = []
    for box in sorted(boxes, key=lambda each: -each.score):
        if not any(_is_same(box, other, most) for other in merged):
            merged.append(box)
    return tuple(merged)


def _is_same(box: Box, surer: Box, most: float) -> bool:
    return iou(box, surer) > most or shared(box, surer) > 0.8 * box.area


def write_boxes(file: Path, boxes: Mapping[str, Sequence[Box]]) -> None:
    """Write the boxes of fields, by the names of the fields: `file,label,x0,y0,x1,y1,score`."""
    with csv_file(file, HEADER) as rows:
        for name, boxes_of_file in boxes.items():
            for box in boxes_of_file:
                sides = (f"{side:.{DECIMALS}f}" for side in (box.x0, box.y0, box.x1, box.y1))
                rows.writerow((name, box.label, *sides, f"{box.score:.4f}"))


def read_boxes(file: Path) -> dict[str, tuple[Box, ...]]:
    """Read the boxes of fields by the names of the fields; a score that is missing is 1.

    Raises:
        FieldError: the file cannot be read, or a row is no box; file and line are named.
    """
    boxes_of_file: dict[str, list[Box]] = {}
    for line, row in enumerate(read_csv(file, HEADER[:-1], FieldError), start=2):
        try:
            box = _box(row)
        except ValueError as error:
            raise FieldError(f"{file}, line {line}: {error}") from None
        boxes_of_file.setdefault(row["file"], []).append(box)
    return {name: tuple(boxes) for name, boxes in boxes_of_file.items()}


def _box(row: Mapping[str, str]) -> Box:
    x0, y0, x1, y1 = (_number(row[name], name) for name in HEADER[2:6])
    score = _number(row.get("score") or "1", "score")
    if x0 >= x1 or y0 >= y1:
        raise ValueError(
            f"x0 and y0 must be below x1 and y1; they are {x0:g}, {y0:g}, {x1:g}, {y1:g}"
        )
    if not 0 <= score <= 1:
        raise ValueError(f"score is {score:g}; it is between 0 and 1")
    if not row["file"] or not row["label"]:
        raise ValueError("file and label must not be empty")
    return Box(x0, y0, x1, y1, score, row["label"])


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name} is {text!r}; a number is needed") from None
    if not math.isfinite(value):
        raise ValueError(f"{name} is {text}; a finite number is needed")
    return value
