"""The course of a training: a table, and a curve that grows with every epoch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marrowscope.io.tables import csv_file, write_text
from marrowscope.rendering import render

HISTORY, CURVE = "history.csv", "curve.svg"
WIDTH, HEIGHT = 560, 240
"""Of the plotted area, in pixels."""


class Point(NamedTuple):
    """A value after some epochs, as a place in the drawing."""

    x: float
    y: float
    value: float


def write_history(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Write `history.csv` with all that was measured, and `curve.svg` to look at."""
    columns = sorted({key for row in rows for key in row})
    with csv_file(folder / HISTORY, columns) as table:
        for row in rows:
            table.writerow([str(row.get(column, "")) for column in columns])
    scores = [(row["epoch"], row["eval_macro_f1"]) for row in rows if "eval_macro_f1" in row]
    losses = {
        name: [(row["epoch"], row[key]) for row in rows if key in row]
        for name, key in (("training", "loss"), ("validation", "eval_loss"))
    }
    last = max((epoch for epoch, _ in scores), default=1)
    largest = max((value for values in losses.values() for _, value in values), default=1) or 1
    picture = render(
        "curve.svg.j2",
        width=WIDTH,
        height=HEIGHT,
        epochs=last,
        largest=largest,
        scores=_points(scores, last, 1),
        best=max((score for _, score in scores), default=0),
        losses={name: _points(values, last, largest) for name, values in losses.items()},
    )
    write_text(folder / CURVE, picture)


def _points(values: Sequence[tuple[float, float]], last: float, largest: float) -> list[Point]:
    return [
        Point(WIDTH * epoch / last, HEIGHT * (1 - value / largest), value)
        for epoch, value in values
    ]
