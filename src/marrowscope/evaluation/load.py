"""Read back the folders that `evaluate` wrote, and find the cells that several have in common."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from marrowscope.errors import ComparisonError
from marrowscope.evaluation.evaluate import METRICS
from marrowscope.io.tables import PREDICTIONS, read_csv
from marrowscope.taxonomy import CLASSES, in_order

COLUMNS = ("path", "label", "truth", "source", "group")


class Scored(NamedTuple):
    """What a test cell is, and what a bundle took it for."""

    truth: str
    group: int
    source: str
    label: str


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: which bundle, on which test, and what it made of each cell."""

    folder: Path
    name: str
    """Of the bundle; the folder where two have the same name."""
    model_sha256: str
    split_hash: str
    part: str
    grouped_by: str
    """What the split kept together, in words."""
    classes: tuple[str, ...]
    """Codes of the classes that the bundle covers."""
    cells: dict[str, Scored]
    """By path."""


@dataclass(frozen=True)
class Shared:
    """The cells and classes that several evaluations have in common."""

    classes: tuple[str, ...]
    paths: tuple[str, ...]
    only_some: int
    """Cells left out because not all evaluations have them."""
    not_covered: dict[str, int]
    """Cells left out because not all bundles cover their class, by class."""


def read_evaluation(folder: Path, name: str = "") -> Evaluated:
    """Read a folder that `evaluate` wrote; `name` stands in for the bundle's.

    Raises:
        ComparisonError: it is no such folder, or its files cannot be read.
    """
    missing = [file for file in (METRICS, PREDICTIONS) if not (folder / file).is_file()]
    if missing:
        raise ComparisonError(
            f"{folder}: not an evaluation (no {', '.join(missing)}); give the folder that "
            "`marrowscope evaluate` wrote, or a bundle with --data, --split and --output"
        )
    classes, cells = _read_cells(folder / PREDICTIONS)
    try:
        metrics: dict[str, Any] = json.loads((folder / METRICS).read_text(encoding="utf-8"))
        return Evaluated(
            folder=folder,
            name=name or metrics["bundle"],
            model_sha256=metrics["model_sha256"],
            split_hash=metrics["split_hash"],
            part=metrics["part"],
            grouped_by=metrics["grouped_by"],
            classes=classes,
            cells=cells,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ComparisonError(
            f"{folder / METRICS} cannot be read: {error!r}; evaluate the bundle again"
        ) from None


def _read_cells(file: Path) -> tuple[tuple[str, ...], dict[str, Scored]]:
    """Give the covered classes, which are columns of the table, and its rows by path."""
    cells: dict[str, Scored] = {}
    classes: tuple[str, ...] = ()
    for row in read_csv(file, COLUMNS, ComparisonError):
        if row["path"] in cells or not row["group"].isdecimal() or row["truth"] not in CLASSES:
            raise ComparisonError(
                f"{file}: the row of {row['path']!r} is there twice or lacks a class or a group; "
                "evaluate the bundle again"
            )
        classes = classes or tuple(name for name in row if name in CLASSES)
        cells[row["path"]] = Scored(row["truth"], int(row["group"]), row["source"], row["label"])
    return classes, cells


def told_apart(evaluations: Sequence[Evaluated]) -> list[Evaluated]:
    """Give evaluations under names that differ: the folder, where bundles have the same name."""
    times = Counter(evaluation.name for evaluation in evaluations)
    return [
        replace(evaluation, name=str(evaluation.folder))
        if times[evaluation.name] > 1
        else evaluation
        for evaluation in evaluations
    ]


def check_different(folders: Sequence[Path]) -> None:
    """Check that there are two folders or more, and none twice.

    Raises:
        ComparisonError: there are fewer, or one is given twice.
    """
    if len(folders) < 2:
        raise ComparisonError(f"{len(folders)} given to compare; give two or more")
    folders_before: set[Path] = set()
    for folder in folders:
        if folder.resolve() in folders_before:
            raise ComparisonError(f"{folder} is given twice; give each once")
        folders_before.add(folder.resolve())


def check_one_test(evaluations: Sequence[Evaluated]) -> None:
    """Check that there are several evaluations, of one part of one split.

    Raises:
        ComparisonError: there are fewer than two, one is given twice, or two do not fit; the
            message names these.
    """
    check_different([evaluation.folder for evaluation in evaluations])
    first = evaluations[0]
    for evaluation in evaluations[1:]:
        if evaluation.split_hash != first.split_hash:
            raise ComparisonError(
                f"{first.folder} is of the split {first.split_hash[:12]}, {evaluation.folder} of "
                f"{evaluation.split_hash[:12]}: what one was trained on may be what the other is "
                "tested on. Train and evaluate both with one split"
            )
        if evaluation.part != first.part:
            raise ComparisonError(
                f"{first.folder} is of the part {first.part!r}, {evaluation.folder} of "
                f"{evaluation.part!r}; evaluate both on one part"
            )


def shared(evaluations: Sequence[Evaluated], common: bool) -> Shared:
    """Find the classes that all cover and their cells; cells that only some have need `common`.

    Raises:
        ComparisonError: a cell is missing in some and `common` is not given, a cell has another
            class or group in one than in another, or none is left.
    """
    everywhere = _in_all(evaluations, common)
    classes = in_order(set.intersection(*(set(evaluation.classes) for evaluation in evaluations)))
    cells = evaluations[0].cells
    paths = tuple(path for path in everywhere if cells[path].truth in classes)
    if not paths:
        raise ComparisonError(
            "no cell is left of a class that all bundles cover; they cover in common: "
            f"{', '.join(classes) or 'no class'}"
        )
    of_class = Counter(cells[path].truth for path in everywhere)
    return Shared(
        classes=classes,
        paths=paths,
        only_some=len(set[str]().union(*(evaluation.cells for evaluation in evaluations)))
        - len(everywhere),
        not_covered={code: of_class[code] for code in in_order(of_class) if code not in classes},
    )


def _in_all(evaluations: Sequence[Evaluated], common: bool) -> list[str]:
    """Give the paths of the cells that all evaluations have, in the order of the first."""
    first = evaluations[0]
    for evaluation in evaluations[1:]:
        differing = first.cells.keys() ^ evaluation.cells.keys()
        if differing and not common:
            raise ComparisonError(
                f"{first.folder} and {evaluation.folder} are not of the same cells: "
                f"{len(differing):,} are in only one of them (the first: {min(differing)}); "
                "evaluate both with the same data and audit, or give --common to compare on the "
                "cells that all have"
            )
        for path in first.cells.keys() & evaluation.cells.keys():
            if first.cells[path][:2] != evaluation.cells[path][:2]:
                raise ComparisonError(
                    f"{path} has another class or group in {first.folder} than in "
                    f"{evaluation.folder}; one of them was changed: evaluate both bundles again"
                )
    return [
        path for path in first.cells if all(path in evaluation.cells for evaluation in evaluations)
    ]
