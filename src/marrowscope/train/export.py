"""Turn a run into a bundle, and refuse if the bundle does not do what the run did."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import located
from marrowscope.errors import ExportError, ImageError
from marrowscope.evaluation.artifacts import write_card
from marrowscope.inference.backends import Pixels, cores, on_processor
from marrowscope.inference.predictor import BATCH_SIZE, Predictor, softmax
from marrowscope.io.hashes import file_hash
from marrowscope.io.images import read_image
from marrowscope.io.tables import DECIMALS, prepare_folder, whole_file
from marrowscope.locations import within
from marrowscope.metrics.calibration import METHODS, Calibration, calibrate, calibration_error
from marrowscope.metrics.conformal import Abstention, always_in_words, conform
from marrowscope.metrics.reliability import COVERAGES
from marrowscope.metrics.selective import ERROR_RATES, Threshold, threshold_for
from marrowscope.model.bundle import Bundle, write_description
from marrowscope.model.metadata import MODEL
from marrowscope.model.novelty import FALSE_ALARMS
from marrowscope.model.preprocess import Preprocessing
from marrowscope.model.reference_images import KnownPictures, write_pictures
from marrowscope.train.ensemble import answering, by_torch
from marrowscope.train.fit_novelty import Labelled, learn_known
from marrowscope.train.onnx_export import to_onnx
from marrowscope.train.parity import check_close, check_same
from marrowscope.train.quantise import to_fp16, to_int8, to_int8_weights
from marrowscope.train.run import Run
from marrowscope.types import Picture

Logits = NDArray[np.floating]
"""(N, C), unbounded."""
Scores = NDArray[np.float64]
"""Probabilities (N, C), 0..1."""
Checked = tuple[Logits, list[str]]
"""What a model gives, and in one sentence each how well it agrees with fp32."""

PRECISIONS = ("fp32", "fp16", "int8", "int8-weights")
IN_FLOAT = (0, 1, 2, 4, 8)
"""Products with far outliers that int8 keeps in float: the first number that the gate accepts."""
CALIBRATION_CELLS = 128
"""Training cells, of all classes alike, by which the scales of int8 are chosen."""


@dataclass(frozen=True)
class Exported:
    """The bundle, and in one sentence each how well it agrees with the run and what was fitted."""

    bundle: Bundle
    agreement: tuple[str, ...]


def export(
    run: Run,
    manifest: Manifest,
    folder: Path,
    name: str,
    *,
    others: Sequence[Run] = (),
    precision: str = "fp32",
    calibration: str = "temperature",
    false_alarms: float = FALSE_ALARMS,
    licence: str = "Apache-2.0",
    attribution: Sequence[str] = (),
    pictures: bool = True,
    credit: str = "",
    overwrite: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> Exported:
    """Export a run to ONNX and compare it with the run on every validation cell.

    With `others` the bundle gives the mean of the logits of all these runs; its embeddings and
    heatmaps are those of the first.

    fp32 must give the same top-1 on all cells and probabilities within 1e-3 of torch; any other
    precision must agree with fp32 on 98.5% of the cells and lose at most 0.5 points of macro-F1,
    in each processor engine that is installed; int8 keeps as few products in float as that takes.
    The folder is written only if it does. The probabilities are calibrated on the validation
    cells, and what sets of classes and thresholds of confidence rest on is taken from them.
    Training cells become the known cells of the bundle, and `false_alarms` is the share of the
    validation cells that may be taken for strange ones. With `pictures` the bundle keeps small ones
    of them, shown with the `credit` or else with the `attribution`. `advance` is called whenever a
    model has read a cell: several times for those that several models read.

    Raises:
        ExportError: the exported model does not agree, the network cannot be written as ONNX, the
            runs do not fit each other, a cell cannot be read, or the precision or the calibration
            is not known.
        SplitError: the run's split has no part `train` or `val`, or the manifest lacks a cell.
        BundleError: the exported model cannot be loaded.
        OutputError: the folder cannot be used.
    """
    _check_choices(precision, calibration)
    cells = _cells(run, manifest, "val")
    runs = (run, *others)
    network = answering(runs)
    prepare_folder(folder, overwrite)
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / MODEL
        to_onnx(network, run.preprocessing.size, run.classes, model)
        describe = partial(_bundle, runs, name=name, licence=licence, attribution=attribution)
        full = describe(model.parent, precision="fp32")
        score = partial(_score, preprocessing=full.preprocessing, cells=cells, advance=advance)
        logits = score(Predictor(full).logits, at_once=cores())
        scores = softmax(logits)
        agreement = [check_same(softmax(score(by_torch(runs))), scores)]
        truth = [run.classes.index(label) for _, label in cells]
        if precision != "fp32":
            check = partial(_check_engines, full, score, scores, truth, precision)
            logits, words = _reduce(model, precision, run, manifest, check)
            agreement += words
        with whole_file(folder / MODEL) as copy:
            shutil.copyfile(model, copy)
    fitted = calibrate(logits.astype(np.float64), truth, calibration)
    agreement.append(calibration_in_words(fitted, logits, truth))
    chances = softmax(fitted.apply(logits)).round(DECIMALS)
    abstention = conform(chances, truth, len(run.classes))
    agreement.append(abstention_in_words(abstention, run.classes))
    shown_with = credit or "; ".join(attribution)
    novelty = learn_known(
        folder,
        manifest.root,
        _cells(run, manifest, "train"),
        cells,
        _embedder(describe(folder, precision=precision), advance),
        draw=partial(_draw, manifest, full.preprocessing, folder, shown_with)
        if pictures
        else lambda _: None,
        false_alarms=false_alarms,
    )
    agreement.append(novelty.in_words)
    bundle = replace(
        describe(folder, precision=precision, agreement=agreement),
        calibration=fitted,
        abstention=abstention,
        review=_thresholds(chances, truth),
        novelty=novelty,
    )
    write_description(bundle)
    write_card(bundle)
    return Exported(bundle, tuple(agreement))


def _check_choices(precision: str, calibration: str) -> None:
    """Check the two choices by name.

    Raises:
        ExportError: one is not known.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    if calibration not in METHODS:
        raise ExportError(f"calibration {calibration!r} is not one of {', '.join(METHODS)}")


def _embedder(
    bundle: Bundle, advance: Callable[[], object]
) -> Callable[[Sequence[Labelled]], Logits]:
    """Give the function that turns cells into embeddings by a bundle's model."""
    embed = Predictor(bundle).embeddings
    return partial(_score, embed, bundle.preprocessing, advance=advance, at_once=cores())


def calibration_in_words(fitted: Calibration, logits: Logits, truth: Sequence[int]) -> str:
    """Say how far confidence and accuracy lie apart before and after calibration."""
    before, after = (
        calibration_error(softmax(column), truth) for column in (logits, fitted.apply(logits))
    )
    return (
        f"calibration ({fitted.method}) on {fitted.cells} validation cells: expected calibration "
        f"error {before:.3f} before, {after:.3f} after"
    )


def _thresholds(chances: Scores, truth: Sequence[int]) -> tuple[Threshold, ...]:
    """Find the confidence from which on few enough validation cells are wrong, for each rate."""
    right = chances.argmax(axis=1) == np.asarray(truth)
    return tuple(threshold_for(chances.max(axis=1), right, rate) for rate in ERROR_RATES)


def abstention_in_words(abstention: Abstention, classes: Sequence[str]) -> str:
    """Say what sets of classes rest on, and which classes are in every one of them."""
    cells = ", ".join(f"{code} {n}" for code, n in zip(classes, abstention.cells, strict=True))
    missing = (
        always_in_words(abstention.always(classes, coverage), coverage) for coverage in COVERAGES
    )
    return " ".join(["abstention, by validation cells:", f"{cells}.", *filter(None, missing)])


def _reduce(
    model: Path, precision: str, run: Run, manifest: Manifest, check: Callable[[], Checked]
) -> Checked:
    """Bring an exported model to a precision, in place, and check it."""
    if precision != "int8":
        (to_fp16 if precision == "fp16" else to_int8_weights)(model)
        return check()
    whole = shutil.copyfile(model, model.with_name("whole.onnx"))
    cells = _calibration(run, manifest)
    for number in IN_FLOAT:
        shutil.copyfile(whole, model)
        to_int8(model, cells, number)
        try:
            logits, words = check()
        except ExportError as error:
            refused = error
        else:
            return logits, [*words, f"int8 keeps {number} products with far outliers in float"]
    raise refused


def _check_engines(
    bundle: Bundle,
    score: Callable[..., Logits],
    full: Scores,
    truth: Sequence[int],
    precision: str,
) -> Checked:
    """Give the logits of a bundle's model in the first engine, and how close each engine comes."""
    of_engine = {
        engine: score(Predictor(bundle, max(2, cores()), engine).logits, at_once=cores())
        for engine in on_processor()  # with two threads at least: OpenVINO can differ from one
    }
    words = [
        f"{engine}: {check_close(full, softmax(reduced), truth, precision)}"
        for engine, reduced in of_engine.items()
    ]
    return next(iter(of_engine.values())), words


def _calibration(run: Run, manifest: Manifest) -> Pixels:
    """Give training cells (N, 3, S, S), the first of each class in turn: the same each time."""
    cells_of: dict[str, list[Picture]] = {}
    for picture, label in _cells(run, manifest, "train"):
        cells_of.setdefault(label, []).append(picture)
    in_turn = chain.from_iterable(zip_longest(*cells_of.values()))
    chosen = islice((picture for picture in in_turn if picture), CALIBRATION_CELLS)
    return np.stack([_read(picture, run.preprocessing) for picture in chosen])


def _cells(run: Run, manifest: Manifest, part: str) -> list[Labelled]:
    rows = [row for row in run.split.part(part) if row.cell.label in run.classes]
    return [
        (Picture(within(manifest.root, row.cell.path), row.cell.um_per_px), row.cell.label)
        for row in located(rows, manifest.cells, part)
    ]


def _draw(
    manifest: Manifest,
    preprocessing: Preprocessing,
    folder: Path,
    credit: str,
    cells: Sequence[Labelled],
) -> KnownPictures:
    """Write small pictures of known cells into a bundle's folder, as the network sees them."""
    sources = {within(manifest.root, cell.path): cell.source for cell in manifest.cells}
    images = ((_read(picture, preprocessing), sources[picture.path]) for picture, _ in cells)
    return write_pictures(images, folder, credit)


def _score(
    classify: Callable[[Pixels], Logits],
    preprocessing: Preprocessing,
    cells: Sequence[Labelled],
    advance: Callable[[], object],
    at_once: int = 1,
) -> Logits:
    """Score cells in batches, several at once, by a function of pictures: (N, C) logits."""

    def score(start: int) -> Logits:
        batch = [_read(picture, preprocessing) for picture, _ in cells[start : start + BATCH_SIZE]]
        logits = classify(np.stack(batch))
        for _ in batch:
            advance()
        return logits

    with ThreadPoolExecutor(at_once) as pool:
        return np.concatenate(list(pool.map(score, range(0, len(cells), BATCH_SIZE))))


def _read(picture: Picture, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    try:
        return preprocessing.resize(read_image(picture.path), picture.um_per_px)
    except ImageError as error:
        raise ExportError(
            f"{picture.path}: {error}; the cells of the split must be readable"
        ) from None


def _bundle(
    runs: Sequence[Run],
    folder: Path,
    *,
    name: str,
    precision: str,
    licence: str,
    attribution: Sequence[str],
    agreement: Sequence[str] = (),
) -> Bundle:
    """Describe the model that lies in a folder."""
    run, *others = runs
    settings = _settings(run)
    if others:
        settings["together_with"] = [_settings(other) for other in others]
    images = _images(run)
    return Bundle(
        folder=folder,
        name=name,
        classes=run.classes,
        left_out=run.left_out,
        preprocessing=run.preprocessing,
        model_sha256=file_hash(folder / MODEL),
        precision=precision,
        split_hash=run.split.hash,
        licence=licence,
        origin={
            "network": " + ".join(map(_network, runs)),
            "settings": settings,
            "environment": run.environment,
            "grouped_by": run.split.grouped_by,
            "columns": list(images),
            "images": images,
            "attribution": list(attribution),
            "agreement": list(agreement),
        },
    )


def _settings(run: Run) -> dict[str, Any]:
    """Give the settings of a run, but for what the bundle says elsewhere; no path of a machine."""
    settings = asdict(run.settings)
    for own in ("classes", "preprocessing"):
        settings.pop(own)
    return settings | {name: Path(settings[name]).name for name in ("model", "teacher")}


def _network(run: Run) -> str:
    return f"{Path(run.settings.model).name} ({type(run.network).__name__})"


def _images(run: Run) -> dict[str, dict[str, int]]:
    """Count the cells of covered classes for each part and source."""
    counts: dict[str, Counter[str]] = {}
    for row in run.split.rows:
        if row.cell.label in run.classes:
            counts.setdefault(f"{row.part} {row.cell.source}", Counter())[row.cell.label] += 1
    return {column: dict(counts[column]) for column in sorted(counts)}
