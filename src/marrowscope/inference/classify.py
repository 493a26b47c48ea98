"""Classify cells and count them: predictions, rejects, differential and report in one folder.

Outcomes go to the disk as they come and little of them stays in memory, so that the number of
cells is not bounded; a classification that was interrupted is gone on with.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from marrowscope import __version__
from marrowscope.detection.field_cells import OnFields, WholeFields, on_fields
from marrowscope.differential.abstentions import Abstain, Review, by_sets, review_of
from marrowscope.differential.accumulator import Tally
from marrowscope.differential.count import Differential, count
from marrowscope.differential.error_correction import Adjusted, adjust
from marrowscope.differential.me_ratio import ICSH, Formula
from marrowscope.differential.reference_ranges import ADULT_MARROW, Norms
from marrowscope.differential.review_priority import Work, work_of
from marrowscope.errors import OutputError
from marrowscope.inference.checkpoint import Outcomes
from marrowscope.inference.output_folder import DIFFERENTIAL, REPORT, TABLE, open_folder
from marrowscope.inference.parquet import place_of_parts, write_parquet, write_parts
from marrowscope.inference.predictor import BATCH_SIZE, Classifier, Outcome, Predictor
from marrowscope.inference.report import write_report
from marrowscope.io.archives import arrow
from marrowscope.io.tables import (
    PREDICTIONS,
    REJECT_HEADER,
    REJECTS,
    continued_csv,
    partial_of,
    prediction_header,
    prediction_row,
    read_predictions,
    reject_row,
    rounded,
    write_json,
)
from marrowscope.locations import Location
from marrowscope.model.bundle import Bundle
from marrowscope.model.novelty import novel_in_words
from marrowscope.types import Found, Prediction, Reject

FORMAT = 2
"""Of the files in the folder."""


@dataclass(frozen=True)
class Classified:
    """The outcome for a set of cells, and the folder that holds its files."""

    folder: Path
    cells: int
    rejected: int
    first_rejects: tuple[Reject, ...]
    """As many as the report shows; all are in `rejects.csv`."""
    differential: Differential
    adjusted: Adjusted
    """Shares with the model's errors taken out, beside those of the differential."""
    novel: int
    """Cells unlike those that the model knows."""
    novel_counted: bool
    """Whether they are in the differential all the same."""
    engine: str
    """Which ran the model."""
    work: Work
    """What to review for the sake of the blast percentage."""
    review: Review | None = None
    """What the model abstains on; None where no coverage was asked for."""
    fields: OnFields | None = None
    """What became of the fields; None for pictures of single cells."""

    def novel_in_words(self, bundle: Bundle) -> str:
        """Say how many cells the model does not know, or that nobody can tell; empty for none."""
        return novel_in_words(bundle.novelty, self.novel, counted=self.novel_counted)

    def as_dict(self, bundle: Bundle) -> dict[str, Any]:
        """Give the outcome for machines, with the model that it rests on."""
        return {
            "bundle": bundle.identity,
            "engine": self.engine,
            "folder": str(self.folder),
            "cells": self.cells,
            "rejected": self.rejected,
            "differential": asdict(self.differential),
            "work": asdict(self.work),
            "adjusted": asdict(self.adjusted),
            "review": self.review.as_dict() if self.review else None,
            "novel": self._novel(bundle),
            "fields": self.fields.as_dict() if self.fields else None,
            "warning": bundle.evaluation_in_words,
            "use": "research use only; figures, not a diagnosis",
        }

    def _novel(self, bundle: Bundle) -> dict[str, Any]:
        has_limit = bundle.novelty is not None
        return {
            "cells": self.novel if has_limit else None,
            "counted": self.novel_counted,
            "threshold": bundle.novelty.threshold if bundle.novelty else None,
            "note": self.novel_in_words(bundle),
        }


def classify(
    items: Iterable[Found],
    bundle: Bundle,
    folder: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    keep_novel: bool = False,
    parquet: bool = False,
    parts: Location | None = None,
    coverage: float | None = None,
    norms: Norms = ADULT_MARROW,
    formula: Formula = ICSH,
    settings: Mapping[str, str] | None = None,
    fields: WholeFields | None = None,
    threads: int = 0,
    engine: str = "onnxruntime",
    predictor: Classifier | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Classified:
    """Classify pictures with a bundle, write the result files; `advance` is called for each.

    With `resume`, a folder that was left half-way is gone on with, to the same files as without a
    break; one that is finished is left as it is. `settings` says what else decides the figures,
    such as the pixel size: it must be the same then. Cells that are unlike those that the model
    knows are set aside, or counted all the same with `keep_novel`. With `parquet`, the predictions
    are written as Parquet too, and as a data set of parts where `parts` is a folder or the URL of a
    store. With a `coverage` (0..1), each cell gets the set of classes that it
    may be of; cells whose set is not one class are not counted but listed for review. `norms` are
    the reference ranges, `formula` says how the M:E ratio is computed. With `fields`, the pictures
    are whole fields, whose cells are found, kept in `boxes.csv` and `fields.csv`, and classified.
    A `predictor`, such as a cluster, takes the place of one on this machine.

    Raises:
        OutputError: the folder cannot be used, holds something and must not be overwritten, or
            outcomes of other cells, settings or fields; or `parts` cannot be written.
        SettingsError: both `overwrite` and `resume` are given, the coverage is not between 0 and 1,
            or no engine has this name.
        MissingExtraError: the library of the engine, of Parquet, of a store or of large fields is
            needed, and not installed.
        BundleError: the bundle's model, its known cells or its test cells cannot be loaded, or it
            is too old for a coverage.
        FieldError: the tables of fields that are there cannot be read, the finder cannot be
            loaded, or a field that is to be looked at again cannot be read any more.
        ImageError: a picture that the report shows cannot be read any more.
        ClusterError: the `predictor` is a cluster, which gave up.
    """
    if parquet or parts:
        arrow()
    if parts:
        place_of_parts(parts)
    abstain = by_sets(bundle, coverage)
    predictor = predictor or Predictor(bundle, threads, engine)
    inputs = went_in(bundle, keep_novel, engine, coverage) | dict(settings or {})
    inputs |= fields.went_in if fields else {}
    inputs |= {"reference_ranges": norms.in_words, "me_formula": formula.name}
    finished = open_folder(folder, inputs, overwrite=overwrite, resume=resume)
    tally = Tally(bundle.novelty, keep_novel=keep_novel)

    def take(outcome: Outcome) -> None:
        tally.add(outcome)
        advance()

    def read() -> Iterator[Prediction]:
        every = read_predictions(folder / PREDICTIONS)
        return (prediction for prediction in every if not tally.sets_aside(prediction))

    cells = fields.cells(items, folder) if fields else items
    if finished:
        _read_again(cells, bundle, folder, take, on_fields=fields is not None)
    else:
        go_on(cells, predictor, folder, abstain, take, on_fields=fields is not None)
    if parquet and not (folder / TABLE).is_file():
        write_parquet(folder / PREDICTIONS, folder / TABLE)
    if parts:
        write_parts(folder / PREDICTIONS, parts, overwrite=overwrite or resume)
    differential = count(tally.gallery.cells, bundle.classes, norms, formula)
    result = Classified(
        folder=folder,
        cells=tally.cells,
        rejected=tally.rejected,
        first_rejects=tuple(tally.first_rejects),
        differential=differential,
        novel=tally.novel,
        novel_counted=tally.keep_novel,
        engine=engine,
        work=work_of(read, bundle),
        adjusted=adjust(read(), bundle),
        review=review_of(bundle, coverage, tally.sets),
        fields=on_fields(folder, keep_flagged=fields.keep_flagged) if fields else None,
    )
    if not finished:
        write_report(
            folder / REPORT,
            bundle,
            result.differential,
            tally,
            review=result.review,
            adjusted=result.adjusted,
            fields=result.fields,
        )
        write_json(folder / DIFFERENTIAL, result.as_dict(bundle))
    return result


def went_in(
    bundle: Bundle, keep_novel: bool, engine: str, coverage: float | None
) -> dict[str, str]:
    """Say what decides the figures besides the cells and the settings of a command."""
    return {
        "format": str(FORMAT),
        "marrowscope": __version__,
        "bundle": bundle.name,
        "bundle_sha256": bundle.sha256,
        "model_sha256": bundle.model_sha256,
        "batch_size": str(BATCH_SIZE),
        "novelty": str(bundle.novelty.threshold) if bundle.novelty else "",
        "novel_cells": "counted" if keep_novel else "set aside",
        "engine": engine,
        "coverage": str(coverage or ""),
        "tested": bundle.adjustment.tested_sha256 if bundle.adjustment else "",
    }


def _read_again(
    inputs: Iterable[Found],
    bundle: Bundle,
    folder: Path,
    take: Callable[[Outcome], object],
    *,
    on_fields: bool,
) -> None:
    """Take the outcomes of a finished classification.

    Raises:
        OutputError: they are not those of just these inputs.
    """
    files = folder / PREDICTIONS, folder / REJECTS
    with Outcomes(*files, bundle.classes, on_fields=on_fields) as outcomes:
        rest = outcomes.replay(inputs, take)
        if next(rest, None) is not None or not outcomes.at_end:
            raise OutputError(
                f"{folder} holds the finished classification of other inputs; give another "
                "folder, or --overwrite to replace the results in it"
            )


def go_on(
    inputs: Iterable[Found],
    predictor: Classifier,
    folder: Path,
    abstain: Abstain,
    take: Callable[[Outcome], object],
    *,
    on_fields: bool = False,
) -> None:
    """Take the outcomes that are there already, then classify the rest and write it behind them.

    `on_fields` says whether the pictures are cells on fields.

    Raises:
        OutputError: the outcomes that are there are of other cells, or of other columns.
        MissingExtraError: a picture cannot be opened without a library that is not installed.
        ClusterError: the predictor is a cluster, which gave up.
    """
    classes = predictor.bundle.classes
    predictions, rejects = folder / PREDICTIONS, folder / REJECTS
    for file in (predictions, rejects):
        _make_partial(file)
    partials = partial_of(predictions), partial_of(rejects)
    with Outcomes(*partials, classes, on_fields=on_fields) as outcomes:
        rest = outcomes.replay(inputs, take)
    header = prediction_header(classes, on_fields=on_fields)
    with (
        continued_csv(predictions, header, outcomes.keep[0]) as predicted,
        continued_csv(rejects, REJECT_HEADER, outcomes.keep[1]) as rejected,
    ):
        for outcome in _as_written(predictor.classify(rest, BATCH_SIZE), abstain):
            if isinstance(outcome, Reject):
                rejected.writerow(reject_row(outcome))
            else:
                predicted.writerow(prediction_row(outcome))
            take(outcome)


def _make_partial(file: Path) -> None:
    """See to it that a file is there under its partial name, empty if there is none."""
    if not partial_of(file).exists() and file.exists():
        file.replace(partial_of(file))
    partial_of(file).touch()


def _as_written(outcomes: Iterable[Outcome], abstain: Abstain) -> Iterator[Outcome]:
    """Round predictions, so that fresh ones and those read back make the same report and sets."""
    for outcome in outcomes:
        yield outcome if isinstance(outcome, Reject) else abstain(rounded(outcome))
