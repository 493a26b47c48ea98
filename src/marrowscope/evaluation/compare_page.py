"""What a comparison leaves behind: compare.json, compare.csv and a page with the intervals."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from marrowscope import __version__
from marrowscope.evaluation.compare import Comparison, Difference, Pair
from marrowscope.io.tables import csv_file, without_nan, write_json, write_text
from marrowscope.rendering import Axis, axis_for, render
from marrowscope.taxonomy import CLASSES

DATA, TABLE, PAGE = "compare.json", "compare.csv", "compare.html"
HEADER = (
    *("first", "other", "figure", "class", "cells", "groups", "value_first", "value_other"),
    *("difference", "low", "high", "only_first", "only_other", "p", "p_holm", "better", "verdict"),
)


@dataclass(frozen=True)
class Forest:
    """Differences over one axis."""

    title: str
    axis: Axis
    rows: tuple[Difference, ...]


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write the figures as JSON and CSV, and as a page; the folder must be there."""
    write_json(folder / DATA, as_dict(comparison))
    with csv_file(folder / TABLE, HEADER) as table:
        for pair in comparison.pairs:
            for row in (*pair.headline, *pair.classes):
                table.writerow(_row(pair, row))
    page = render(
        "compare.html.j2",
        comparison=comparison,
        first=comparison.evaluations[0],
        forests=[(pair, _forests(pair)) for pair in comparison.pairs],
        names={code: cell_class.name for code, cell_class in CLASSES.items()},
        version=__version__,
    )
    write_text(folder / PAGE, page)


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """Give a comparison as plain values; what is not known is None."""
    first = comparison.evaluations[0]
    return {
        "marrowscope": __version__,
        "split_hash": first.split_hash,
        "part": first.part,
        "grouped_by": first.grouped_by,
        "evaluations": [
            {
                "name": evaluation.name,
                "folder": str(evaluation.folder),
                "model_sha256": evaluation.model_sha256,
                "classes": list(evaluation.classes),
            }
            for evaluation in comparison.evaluations
        ],
        "classes": list(comparison.classes),
        "macro_classes": list(comparison.macro_classes),
        "cells": comparison.cells,
        "groups": comparison.groups,
        "left_out": {
            "not_in_all_evaluations": comparison.only_some,
            "not_covered": comparison.not_covered,
        },
        "method": comparison.method,
        "pairs": [without_nan(asdict(pair)) for pair in comparison.pairs],
    }


def _row(pair: Pair, row: Difference) -> list[str]:
    values = (row.first, row.other, row.difference.value, row.difference.low, row.difference.high)
    numbers = ("" if math.isnan(value) else f"{value:.6f}" for value in values)
    counts = (str(row.cells), str(row.groups))
    test = ["", "", "", ""]
    if row.test:
        discordant = (str(row.test.only_first), str(row.test.only_other))
        test = [*discordant, f"{row.test.p:.6g}", f"{row.test.p_holm:.6g}"]
    words = (row.better, row.verdict)
    return [pair.first, pair.other, row.figure, row.code, *counts, *numbers, *test, *words]


def _forests(pair: Pair) -> tuple[Forest, Forest]:
    return (
        Forest("All cells", _axis(pair.headline), pair.headline),
        Forest("Recall by class", _axis(pair.classes), pair.classes),
    )


def _axis(rows: Sequence[Difference]) -> Axis:
    """Give the axis that holds all intervals."""
    numbers = (n for row in rows for n in asdict(row.difference).values() if not math.isnan(n))
    return axis_for(100 * number for number in numbers)
