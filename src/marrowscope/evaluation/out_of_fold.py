"""Out-of-fold predictions: what models made of cells that they did not learn from."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import ComparisonError
from marrowscope.evaluation.load import Evaluated, read_evaluation
from marrowscope.io.tables import PREDICTIONS, read_csv
from marrowscope.metrics.scores import check_probabilities

LEARNT = "train"
"""The part that models learn from."""


@dataclass(frozen=True)
class OutOfFold:
    """N cells of the classes that the models cover, and what the models made of them."""

    folders: tuple[str, ...]
    parts: tuple[str, ...]
    """Of the splits, one for each folder: where the cells come from."""
    classes: tuple[str, ...]
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    """Class index given to each cell (N,)."""
    probabilities: NDArray[np.float64]
    """Of every class (N, C), 0..1."""
    not_covered: dict[str, int]
    """Cells left out because the models do not cover their class, by class."""


def read_out_of_fold(folders: Sequence[Path]) -> OutOfFold:
    """Read evaluations, each of cells that its model did not learn from, as one.

    Raises:
        ComparisonError: no folder is given, one holds no evaluation or one of the part `train`,
            the bundles cover different classes, a cell is in two evaluations, no cell is of a
            class that they cover, or a row holds something else than numbers.
        PredictionError: the numbers of a row are no probabilities.
    """
    if not folders:
        raise ComparisonError("no evaluation given; give the folders that `evaluate` wrote")
    evaluations = [read_evaluation(folder) for folder in folders]
    _check(evaluations)
    first = evaluations[0]
    index_of = {code: index for index, code in enumerate(first.classes)}
    paths: list[str] = []
    labels: list[int] = []
    probabilities: list[list[float]] = []
    not_covered: Counter[str] = Counter()
    for path, truth, values in _rows(evaluations):
        if truth not in index_of:
            not_covered[truth] += 1
            continue
        paths.append(path)
        labels.append(index_of[truth])
        probabilities.append(values)
    if not paths:
        raise ComparisonError("no cell is of a class that the bundles cover; nothing to look at")
    numbers = np.array(probabilities)
    check_probabilities(numbers, paths)
    return OutOfFold(
        folders=tuple(map(str, folders)),
        parts=tuple(evaluation.part for evaluation in evaluations),
        classes=first.classes,
        paths=tuple(paths),
        labels=np.array(labels, dtype=np.int64),
        probabilities=numbers,
        not_covered=dict(sorted(not_covered.items())),
    )


def _check(evaluations: Sequence[Evaluated]) -> None:
    first = evaluations[0]
    folder_of: dict[str, Path] = {}
    for evaluation in evaluations:
        if evaluation.part == LEARNT:
            raise ComparisonError(
                f"{evaluation.folder} is of the part {LEARNT!r}: a model has learnt the labels of "
                "these cells, wrong ones too, so its predictions say nothing about them; give "
                "evaluations of the part test, or of each fold of `data split --folds`"
            )
        if evaluation.classes != first.classes:
            raise ComparisonError(
                f"{first.folder} covers the classes {' '.join(first.classes)}, {evaluation.folder} "
                f"{' '.join(evaluation.classes)}; train all folds with the same --classes"
            )
        for path in evaluation.cells:
            if path in folder_of:
                raise ComparisonError(
                    f"{path} is in {folder_of[path]} and in {evaluation.folder}; give one "
                    "evaluation of each cell, as the folds of one split are"
                )
            folder_of[path] = evaluation.folder


def _rows(evaluations: Sequence[Evaluated]) -> Iterator[tuple[str, str, list[float]]]:
    """Give path, given label and probabilities of each cell."""
    for evaluation in evaluations:
        file = evaluation.folder / PREDICTIONS
        for row in read_csv(file, ("path", "truth", *evaluation.classes), ComparisonError):
            try:
                yield row["path"], row["truth"], [float(row[code]) for code in evaluation.classes]
            except ValueError as error:
                raise ComparisonError(
                    f"{file}: the row of {row['path']!r} holds no probabilities ({error}); "
                    "evaluate the bundle again"
                ) from None
