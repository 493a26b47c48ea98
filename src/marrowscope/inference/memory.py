"""Classify cells from Python: results in memory, nothing is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrowscope.differential.accumulator import Tally
from marrowscope.differential.count import Differential, count
from marrowscope.inference.predictor import Predictor
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
    """Counts and shares of the nucleated cells; novel cells are not in it."""

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
    keep_novel: bool = False,
    threads: int = 0,
    engine: str = "onnxruntime",
) -> ClassifiedCells:
    """Classify images of single cells and count them; all results are in memory, 1 KB a cell.

    Args:
        paths: files, folders, patterns or archives, as the command takes them; or one of these.
        bundle: a bundle, its folder, or the name of a shipped one.
        um_per_px: side of a pixel on the slide, in micrometres.
        keep_novel: count cells unlike those that the model knows, too.
        threads: of the processor; 0 for one a core.
        engine: `onnxruntime`, `openvino` or `cuda`.

    Raises:
        BundleError: the bundle cannot be loaded.
        SettingsError: the bundle needs `um_per_px`, and it is missing; or no engine has this name.
        MissingExtraError: the library of the engine, an archive or a store is not installed.
    """
    chosen = load_bundle(bundle) if isinstance(bundle, str) else bundle
    chosen.preprocessing.check_scale(um_per_px)
    inputs = [paths] if isinstance(paths, str | Path) else paths
    predictor = Predictor(chosen, threads, engine)
    outcomes = list(predictor.classify(find_files([str(path) for path in inputs], um_per_px)))
    return _counted(chosen, outcomes, keep_novel=keep_novel)


def _counted(
    bundle: Bundle, outcomes: Sequence[Prediction | Reject], *, keep_novel: bool
) -> ClassifiedCells:
    tally = Tally(bundle.novelty, keep_novel=keep_novel)
    for outcome in outcomes:
        tally.add(outcome)
    return ClassifiedCells(
        bundle=bundle,
        predictions=tuple(outcome for outcome in outcomes if isinstance(outcome, Prediction)),
        rejects=tuple(outcome for outcome in outcomes if isinstance(outcome, Reject)),
        differential=count(tally.gallery.cells, bundle.classes),
    )
