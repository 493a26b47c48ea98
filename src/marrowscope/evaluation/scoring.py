"""Classify the labelled cells of an evaluation and keep them as they were written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import SplitRow
from marrowscope.errors import SplitError
from marrowscope.inference.predictor import Predictor
from marrowscope.io.tables import (
    PREDICTIONS,
    REJECT_HEADER,
    REJECTS,
    CellRows,
    csv_file,
    prediction_row,
    reject_row,
    rounded,
)
from marrowscope.locations import within
from marrowscope.metrics.domain_shift import UNNAMED
from marrowscope.metrics.scores import Answers, check_probabilities
from marrowscope.model.bundle import Bundle
from marrowscope.types import Picture, Prediction, Reject


@dataclass(frozen=True)
class Scored:
    """A labelled cell and what the bundle made of it."""

    row: SplitRow
    prediction: Prediction


def score(
    bundle: Bundle,
    manifest: Manifest,
    rows: Sequence[SplitRow],
    folder: Path,
    advance: Callable[[], object],
    *,
    files: tuple[str, str] = (PREDICTIONS, REJECTS),
) -> tuple[list[Scored], list[Reject]]:
    """Classify cells and write them and the rejects into two files; `advance` is called for each.

    Raises:
        BundleError: the model or the known cells cannot be loaded.
        PredictionError: the bundle gives numbers that are no probabilities.
    """
    scored: list[Scored] = []
    rejects: list[Reject] = []
    outcomes = Predictor(bundle).classify(
        Picture(within(manifest.root, row.cell.path), row.cell.um_per_px) for row in rows
    )
    header = [*CellRows(bundle.classes).header, "truth", "source", "group"]
    with (
        csv_file(folder / files[0], header) as predictions,
        csv_file(folder / files[1], REJECT_HEADER) as rejected,
    ):
        for row, outcome in zip(rows, outcomes, strict=True):
            named = replace(outcome, path=row.cell.path)
            if isinstance(named, Reject):
                rejects.append(named)
                rejected.writerow(reject_row(named))
            else:
                named = rounded(named)
                scored.append(Scored(row, named))
                extra = [row.cell.label, row.cell.source, str(row.group)]
                predictions.writerow([*prediction_row(named), *extra])
            advance()
    if scored:
        check_probabilities(
            np.array([item.prediction.probabilities for item in scored]),
            [item.row.cell.path for item in scored],
        )
    return scored, rejects


def by_source(
    scored: Sequence[Scored], rejects: Sequence[Reject], bundle: Bundle
) -> dict[str, list[Scored]]:
    """Sort the cells of covered classes by source; several sources make a set `all` besides.

    Raises:
        SplitError: there are no such cells.
    """
    covered = [item for item in scored if item.row.cell.label in bundle.classes]
    if not covered:
        raise SplitError(
            f"no cell is left to measure the bundle on: {len(scored)} are of classes that it does "
            f"not cover (it covers {', '.join(bundle.classes)}), {_in_words(rejects)}"
        )
    names = sorted({source_of(item.row) for item in covered})
    sets = {name: [item for item in covered if source_of(item.row) == name] for name in names}
    return sets if len(sets) == 1 else sets | {"all": covered}


def _in_words(rejects: Sequence[Reject]) -> str:
    such_as = "".join(f", such as {reject.path}: {reject.reason}" for reject in rejects[:1])
    return f"{len(rejects)} could not be read{such_as}"


def source_of(row: SplitRow) -> str:
    """Name the source of a cell, also where it has none."""
    return row.cell.source or UNNAMED


def answers(scored: Sequence[Scored], classes: Sequence[str]) -> Answers:
    """Give cells, all of these classes, as arrays of labels, probabilities and groups."""
    index_of = {code: index for index, code in enumerate(classes)}
    return Answers(
        truth=np.array([index_of[item.row.cell.label] for item in scored], dtype=np.int64),
        predicted=np.array([index_of[item.prediction.label] for item in scored], dtype=np.int64),
        probabilities=np.array([item.prediction.probabilities for item in scored]),
        groups=np.unique([item.row.group for item in scored], return_inverse=True)[1],
    )
