"""Classify cells from Python: results in memory, nothing is written."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from marrowscope.differential.abstentions import Review
from marrowscope.differential.count import Differential
from marrowscope.differential.error_correction import Adjusted
from marrowscope.differential.options import CountingOptions
from marrowscope.inference.classify import CellClassifier, Counts, find_cells
from marrowscope.inference.options import InferenceOptions, Progress, check_options
from marrowscope.inference.predictor import Outcome, Predictor
from marrowscope.io.discovery import find_files
from marrowscope.io.frames import data_frame
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.types import Prediction, Reject


@dataclass(frozen=True)
class ClassifiedCells:
    """Cells that a bundle classified, and the differential that they make."""

    bundle: Bundle
    predictions: tuple[Prediction, ...]
    """One a cell, in the order of the inputs; novel cells too."""
    rejects: tuple[Reject, ...]
    """Inputs that could not be used, each with its reason."""
    differential: Differential
    """Counts and shares of the nucleated cells, with 95% intervals."""
    adjusted: Adjusted
    """Shares corrected for the model's errors."""
    review: Review | None
    """Cells on which the model abstains; None without a coverage."""
    novel: int
    """Cells unlike the reference cells."""

    def to_pandas(self) -> Any:
        """Give a `pandas.DataFrame` with a row a cell.

        The columns are path, label, probability (0..1), novelty, and the probability of every
        class by its code.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        classes = self.bundle.classes
        rows = (
            {
                "path": prediction.path,
                "label": prediction.label,
                "probability": prediction.probability,
                "novelty": prediction.novelty,
                **dict(zip(classes, prediction.probabilities, strict=True)),
            }
            for prediction in self.predictions
        )
        return data_frame(rows, ("path", "label", "probability", "novelty", *classes))


def classify(
    paths: str | Path | Iterable[str | Path],
    bundle: str | Bundle = "default",
    *,
    um_per_px: float | None = None,
    inference: InferenceOptions = InferenceOptions(),
    counting: CountingOptions = CountingOptions(),
) -> ClassifiedCells:
    """Classify images and count their cells; all results are in memory, 1 KB a cell.

    The figures are those of the command `classify`.

    Args:
        paths: files, folders, patterns or archives, as the command takes them; or one of these.
        bundle: a bundle, its folder, or the name of a shipped one.
        um_per_px: side of a pixel on the slide, in micrometres; short for that of `inference`.
        inference: how images are read, and which engine runs the model.
        counting: which cells are counted, and against which ranges.

    Raises:
        BundleError: the bundle cannot be loaded, or is too old for a coverage.
        SettingsError: an option is out of range; the bundle needs `um_per_px`, and it is missing;
            or no engine has this name.
        MissingExtraError: the library of the engine, an archive or a store is not installed.
        FieldError: the detector of cells on fields cannot be loaded.
    """
    options = inference if um_per_px is None else replace(inference, um_per_px=um_per_px)
    check_options(options, counting)
    model = load_bundle(bundle) if isinstance(bundle, str) else bundle
    if not options.fields:
        model.preprocessing.check_scale(options.um_per_px)
    inputs = [paths] if isinstance(paths, str | Path) else paths
    classifier = CellClassifier(Predictor(model, options.threads, options.engine), counting)
    images = find_files([str(path) for path in inputs], options.um_per_px)
    with TemporaryDirectory() as folder:  # for the boxes of whole fields
        cells = find_cells(images, Path(folder), options, Progress())
        return _count(classifier.outcomes(cells), Counts(model, counting))


def _count(outcomes: Iterable[Outcome], counts: Counts) -> ClassifiedCells:
    predictions: list[Prediction] = []
    rejects: list[Reject] = []
    for outcome in outcomes:
        counts.add(outcome)
        if isinstance(outcome, Reject):
            rejects.append(outcome)
        else:
            predictions.append(outcome)
    return ClassifiedCells(
        bundle=counts.bundle,
        predictions=tuple(predictions),
        rejects=tuple(rejects),
        differential=counts.differential(),
        adjusted=counts.adjusted(),
        review=counts.review(),
        novel=counts.tally.novel,
    )
