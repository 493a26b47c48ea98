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
from marrowscope.errors import SplitError
from marrowscope.metrics import (
    Interval,
    Matrix,
    confusion_matrix,
    exact_interval,
    per_class,
)
from marrowscope.pages import render
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
from marrowscope.scores import (
    MARROW,
    STRICT,
    TEST,
    Answers,
    Score,
    check_probabilities,
    marrow_shares,
    score,
)
from marrowscope.tolerant import TOLERATED, tolerated_in_words

METRICS = "metrics.json"
UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))
"""Of a figure that the cells do not give."""


@dataclass(frozen=True)
class ClassResult:
    """One class of a set of cells, all figures 0..1; the limits of the recall are exact."""

    code: str
    support: int
    precision: float
    recall: float
    recall_low: float
    recall_high: float
    f1: float
    auroc: Interval
    average_precision: Interval
    marrow_precision: Interval
    """Precision at the class mix of a marrow."""


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
    without_cells: tuple[str, ...]
    """Covered classes of which the set has no true cell."""
    outside_mix: dict[str, int]
    """Cells by class that weigh nothing at the marrow's class mix."""
    mix_covered: float
    """Part of the marrow's mix, 0..1, that the classes with enough cells make up."""
    scores: tuple[Score, ...]
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
    prevalence: Prevalence


@dataclass(frozen=True)
class Terms:
    """What the figures are computed by."""

    prevalence: Prevalence
    least_support: int
    rounds: int
    seed: int

    def in_words(self) -> str:
        """Say how the figures were come by."""
        return (
            f"Brackets: 95% intervals, bootstrap over groups ({self.rounds} rounds, seed "
            f"{self.seed}); recall of a class: exact binomial. Macro means run over the classes "
            f"with at least {self.least_support} true cells in the set. Tolerant: confusions of "
            f"{tolerated_in_words()} count as right. Marrow mix: the same classes weigh as in a "
            f"marrow ({self.prevalence.source})."
        )


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
    """Classify a part, write predictions, metrics and confusion matrices, seal the summary.

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
        _draw(result, bundle, folder)
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
    answers = _answers(scored, bundle.classes)
    matrix = confusion_matrix(
        answers.truth.tolist(), answers.predicted.tolist(), len(bundle.classes)
    )
    support = matrix.sum(axis=1)
    percent = terms.prevalence.percent
    shares = marrow_shares(percent, bundle.classes, support, terms.least_support)
    scores = score(
        answers,
        bundle.classes,
        shares,
        least_support=terms.least_support,
        rounds=terms.rounds,
        seed=terms.seed,
    )
    strict = _found(scores, TEST)
    not_covered = Counter(
        row.cell.label
        for row in rows
        if row.cell.label not in bundle.classes and name in ("all", _source(row))
    )
    counted = dict(zip(bundle.classes, support.tolist(), strict=True))
    headline = ("accuracy", "macro_precision", "macro_recall", "macro_f1")
    return SetResult(
        name=name,
        cells=len(scored),
        macro_classes=strict.macro_classes,
        per_class=tuple(_class_results(matrix, bundle.classes, scores)),
        not_covered=dict(sorted(not_covered.items())),
        without_cells=tuple(code for code, cells in counted.items() if not cells),
        outside_mix={
            code: cells
            for (code, cells), share in zip(counted.items(), shares, strict=True)
            if cells and not share
        },
        mix_covered=float(shares.sum()),
        scores=scores,
        confusion=matrix.tolist(),
        **{figure: strict.figures[figure] for figure in headline},
    )


def _answers(scored: Sequence[_Scored], classes: Sequence[str]) -> Answers:
    index_of = {code: index for index, code in enumerate(classes)}
    return Answers(
        truth=np.array([index_of[item.row.cell.label] for item in scored], dtype=np.int64),
        predicted=np.array([index_of[item.prediction.label] for item in scored], dtype=np.int64),
        probabilities=np.array([item.prediction.probabilities for item in scored]),
        groups=np.unique([item.row.group for item in scored], return_inverse=True)[1],
    )


def _found(scores: Sequence[Score], mix: str) -> Score:
    """Give the strict score at a mix; one without figures where the cells do not give it."""
    for each in scores:
        if (each.scoring, each.mix) == (STRICT, mix):
            return each
    return Score(STRICT, mix, 0, (), {}, {}, {})


def _class_results(
    matrix: Matrix, classes: Sequence[str], scores: Sequence[Score]
) -> list[ClassResult]:
    right = np.diag(matrix)
    at_test, at_marrow = (_found(scores, mix).per_class for mix in (TEST, MARROW))
    results = []
    for index, (code, figures) in enumerate(zip(classes, per_class(matrix), strict=True)):
        recall = exact_interval(int(right[index]), figures.support)
        results.append(
            ClassResult(
                code,
                figures.support,
                figures.precision,
                figures.recall,
                recall.low,
                recall.high,
                figures.f1,
                at_test.get(code, {}).get("auroc", UNKNOWN),
                at_test.get(code, {}).get("average_precision", UNKNOWN),
                at_marrow.get(code, {}).get("precision", UNKNOWN),
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
        "sets": {result.name: without_nan(asdict(result)) for result in sets},
    }


def _without_classes(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Give a summary as it is sealed: of the classes, only what the model card shows."""
    sets = {
        name: result
        | {
            "scores": [
                {key: value for key, value in each.items() if key not in ("per_class", "support")}
                for each in result["scores"]
            ]
        }
        for name, result in summary["sets"].items()
    }
    return {**summary, "sets": sets}
