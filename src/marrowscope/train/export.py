"""Turn a run into a bundle, and refuse if the bundle does not do what the run did."""

import json
import logging
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from marrowscope.bundle import MODEL, Bundle, file_hash, write_description
from marrowscope.card import write_card
from marrowscope.data.manifest import Manifest
from marrowscope.data.split import located
from marrowscope.errors import ExportError, ImageError
from marrowscope.images import read_image
from marrowscope.metrics import confusion_matrix, macro
from marrowscope.predictor import BATCH_SIZE, CLASSES_KEY, Predictor, softmax
from marrowscope.preprocess import Preprocessing
from marrowscope.records import Picture
from marrowscope.results import prepare_folder
from marrowscope.train.run import Run

Scores = NDArray[np.float64]
"""Probabilities (N, C), 0..1."""
Labelled = tuple[Picture, str]
"""A picture and the code of its class."""

PRECISIONS = ("fp32", "int8")
OPSET = 18
INT8_BLOCK = 32
PROBABILITY_TOLERANCE = 1e-3
INT8_LEAST_AGREEMENT = 0.985
INT8_LARGEST_LOSS = 0.005
"""Of macro-F1 on the validation part."""


@dataclass(frozen=True)
class Exported:
    """The bundle, and in one sentence each how well it agrees with the run."""

    bundle: Bundle
    agreement: tuple[str, ...]


def export(
    run: Run,
    manifest: Manifest,
    folder: Path,
    name: str,
    *,
    precision: str = "fp32",
    licence: str = "Apache-2.0",
    attribution: Sequence[str] = (),
    overwrite: bool = False,
    each: Callable[[], object] = lambda: None,
) -> Exported:
    """Export a run to ONNX and compare it with the run on every validation cell.

    fp32 must give the same top-1 on all cells and probabilities within 1e-3 of torch; int8 must
    agree with fp32 on 98.5% of the cells and lose at most 0.5 points of macro-F1. The folder is
    written only if it does. `each` is called for every cell that was compared.

    Raises:
        ExportError: the exported model does not agree, or the precision is not known.
        OutputError: the folder cannot be used.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
    cells = _validation_cells(run, manifest)
    prepare_folder(folder, overwrite)
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / MODEL
        to_onnx(run, model)
        describe = partial(_bundle, run, name=name, licence=licence, attribution=attribution)
        full = describe(model.parent, precision="fp32")
        score = partial(_score, preprocessing=full.preprocessing, cells=cells, each=each)
        scores = score(Predictor(full).probabilities)
        agreement = [check_same(score(_by_torch(run)), scores)]
        if precision == "int8":
            to_int8(model)
            truth = [run.classes.index(label) for _, label in cells]
            quantised = score(Predictor(full).probabilities)
            agreement.append(check_close(scores, quantised, truth))
        shutil.copyfile(model, folder / MODEL)
    bundle = describe(folder, precision=precision, agreement=agreement)
    write_description(bundle)
    write_card(bundle)
    return Exported(bundle, tuple(agreement))


def to_onnx(run: Run, file: Path) -> None:
    """Write the network with a dynamic batch, its class list among the metadata."""
    size = run.preprocessing.size
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about itself
        program = torch.onnx.export(
            _LogitsOnly(run.network).eval(),
            (torch.zeros(2, 3, size, size),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["pixel_values"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch gave no ONNX program")
    model = program.model_proto
    onnx.helper.set_model_props(model, {CLASSES_KEY: json.dumps(run.classes)})
    onnx.save(model, str(file))


def to_int8(file: Path) -> None:
    """Store the matrices of a float model in 8 bits, 32 values to a scale; sums stay in float.

    The activations are not quantised, so every processor gives the same predictions.
    """
    quantiser = MatMulNBitsQuantizer(
        onnx.load(str(file)), bits=8, block_size=INT8_BLOCK, is_symmetric=True
    )
    quantiser.process()
    quantiser.model.save_model_to_file(str(file))


class _LogitsOnly(torch.nn.Module):
    """The network as ONNX has it: one tensor in, one tensor out."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(pixel_values=pixel_values).logits
        return logits


def check_same(reference: Scores, scores: Scores) -> str:
    """Say how well fp32 agrees with torch, both (N, C) probabilities.

    Raises:
        ExportError: a top-1 differs, or a probability by more than 1e-3.
    """
    different = int((reference.argmax(axis=1) != scores.argmax(axis=1)).sum())
    largest = float(np.abs(reference - scores).max())
    if different or largest > PROBABILITY_TOLERANCE:
        raise ExportError(
            f"ONNX and torch disagree: {different} of {len(scores)} cells have another class, "
            f"probabilities differ by up to {largest:.2g} (allowed: 0 and "
            f"{PROBABILITY_TOLERANCE}); nothing was written"
        )
    return (
        f"fp32 ONNX against torch on {len(scores)} validation cells: same class for all, "
        f"probabilities within {largest:.1e}"
    )


def check_close(full: Scores, quantised: Scores, truth: Sequence[int]) -> str:
    """Say how well int8 agrees with fp32, both (N, C) probabilities, given true indices (N,).

    Raises:
        ExportError: fewer than 98.5% of the classes agree, or macro-F1 falls by over 0.005.
    """
    agreement = float((full.argmax(axis=1) == quantised.argmax(axis=1)).mean())
    before, after = (
        macro(confusion_matrix(truth, scores.argmax(axis=1).tolist(), scores.shape[1])).f1
        for scores in (full, quantised)
    )
    words = (
        f"int8 against fp32 on {len(full)} validation cells: same class for {agreement:.2%}, "
        f"macro-F1 {after:.4f} against {before:.4f}"
    )
    if agreement < INT8_LEAST_AGREEMENT or before - after > INT8_LARGEST_LOSS:
        raise ExportError(
            f"{words} (allowed: at least {INT8_LEAST_AGREEMENT:.1%} and a loss of at most "
            f"{INT8_LARGEST_LOSS}); nothing was written: export with --precision fp32"
        )
    return words


def _validation_cells(run: Run, manifest: Manifest) -> list[Labelled]:
    rows = [row for row in run.split.part("val") if row.cell.label in run.classes]
    return [
        (Picture(manifest.root / row.cell.path, row.cell.um_per_px), row.cell.label)
        for row in located(rows, manifest.cells, "val")
    ]


def _score(
    classify: Callable[[NDArray[np.float32]], Scores],
    preprocessing: Preprocessing,
    cells: Sequence[Labelled],
    each: Callable[[], object],
) -> Scores:
    """Score cells in batches by a function of normalised pictures: (N, C) probabilities."""
    scores = []
    for start in range(0, len(cells), BATCH_SIZE):
        batch = [_read(picture, preprocessing) for picture, _ in cells[start : start + BATCH_SIZE]]
        scores.append(classify(preprocessing.normalise(np.stack(batch))))
        for _ in batch:
            each()
    return np.concatenate(scores)


def _read(picture: Picture, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    try:
        return preprocessing.resize(read_image(picture.path), picture.um_per_px)
    except ImageError as error:
        raise ExportError(
            f"{picture.path}: {error}; the validation cells must be readable"
        ) from None


def _by_torch(run: Run) -> Callable[[NDArray[np.float32]], Scores]:
    """Give the function by which the trained network itself scores pictures."""

    def classify(pixels: NDArray[np.float32]) -> Scores:
        with torch.inference_mode():
            return softmax(run.network(pixel_values=torch.from_numpy(pixels)).logits.numpy())

    return classify


def _bundle(
    run: Run,
    folder: Path,
    *,
    name: str,
    precision: str,
    licence: str,
    attribution: Sequence[str],
    agreement: Sequence[str] = (),
) -> Bundle:
    """Describe the model that lies in a folder."""
    settings = asdict(run.settings)
    for own in ("classes", "preprocessing"):
        settings.pop(own)
    settings["model"] = Path(run.settings.model).name
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
            "network": f"{settings['model']} ({type(run.network).__name__})",
            "settings": settings,
            "environment": run.environment,
            "grouped_by": run.split.grouped_by,
            "columns": list(images),
            "images": images,
            "attribution": list(attribution),
            "agreement": list(agreement),
        },
    )


def _images(run: Run) -> dict[str, dict[str, int]]:
    """Count the cells of covered classes for each part and source."""
    counts: dict[str, Counter[str]] = {}
    for row in run.split.rows:
        if row.cell.label in run.classes:
            counts.setdefault(f"{row.part} {row.cell.source}", Counter())[row.cell.label] += 1
    return {column: dict(counts[column]) for column in sorted(counts)}
