"""Classify cells and count them: predictions, rejects, differential and report in one folder.

Outcomes go to the disk as they come. Memory holds little of them, so the number of cells is not
bounded. Interrupted runs resume.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from marrowscope import __version__
from marrowscope.detection.field_cells import OnFields, WholeFields, on_fields
from marrowscope.differential.abstentions import Review, by_sets, review_of
from marrowscope.differential.accumulator import Tally
from marrowscope.differential.count import Differential, count
from marrowscope.differential.error_correction import Adjusted, ProbabilitySums
from marrowscope.differential.options import CountingOptions
from marrowscope.differential.review_priority import Work, work_by_weights
from marrowscope.errors import OutputError
from marrowscope.inference.checkpoint import Outcomes
from marrowscope.inference.options import (
    InferenceOptions,
    OutputOptions,
    Progress,
    check_options,
)
from marrowscope.inference.output_folder import DIFFERENTIAL, REPORT, TABLE, open_folder
from marrowscope.inference.parquet import place_of_parts, write_parquet, write_parts
from marrowscope.inference.predictor import BATCH_SIZE, Classifier, Outcome, Predictor
from marrowscope.inference.report import write_report
from marrowscope.io.archives import arrow
from marrowscope.io.tables import (
    PREDICTIONS,
    REJECT_HEADER,
    REJECTS,
    CellRows,
    FieldCellRows,
    RowFormat,
    continued_csv,
    partial_of,
    prediction_row,
    read_predictions,
    reject_row,
    rounded,
    write_json,
)
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
    inference: InferenceOptions = InferenceOptions(),
    counting: CountingOptions = CountingOptions(),
    output: OutputOptions = OutputOptions(),
    predictor: Classifier | None = None,
    progress: Progress = Progress(),
) -> Classified:
    """Classify images with a bundle and write the result files.

    With `output.resume`, an interrupted run in the folder is continued: the files are the same as
    without a break. A finished run is left as it is. Novel cells are not counted unless
    `counting.keep_novel` is set. With `counting.coverage`, each cell gets a set of classes; a cell
    whose set is not one class is listed for review and not counted. With `inference.fields`, the
    images are whole fields: their cells are detected, written to `boxes.csv` and `fields.csv`, and
    classified. A `predictor`, such as a cluster, takes the place of one on this machine.

    Raises:
        OutputError: the folder cannot be used, holds something and must not be overwritten, or
            outcomes of other cells, settings or fields; or the Parquet parts cannot be written.
        SettingsError: an option is out of range, options contradict each other, or no engine has
            this name.
        MissingExtraError: the library of the engine, of Parquet, of a store or of large fields is
            needed, and not installed.
        BundleError: the bundle's model, its known cells or its test cells cannot be loaded, or it
            is too old for a coverage.
        FieldError: the tables of fields that are there cannot be read, the finder cannot be
            loaded, or a field that is to be looked at again cannot be read any more.
        ImageError: a picture that the report shows cannot be read any more.
        ClusterError: the `predictor` is a cluster, which gave up.
    """
    check_options(inference, counting, output)
    _check_parquet(output)
    classifier = CellClassifier(
        predictor or Predictor(bundle, inference.threads, inference.engine), counting
    )
    settings = run_settings(bundle, inference, counting) | inference.settings | counting.settings
    finished = open_folder(folder, settings, overwrite=output.overwrite, resume=output.resume)
    counts = Counts(bundle, counting)

    def take(outcome: Outcome) -> None:
        counts.add(outcome)
        progress.cell()

    cells = find_cells(items, folder, inference, progress)
    row_format = choose_format(bundle, inference)
    if finished:
        _read_again(cells, folder, row_format, take)
    else:
        classifier.run(cells, folder, row_format, take)
    _write_parquet(folder, output)
    result = _sum_up(counts, folder, inference)
    if not finished:
        _write_results(result, counts)
    return result


def find_cells(
    items: Iterable[Found], folder: Path, inference: InferenceOptions, progress: Progress
) -> Iterable[Found]:
    """Give the images of cells: the items themselves, or the cells of whole fields.

    Raises:
        OutputError: a field is not the image that it was in an earlier run.
        FieldError: the tables of an earlier run cannot be read, or the detector cannot be loaded.
        MissingExtraError: a field is large or a slide, and what opens it is not installed.
    """
    if not inference.fields:
        return items
    fields = WholeFields(inference.um_per_px, inference.keep_flagged, progress.field)
    return fields.cells(items, folder)


def choose_format(bundle: Bundle, inference: InferenceOptions) -> RowFormat:
    """Give the format of the rows of `predictions.csv`."""
    return (FieldCellRows if inference.fields else CellRows)(bundle.classes)


def run_settings(
    bundle: Bundle, inference: InferenceOptions, counting: CountingOptions
) -> dict[str, str]:
    """Say what decides the predictions besides the images, as `classify.json` holds it."""
    return {
        "format": str(FORMAT),
        "marrowscope": __version__,
        "bundle": bundle.name,
        "bundle_sha256": bundle.sha256,
        "model_sha256": bundle.model_sha256,
        "batch_size": str(BATCH_SIZE),
        "novelty": str(bundle.novelty.threshold) if bundle.novelty else "",
        "novel_cells": "counted" if counting.keep_novel else "set aside",
        "engine": inference.engine,
        "coverage": str(counting.coverage or ""),
        "tested": bundle.adjustment.tested_sha256 if bundle.adjustment else "",
    }


class Counts:
    """What a run counts as its outcomes come; memory does not grow with the number of cells."""

    def __init__(self, bundle: Bundle, counting: CountingOptions) -> None:
        self.bundle = bundle
        self.counting = counting
        self.tally = Tally(bundle.novelty, keep_novel=counting.keep_novel)
        self._sums = ProbabilitySums(bundle)

    def add(self, outcome: Outcome) -> None:
        """Take one outcome into account."""
        self.tally.add(outcome)
        if isinstance(outcome, Prediction) and not self.tally.sets_aside(outcome):
            self._sums.add(outcome)

    def differential(self) -> Differential:
        """Count the cells."""
        cells, counting = self.tally.gallery.cells, self.counting
        return count(cells, self.bundle.classes, counting.norms, counting.formula)

    def adjusted(self) -> Adjusted:
        """Correct the shares for the model's errors.

        Raises:
            BundleError: the bundle's test cells cannot be read.
        """
        return self._sums.adjusted()

    def review(self) -> Review | None:
        """Sum up the cells on which the model abstains; None without a coverage.

        Raises:
            BundleError: the bundle is too old for a coverage.
        """
        return review_of(self.bundle, self.counting.coverage, self.tally.sets)

    def work(self, predictions: Iterable[Prediction]) -> Work:
        """Say what to review, in one pass over the predictions that were added.

        Raises:
            BundleError: the bundle's test cells cannot be read.
        """
        considered = (cell for cell in predictions if not self.tally.sets_aside(cell))
        return work_by_weights(considered, self.bundle, self._sums.weights())


def _check_parquet(output: OutputOptions) -> None:
    """Check that Parquet can be written, before the work starts.

    Raises:
        MissingExtraError: pyarrow, or the library for the store, is not installed.
        OutputError: the URL is of no kind of store that is reached.
    """
    if output.parquet or output.parquet_to:
        arrow()
    if output.parquet_to:
        place_of_parts(output.parquet_to)


def _write_parquet(folder: Path, output: OutputOptions) -> None:
    if output.parquet and not (folder / TABLE).is_file():
        write_parquet(folder / PREDICTIONS, folder / TABLE)
    if output.parquet_to:
        overwrite = output.overwrite or output.resume
        write_parts(folder / PREDICTIONS, output.parquet_to, overwrite=overwrite)


def _sum_up(counts: Counts, folder: Path, inference: InferenceOptions) -> Classified:
    """Count what was classified; `predictions.csv` is read once, for the cells to review."""
    tally = counts.tally
    return Classified(
        folder=folder,
        cells=tally.cells,
        rejected=tally.rejected,
        first_rejects=tuple(tally.first_rejects),
        differential=counts.differential(),
        novel=tally.novel,
        novel_counted=tally.keep_novel,
        engine=inference.engine,
        work=counts.work(read_predictions(folder / PREDICTIONS)),
        adjusted=counts.adjusted(),
        review=counts.review(),
        fields=on_fields(folder, keep_flagged=inference.keep_flagged) if inference.fields else None,
    )


def _write_results(result: Classified, counts: Counts) -> None:
    write_report(
        result.folder / REPORT,
        counts.bundle,
        result.differential,
        counts.tally,
        review=result.review,
        adjusted=result.adjusted,
        fields=result.fields,
    )
    write_json(result.folder / DIFFERENTIAL, result.as_dict(counts.bundle))


def _read_again(
    inputs: Iterable[Found],
    folder: Path,
    row_format: RowFormat,
    take: Callable[[Outcome], object],
) -> None:
    """Take the outcomes of a finished classification.

    Raises:
        OutputError: they are not those of just these inputs.
    """
    with Outcomes(folder / PREDICTIONS, folder / REJECTS, row_format) as outcomes:
        rest = outcomes.replay(inputs, take)
        if next(rest, None) is not None or not outcomes.at_end:
            raise OutputError(
                f"{folder} holds the finished classification of other inputs; give another "
                "folder, or --overwrite to replace the results in it"
            )


class CellClassifier:
    """Classifies images into a folder; continues where an interrupted run ended."""

    def __init__(self, predictor: Classifier, counting: CountingOptions) -> None:
        """Take what classifies.

        Raises:
            SettingsError: the coverage is not between 0 and 1.
            BundleError: the bundle is too old for a coverage.
        """
        self._predictor = predictor
        self._abstain = by_sets(predictor.bundle, counting.coverage)

    def run(
        self,
        inputs: Iterable[Found],
        folder: Path,
        row_format: RowFormat,
        take: Callable[[Outcome], object],
    ) -> None:
        """Take the outcomes that are in the folder, then classify the rest and write it.

        Raises:
            OutputError: the outcomes in the folder are of other cells, or of other columns.
            MissingExtraError: an image cannot be opened without a library that is not installed.
            ClusterError: the predictor is a cluster, which gave up.
        """
        predictions, rejects = folder / PREDICTIONS, folder / REJECTS
        for file in (predictions, rejects):
            _make_partial(file)
        partials = partial_of(predictions), partial_of(rejects)
        with Outcomes(*partials, row_format) as outcomes:
            rest = outcomes.replay(inputs, take)
        with (
            continued_csv(predictions, row_format.header, outcomes.keep[0]) as predicted,
            continued_csv(rejects, REJECT_HEADER, outcomes.keep[1]) as rejected,
        ):
            for outcome in self.outcomes(rest):
                if isinstance(outcome, Reject):
                    rejected.writerow(reject_row(outcome))
                else:
                    predicted.writerow(prediction_row(outcome))
                take(outcome)

    def outcomes(self, inputs: Iterable[Found]) -> Iterator[Outcome]:
        """Classify images; predictions are rounded as they are written, and have their sets.

        Raises:
            MissingExtraError: an image cannot be opened without a library that is not installed.
            ClusterError: the predictor is a cluster, which gave up.
        """
        for outcome in self._predictor.classify(inputs, BATCH_SIZE):
            yield outcome if isinstance(outcome, Reject) else self._abstain(rounded(outcome))


def _make_partial(file: Path) -> None:
    """See to it that a file is there under its partial name, empty if there is none."""
    if not partial_of(file).exists() and file.exists():
        file.replace(partial_of(file))
    partial_of(file).touch()
