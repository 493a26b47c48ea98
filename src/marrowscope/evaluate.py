"""Measure a bundle on a part of its split, through the predictor that serves it."""

import os
import platform
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope import __version__
from marrowscope.bundle import Bundle, seal_evaluation
from marrowscope.card import write_card
from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split, SplitRow, check_split, located, sharing_pixels
from marrowscope.drawings import draw
from marrowscope.errors import SplitError
from marrowscope.figures import SetResult, Terms, figures_of_set
from marrowscope.predictor import Predictor
from marrowscope.prevalence import ADULT_MARROW, Prevalence
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
    rounded,
    without_nan,
    write_json,
)
from marrowscope.scores import Answers, check_probabilities
from marrowscope.tolerant import TOLERATED
from marrowscope.trust import Sealed

METRICS = "metrics.json"


@dataclass(frozen=True)
class Evaluation:
    """Figures of a bundle on a part, for all cells and for each source."""

    folder: Path
    bundle: Bundle
    grouped_by: str
    """What the split kept together, in words."""
    sets: tuple[SetResult, ...]
    rejects: tuple[Reject, ...]
    prevalence: Prevalence


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
    prevalence: Prevalence = ADULT_MARROW,
    least_support: int = 10,
    rounds: int = 2000,
    seed: int = 0,
    overwrite: bool = False,
    each: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Classify a part, write predictions, metrics and drawings of them, seal the summary.

    Only the part `test` is sealed into the bundle and its model card. The macro means run over
    the classes with at least `least_support` true cells in a set; all are in the tables. Cells of
    classes that the bundle does not cover are left out of all figures, counted in `not_covered`;
    so are cells that, by `pairs` (of paths), share pixels with a cell of another part. All
    figures can be computed again from `predictions.csv`.

    Raises:
        SplitError: the split is not the one the bundle was trained with, or leaks, or its cells
            are not in the manifest, or no cell of a covered class is left.
        PredictionError: the bundle gives numbers that are no probabilities.
        OutputError: the folder cannot be used.
    """
    _check(bundle, split)
    sharing = sharing_pixels(split, pairs, part)
    whole = [row for row in split.part(part) if row.cell.path not in sharing]
    rows = located(whole, manifest.cells, part)
    prepare_folder(folder, overwrite)
    scored, rejects = _score(bundle, manifest, rows, folder, each)
    terms = Terms(prevalence, least_support, rounds, seed)
    sets = [
        _figures(name, members, bundle, rows, terms)
        for name, members in _sets(scored, bundle).items()
    ]
    for result in sets:
        draw(result, bundle, folder)
    method = (
        f"{terms.in_words()} Left out for sharing pixels with cells of other "
        f"parts, by a list of {len(pairs)} pairs: {len(sharing)} cells."
    )
    summary = _summary(sets, split, part, method) | {
        "tolerated": TOLERATED,
        "prevalence": asdict(prevalence),
    }
    details = (
        summary
        | {"bundle": bundle.name, "model_sha256": bundle.model_sha256}
        | {"rejects": [asdict(reject) for reject in rejects]}
        | {"rejects_of_the_data": len(manifest.rejects)}
    )
    write_json(folder / METRICS, details)
    if part == "test":
        bundle = seal_evaluation(bundle, _without_classes(summary))
        write_card(bundle)
    return Evaluation(folder, bundle, split.grouped_by, tuple(sets), tuple(rejects), prevalence)


def _check(bundle: Bundle, split: Split) -> None:
    if split.hash != bundle.split_hash:
        raise SplitError(
            f"the split ({split.hash[:12]}) is not the one that the bundle {bundle.name} was "
            f"trained with ({bundle.split_hash[:12]}); its test cells may be training cells. "
            "Give the run folder of that training"
        )
    check_split(split)


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
                named = rounded(named)
                scored.append(_Scored(row, named))
                extra = [row.cell.label, row.cell.source, str(row.group)]
                predictions.writerow([*prediction_row(named), *extra])
            each()
    if scored:
        check_probabilities(
            np.array([item.prediction.probabilities for item in scored]),
            [item.row.cell.path for item in scored],
        )
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
    terms: Terms,
) -> SetResult:
    not_covered = Counter(
        row.cell.label
        for row in rows
        if row.cell.label not in bundle.classes and name in ("all", _source(row))
    )
    return figures_of_set(
        name,
        _answers(scored, bundle.classes),
        bundle.classes,
        terms,
        not_covered=not_covered,
        sealed=Sealed(bundle.scaling, bundle.abstention, bundle.review),
    )


def _answers(scored: Sequence[_Scored], classes: Sequence[str]) -> Answers:
    index_of = {code: index for index, code in enumerate(classes)}
    return Answers(
        truth=np.array([index_of[item.row.cell.label] for item in scored], dtype=np.int64),
        predicted=np.array([index_of[item.prediction.label] for item in scored], dtype=np.int64),
        probabilities=np.array([item.prediction.probabilities for item in scored]),
        groups=np.unique([item.row.group for item in scored], return_inverse=True)[1],
    )


def _summary(sets: Sequence[SetResult], split: Split, part: str, method: str) -> dict[str, Any]:
    """Give the figures as they are sealed: plain values, with how they were come by."""
    return {
        "part": part,
        "split_hash": split.hash,
        "grouped_by": split.grouped_by,
        "method": method,
        "marrowscope": __version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, onnxruntime on the processor",
        "sets": {result.name: without_nan(asdict(result)) for result in sets},
    }


def _without_classes(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Give a summary as it is sealed: of classes and curves, only what the model card shows."""
    sets = {
        name: result
        | {
            "scores": [
                {key: value for key, value in each.items() if key not in ("per_class", "support")}
                for each in result["scores"]
            ],
            "trust": {
                key: value for key, value in result["trust"].items() if key != "risk_coverage"
            },
        }
        for name, result in summary["sets"].items()
    }
    return {**summary, "sets": sets}
