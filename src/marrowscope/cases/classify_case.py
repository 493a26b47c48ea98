"""Read a case: classify the cells of its slides, put people's decisions first, and count."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from marrowscope.cases.case import SLIDES, Case, Slide
from marrowscope.cases.reviews import Decision, Decisions, read_decisions
from marrowscope.detection.field_cells import OnFields, on_fields
from marrowscope.differential.abstentions import Review, review_of
from marrowscope.differential.accumulator import Fate, Tally
from marrowscope.differential.count import Differential, count
from marrowscope.differential.error_correction import Adjusted, adjust, own_weights
from marrowscope.differential.options import CountingOptions
from marrowscope.errors import CaseError
from marrowscope.inference.classify import CellClassifier, choose_format, run_settings
from marrowscope.inference.classify import find_cells as find_images
from marrowscope.inference.options import (
    InferenceOptions,
    OutputOptions,
    Progress,
    check_options,
)
from marrowscope.inference.output_folder import engine_of, open_folder, result_files
from marrowscope.inference.predictor import Outcome, Predictor
from marrowscope.inference.thumbnails import ImageLoader
from marrowscope.metrics.quantification import Floats
from marrowscope.model.bundle import Bundle
from marrowscope.types import Found, Prediction, Reject


@dataclass(frozen=True)
class CaseCell:
    """One cell of a case: what the machine read, what a person decided, what became of it."""

    slide: str
    machine: Prediction
    decision: Decision | None
    fate: Fate

    @property
    def reading(self) -> Prediction:
        """What counts: the machine's reading, with the label of the person who decided."""
        return decided(self.machine, self.decision)


@dataclass(frozen=True)
class SlideReject:
    """A file or input of a slide that was not used, and why."""

    slide: str
    reject: Reject


@dataclass(frozen=True)
class Reading:
    """A case as it was read and counted."""

    case: Case
    bundle: Bundle
    engine: str
    cells: tuple[CaseCell, ...]
    rejects: tuple[SlideReject, ...]
    decisions: Decisions
    strays: tuple[Decision, ...]
    """Decisions on pictures that are not among the cells of the case."""
    tally: Tally
    differential: Differential
    adjusted: Adjusted | None
    """Shares with the model's errors taken out, from its own readings; None where a person read
    every cell."""
    review: Review | None = None
    """What the model abstains on; None where no coverage was asked for."""
    fields: Mapping[str, OnFields] = field(default_factory=dict)
    """What became of the fields, by the name of the slide, of slides that have fields."""
    load: ImageLoader | None = None
    """Loads the image of a cell; None where its path leads to it."""

    @property
    def decided(self) -> tuple[CaseCell, ...]:
        """Cells that a person decided on."""
        return tuple(cell for cell in self.cells if cell.decision)

    @cached_property
    def weights(self) -> Floats | None:
        """What fits the model's probabilities to the class mix of the case; see `own_weights`.

        Raises:
            BundleError: the bundle's test cells cannot be read.
        """
        counted = (cell.machine for cell in self.cells if not self.tally.sets_aside(cell.machine))
        return own_weights(counted, self.bundle)

    def with_fate(self, fate: Fate) -> tuple[CaseCell, ...]:
        """Give the cells of one fate."""
        return tuple(cell for cell in self.cells if cell.fate is fate)


def decided(machine: Prediction, decision: Decision | None) -> Prediction:
    """Give a reading the label and name of who decided on it."""
    if decision is None:
        return machine
    return replace(machine, label=decision.label, reviewer=decision.reviewer)


def read_cells(
    case: Case,
    bundle: Bundle,
    folder: Path,
    inputs_of_slide: Mapping[str, Sequence[Found]] | None = None,
    *,
    inference: InferenceOptions = InferenceOptions(),
    counting: CountingOptions = CountingOptions(),
    output: OutputOptions = OutputOptions(),
    progress: Progress = Progress(),
) -> Reading:
    """Classify the cells of a case into `slides/` of a folder, slide by slide, and count them.

    A cell that is in `reviews.csv` counts as the class given there, whatever the machine says.
    `inputs_of_slide` are the images of each slide, if they were listed before. The slides say
    whether they are whole fields, and how large a pixel is. With `output.resume`, cells that were
    classified before are not read again. All predictions are in memory: about 1 KB a cell.

    Raises:
        CaseError: `reviews.csv` cannot be read, or a picture is in two slides.
        OutputError: a slide's folder cannot be used, or holds outcomes of other cells or settings.
        SettingsError: the bundle needs the size of a pixel, the coverage is not in 0..1, no engine
            has this name, or both `overwrite` and `resume` are given.
        BundleError: the bundle's model or test cells cannot be loaded, or it is too old for a
            coverage.
        FieldError: the tables of fields that are there cannot be read.
        MissingExtraError: the engine, or what opens the pictures, is not installed.
    """
    check_options(inference, counting, output)
    for slide in case.slides:
        if not slide.fields:
            bundle.preprocessing.check_scale(slide.um_per_px)
    decisions = read_decisions(case.reviews)
    predictor = Predictor(bundle, inference.threads, inference.engine)
    classifier = CellClassifier(predictor, counting)
    cells, rejects, tally = [], [], Tally(bundle.novelty, keep_novel=counting.keep_novel)

    def take(slide: Slide, outcome: Outcome) -> None:
        progress.cell()
        if isinstance(outcome, Reject):
            tally.add(outcome)
            rejects.append(SlideReject(slide.name, outcome))
            return
        decision = decisions.of(outcome.path)
        fate = tally.add_cell(decided(outcome, decision))
        cells.append(CaseCell(slide.name, outcome, decision, fate))

    inputs_of_slide = find_cells(case, folder) if inputs_of_slide is None else inputs_of_slide
    for slide in case.slides:
        place = folder / SLIDES / slide.name
        options = replace(inference, um_per_px=slide.um_per_px, fields=slide.fields)
        settings = run_settings(bundle, options, counting) | options.settings
        open_folder(place, settings, overwrite=output.overwrite, resume=output.resume)
        images = find_images(inputs_of_slide[slide.name], place, options, progress)
        classifier.run(images, place, choose_format(bundle, options), partial(take, slide))
    return Reading(
        case=case,
        bundle=bundle,
        engine=inference.engine,
        cells=tuple(cells),
        rejects=tuple(rejects),
        decisions=decisions,
        strays=_strays(decisions, cells),
        tally=tally,
        differential=count(tally.gallery.cells, bundle.classes, counting.norms, counting.formula),
        adjusted=adjusted_of(cells, bundle, tally),
        review=review_of(bundle, counting.coverage, tally.sets),
        fields=_fields(case, folder, keep_flagged=inference.keep_flagged),
    )


def _fields(case: Case, folder: Path, *, keep_flagged: bool) -> dict[str, OnFields]:
    by_slide = {
        slide.name: on_fields(folder / SLIDES / slide.name, keep_flagged=keep_flagged)
        for slide in case.slides
        if slide.fields
    }
    return {name: fields for name, fields in by_slide.items() if fields}


def _own_files(case: Case, folder: Path) -> Iterator[Path]:
    for slide in case.slides:
        yield from result_files(folder / SLIDES / slide.name)


def find_cells(case: Case, folder: Path, besides: Iterable[Path] = ()) -> dict[str, list[Found]]:
    """Find the pictures of each slide; files `besides` and those of `folder/slides` are none.

    Raises:
        CaseError: one is in two slides, so that it would count twice.
        MissingExtraError: the library for a store or a Parquet file is not installed.
    """
    own = [*besides, *case.files, *_own_files(case, folder)]
    slide_of: dict[str, str] = {}
    inputs = {slide.name: list(slide.find(own)) for slide in case.slides}
    for name, pictures in inputs.items():
        for path in (str(picture.path) for picture in pictures if not isinstance(picture, Reject)):
            other = slide_of.setdefault(os.path.realpath(path), name)
            if other != name:
                raise CaseError(
                    f"{path} is in the slides {other} and {name}, and would count twice; give "
                    "each slide its own folder"
                )
    return inputs


def adjusted_of(cells: Sequence[CaseCell], bundle: Bundle, tally: Tally) -> Adjusted | None:
    """Take the model's errors out of its shares; None where a person read every cell.

    Raises:
        BundleError: the bundle's test cells cannot be read.
    """
    if cells and all(cell.decision for cell in cells):
        return None
    machine = (cell.machine for cell in cells if not tally.sets_aside(cell.machine))
    return adjust(machine, bundle)


def engine_of_slides(case: Case, folder: Path) -> str:
    """Name the engine with which slides were read into a folder before; empty if none was."""
    engines = (engine_of(folder / SLIDES / slide.name) for slide in case.slides)
    return next(filter(None, engines), "")


def _strays(decisions: Decisions, cells: Iterable[CaseCell]) -> tuple[Decision, ...]:
    used = {id(cell.decision) for cell in cells if cell.decision}
    return tuple(decision for decision in decisions.of_cell.values() if id(decision) not in used)
