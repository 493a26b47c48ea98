"""Measure a bundle on a part of its split, through the predictor that serves it."""

import math
import os
import platform
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope import __version__
from marrowscope.bundle import Bundle, seal_evaluation
from marrowscope.card import write_card
from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split, SplitRow, located, sharing_pixels
from marrowscope.errors import SplitError
from marrowscope.metrics import (
    Interval,
    Matrix,
    accuracy,
    bootstrap_intervals,
    confusion_matrix,
    exact_interval,
    macro,
    per_class,
)
from marrowscope.pages import render
from marrowscope.predictor import Predictor
from marrowscope.records import Picture, Prediction, Reject
from marrowscope.results import (
    PREDICTIONS,
    REJECT_HEADER,
    REJECTS,
    csv_file,
    prediction_header,
    prediction_row,
    prepare_folder,
    reject_row,
    write_json,
)

METRICS = "metrics.json"


@dataclass(frozen=True)
class ClassResult:
    """One class of a set of cells: precision, recall and F1 (0..1), exact limits of the recall."""

    code: str
    support: int
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float


@dataclass(frozen=True)
class SetResult:
    """The figures of one set of cells (0..1), and what was left out of it."""

    name: str
    cells: int
    accuracy: Interval
    macro_precision: Interval
    macro_recall: Interval
    macro_f1: Interval
    macro_classes: tuple[str, ...]
    per_class: tuple[ClassResult, ...]
    not_covered: dict[str, int]
    confusion: list[list[int]]


@dataclass(frozen=True)
class Evaluation:
    """Figures of a bundle on a part, for all cells and for each source."""

    folder: Path
    bundle: Bundle
    grouped_by: str
    """What the split kept together, in words."""
    sets: tuple[SetResult, ...]
    rejects: tuple[Reject, ...]


@dataclass(frozen=True)
class _Scored:
    """A test cell and what the bundle made of it."""

    row: SplitRow
    prediction: Prediction


def evaluate(
    bundle: Bundle,
    manifest: Manifest,
    split: Split,
    folder: Path,
    *,
    part: str = "test",
    pairs: Collection[tuple[str, str]] = (),
    least_support: int = 10,
    rounds: int = 2000,
    seed: int = 0,
    overwrite: bool = False,
    each: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Classify a part, write predictions, metrics and confusion matrices, seal the summary.

    Only the part `test` is sealed into the bundle and its model card. The macro means run over
    the classes with at least `least_support` true cells in a set; all are in the tables. Cells of
    classes that the bundle does not cover are left out of all figures, counted in `not_covered`;
    so are cells that, by `pairs` (of paths), share pixels with a cell of another part.

    Raises:
        SplitError: the split is not the one the bundle was trained with, or its cells are not in
            the manifest, or no cell of a covered class is left.
        OutputError: the folder cannot be used.
    """
    _check(bundle, split)
    sharing = sharing_pixels(split, pairs, part)
    whole = [row for row in split.part(part) if row.cell.path not in sharing]
    rows = located(whole, manifest.cells, part)
    prepare_folder(folder, overwrite)
    scored, rejects = _score(bundle, manifest, rows, folder, each)
    sets = [
        _figures(name, members, bundle, rows, least_support=least_support, rounds=rounds, seed=seed)
        for name, members in _sets(scored, bundle).items()
    ]
    for result in sets:
        _draw(result, bundle, folder)
    method = (
        f"Brackets: 95% intervals, bootstrap over groups ({rounds} rounds, seed {seed}); recall of "
        "a class: exact binomial. Macro means run over the classes with at least "
        f"{least_support} true cells in the set. Left out for sharing pixels with cells of other "
        f"parts, by a list of {len(pairs)} pairs: {len(sharing)} cells."
    )
    summary = _summary(sets, split, part, method)
    details = (
        summary
        | {"bundle": bundle.name, "model_sha256": bundle.model_sha256}
        | {"rejects": [asdict(reject) for reject in rejects]}
    )
    write_json(folder / METRICS, details)
    if part == "test":
        bundle = seal_evaluation(bundle, summary)
        write_card(bundle)
    return Evaluation(folder, bundle, split.grouped_by, tuple(sets), tuple(rejects))


def _check(bundle: Bundle, split: Split) -> None:
    if split.hash != bundle.split_hash:
        raise SplitError(
            f"the split ({split.hash[:12]}) is not the one that the bundle {bundle.name} was "
            f"trained with ({bundle.split_hash[:12]}); its test cells may be training cells. "
            "Give the run folder of that training"
        )


def _score(
    bundle: Bundle,
    manifest: Manifest,
    rows: Sequence[SplitRow],
    folder: Path,
    each: Callable[[], object],
) -> tuple[list[_Scored], list[Reject]]:
    """Classify all cells of the part and write `predictions.csv` and `rejects.csv`."""
    scored: list[_Scored] = []
    rejects: list[Reject] = []
    outcomes = Predictor(bundle).classify(
        Picture(manifest.root / row.cell.path, row.cell.um_per_px) for row in rows
    )
    header = [*prediction_header(bundle.classes), "truth", "source", "group"]
    with (
        csv_file(folder / PREDICTIONS, header) as predictions,
        csv_file(folder / REJECTS, REJECT_HEADER) as rejected,
    ):
        for row, outcome in zip(rows, outcomes, strict=True):
            named = replace(outcome, path=row.cell.path)
            if isinstance(named, Reject):
                rejects.append(named)
                rejected.writerow(reject_row(named))
            else:
                scored.append(_Scored(row, named))
                extra = [row.cell.label, row.cell.source, str(row.group)]
                predictions.writerow([*prediction_row(named), *extra])
            each()
    return scored, rejects


def _sets(scored: Sequence[_Scored], bundle: Bundle) -> dict[str, list[_Scored]]:
    """Sort the cells of covered classes by source; several sources make a set `all` besides."""
    covered = [item for item in scored if item.row.cell.label in bundle.classes]
    if not covered:
        raise SplitError(
            f"no test cell belongs to a class that the bundle covers ({', '.join(bundle.classes)})"
        )
    names = sorted({_source(item.row) for item in covered})
    sets = {name: [item for item in covered if _source(item.row) == name] for name in names}
    return sets if len(sets) == 1 else sets | {"all": covered}


def _source(row: SplitRow) -> str:
    return row.cell.source or "unnamed source"


def _figures(
    name: str,
    scored: Sequence[_Scored],
    bundle: Bundle,
    rows: Sequence[SplitRow],
    *,
    least_support: int,
    rounds: int,
    seed: int,
) -> SetResult:
    index_of = {code: index for index, code in enumerate(bundle.classes)}
    truth = [index_of[item.row.cell.label] for item in scored]
    predicted = [index_of[item.prediction.label] for item in scored]
    groups = np.unique([item.row.group for item in scored], return_inverse=True)[1].tolist()
    matrix = confusion_matrix(truth, predicted, len(bundle.classes))
    kept = [index for index, n in enumerate(matrix.sum(axis=1)) if n >= least_support]
    intervals = bootstrap_intervals(
        partial(_headline, kept),
        truth,
        predicted,
        groups,
        classes=len(bundle.classes),
        rounds=rounds,
        seed=seed,
    )
    not_covered = Counter(
        row.cell.label
        for row in rows
        if row.cell.label not in bundle.classes and name in ("all", _source(row))
    )
    return SetResult(
        name=name,
        cells=len(scored),
        macro_classes=tuple(bundle.classes[index] for index in kept),
        per_class=tuple(_class_results(matrix, bundle.classes)),
        not_covered=dict(sorted(not_covered.items())),
        confusion=matrix.tolist(),
        **intervals,
    )


def _headline(kept: Sequence[int], matrix: Matrix) -> dict[str, float]:
    means = macro(matrix, kept)
    return {
        "accuracy": accuracy(matrix),
        "macro_precision": means.precision,
        "macro_recall": means.recall,
        "macro_f1": means.f1,
    }


def _class_results(matrix: Matrix, classes: Sequence[str]) -> list[ClassResult]:
    right = np.diag(matrix)
    results = []
    for index, figures in enumerate(per_class(matrix)):
        recall = exact_interval(int(right[index]), figures.support)
        results.append(
            ClassResult(
                classes[index],
                figures.support,
                figures.precision,
                figures.recall,
                recall.low,
                recall.high,
                figures.f1,
            )
        )
    return results


def _draw(result: SetResult, bundle: Bundle, folder: Path) -> None:
    """Write the confusion matrix of a set as a picture."""
    picture = render(
        "confusion.svg.j2",
        codes=bundle.classes,
        matrix=result.confusion,
        title=f"{bundle.name} on {result.cells} cells: {result.name}",
        caption=f"accuracy {result.accuracy.value:.3f}",
    )
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in result.name)
    (folder / f"confusion_{name}.svg").write_text(picture, encoding="utf-8")


def _summary(sets: Sequence[SetResult], split: Split, part: str, method: str) -> dict[str, Any]:
    """Give the figures as they are sealed: plain values, with how they were come by."""
    return {
        "part": part,
        "split_hash": split.hash,
        "grouped_by": split.grouped_by,
        "method": method,
        "marrowscope": __version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, onnxruntime on the processor",
        "sets": {result.name: _plain(asdict(result)) for result in sets},
    }


def _plain(value: Any) -> Any:
    """Replace NaN, which JSON does not know, by None at any depth."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
