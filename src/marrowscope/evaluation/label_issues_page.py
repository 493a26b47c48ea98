"""What a search for doubtful labels leaves behind: doubts.csv, doubts.json and a page."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope import __version__
from marrowscope.data.manifest import Manifest
from marrowscope.errors import ComparisonError, ImageError
from marrowscope.evaluation.out_of_fold import OutOfFold
from marrowscope.io.images import read_image
from marrowscope.io.tables import csv_file, prepare_folder, write_json, write_text
from marrowscope.locations import Location, within
from marrowscope.metrics.label_issues import find_doubts, self_confidence
from marrowscope.rendering import render, thumbnail
from marrowscope.taxonomy import CLASSES

DATA, TABLE, PAGE = "doubts.json", "doubts.csv", "doubts.html"
HEADER = (
    *("rank", "path", "label", "suggested"),
    *("self_confidence", "probability_of_suggested", "margin"),
)
PICTURE_PIXELS = 160
METHOD = (
    "Confident learning (Northcutt et al., J Artif Intell Res 2021;70:1373): a cell is listed if "
    "its probability for another class reaches the mean that cells labelled so get for it, and "
    "the model finds another class than the given one the most probable. Ranked by the "
    "probability of the given label minus that of the likeliest other class. No label was changed."
)


@dataclass(frozen=True)
class Listed:
    """One cell whose label is doubted."""

    rank: int
    """1 for the most doubtful."""
    path: str
    label: str
    """Code of the class that was given."""
    suggested: str
    """Code of the class that the model is confident of."""
    self_confidence: float
    """Probability of the given label, 0..1."""
    probability: float
    """Of the suggested class, 0..1."""
    margin: float
    """Probability of the given label minus that of the likeliest other class, -1..0."""


@dataclass(frozen=True)
class ClassDoubts:
    """How much one class's labels are doubted."""

    code: str
    cells: int
    threshold: float | None
    """Mean probability of its cells for it, 0..1; from it on, a cell is surely of the class.

    None without cells.
    """
    doubts: int
    """Its cells that are listed."""
    suggested: dict[str, int]
    """How often each other class is suggested instead."""


@dataclass(frozen=True)
class Doubts:
    """The list of doubtful labels, and what it was made from."""

    folder: Path
    evaluations: tuple[str, ...]
    """Their folders."""
    parts: tuple[str, ...]
    """Of the split, one for each evaluation."""
    cells: int
    """That were looked at."""
    not_covered: dict[str, int]
    """Cells that no model could judge, as their class is not covered, by class."""
    by_class: tuple[ClassDoubts, ...]
    listed: tuple[Listed, ...]
    """The most doubtful first."""


@dataclass(frozen=True)
class _Confusion:
    """Doubtful cells of one label for which the same class is suggested."""

    label: str
    suggested: str
    cells: int
    typical: tuple[str, str]
    """Pictures of a cell that is surely of the label, and of one surely of the other class."""
    pictures: tuple[tuple[Listed, str], ...]


def list_doubts(
    predictions: OutOfFold,
    manifest: Manifest,
    folder: Path,
    *,
    shown: int = 200,
    overwrite: bool = False,
) -> Doubts:
    """Find doubtful labels and write the list, its counts, and a page with the first `shown`.

    Raises:
        ComparisonError: a cell is not in the manifest, or has another label there.
        OutputError: the folder cannot be used.
    """
    _check_labels(predictions, manifest)
    prepare_folder(folder, overwrite)
    result = _doubts(predictions, folder)
    with csv_file(folder / TABLE, HEADER) as table:
        for issue in result.listed:
            numbers = (issue.self_confidence, issue.probability, issue.margin)
            row = (str(issue.rank), issue.path, issue.label, issue.suggested)
            table.writerow([*row, *(f"{number:.6f}" for number in numbers)])
    page = render(
        "doubts.html.j2",
        result=result,
        shown=min(shown, len(result.listed)),
        confusions=_confusions(result.listed[:shown], predictions, manifest.root),
        classes=CLASSES,
        method=METHOD,
        table=TABLE,
        version=__version__,
    )
    write_text(folder / PAGE, page)
    write_json(folder / DATA, as_dict(result))
    return result


def as_dict(result: Doubts) -> dict[str, Any]:
    """Give the list as plain values."""
    return {
        "marrowscope": __version__,
        "folder": str(result.folder),
        "evaluations": list(result.evaluations),
        "parts": list(result.parts),
        "method": METHOD,
        "cells": result.cells,
        "not_covered": result.not_covered,
        "doubts": len(result.listed),
        "by_class": [vars(row) for row in result.by_class],
        "listed": [vars(row) for row in result.listed],
    }


def _check_labels(predictions: OutOfFold, manifest: Manifest) -> None:
    label_of = {cell.path: cell.label for cell in manifest.cells}
    for path, label in zip(predictions.paths, predictions.labels.tolist(), strict=True):
        code = predictions.classes[label]
        if path not in label_of:
            raise ComparisonError(
                f"{path} of the evaluations is not in the data given; give the data that they "
                "were made from"
            )
        if label_of[path] != code:
            raise ComparisonError(
                f"{path} is {label_of[path]} in the data given, and {code} in its evaluation; "
                "split and evaluate again after labels have changed"
            )


def _doubts(predictions: OutOfFold, folder: Path) -> Doubts:
    codes = predictions.classes
    issues = find_doubts(predictions.labels, predictions.probabilities)
    listed = tuple(
        Listed(
            rank,
            predictions.paths[issue.index],
            codes[issue.label],
            codes[issue.suggested],
            round(issue.self_confidence, 6),
            round(issue.probability, 6),
            round(issue.margin, 6),
        )
        for rank, issue in enumerate(issues, 1)
    )
    return Doubts(
        folder=folder,
        evaluations=predictions.folders,
        parts=predictions.parts,
        cells=len(predictions.paths),
        not_covered=predictions.not_covered,
        by_class=_by_class(predictions, listed),
        listed=listed,
    )


def _by_class(predictions: OutOfFold, listed: Sequence[Listed]) -> tuple[ClassDoubts, ...]:
    thresholds = self_confidence(predictions.labels, predictions.probabilities)
    cells = np.bincount(predictions.labels, minlength=len(thresholds))
    suggested: dict[str, Counter[str]] = defaultdict(Counter)
    for row in listed:
        suggested[row.label][row.suggested] += 1
    columns = zip(predictions.classes, cells.tolist(), thresholds.tolist(), strict=True)
    return tuple(
        ClassDoubts(
            code,
            count,
            round(threshold, 6) if count else None,
            suggested[code].total(),
            dict(suggested[code].most_common()),
        )
        for code, count, threshold in columns
    )


def _confusions(listed: Sequence[Listed], predictions: OutOfFold, root: Path) -> list[_Confusion]:
    """Group doubts by label and suggestion, the most frequent first."""
    members: dict[tuple[str, str], list[Listed]] = defaultdict(list)
    for row in listed:
        members[row.label, row.suggested].append(row)
    typical = {
        code: _picture(within(root, path))
        for code, path in _typical(predictions, {code for pair in members for code in pair}).items()
    }
    return [
        _Confusion(
            label,
            suggested,
            len(cells),
            (typical[label], typical[suggested]),
            tuple((cell, _picture(within(root, cell.path))) for cell in cells),
        )
        for (label, suggested), cells in sorted(members.items(), key=lambda item: -len(item[1]))
    ]


def _typical(predictions: OutOfFold, codes: set[str]) -> dict[str, str]:
    """Give for each class the path of the cell labelled so that is most surely of it."""
    paths = {}
    for code in sorted(codes):
        index = predictions.classes.index(code)
        own = np.where(predictions.labels == index, predictions.probabilities[:, index], -1.0)
        paths[code] = predictions.paths[int(own.argmax())]
    return paths


def _picture(file: Location) -> str:
    try:
        return thumbnail(read_image(file), PICTURE_PIXELS)
    except ImageError:
        return ""
