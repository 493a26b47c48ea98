"""Run a bundle's model on cell pictures; the only way in which cells are classified."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from marrowscope.bundle import Bundle
from marrowscope.errors import BundleError, ImageError
from marrowscope.images import read_image
from marrowscope.records import Found, Prediction, Reject

BATCH_SIZE = 32
CLASSES_KEY = "marrowscope.classes"
"""Key of the class list (JSON) in the metadata of the ONNX file."""

Outcome = Prediction | Reject


class Predictor:
    """Classifies cells with one bundle on the processor; holds its model in memory."""

    def __init__(self, bundle: Bundle, threads: int = 0) -> None:
        """Load the model with a number of threads; 0 for as many as the machine has cores.

        Raises:
            BundleError: the model cannot be loaded or names other classes than the bundle.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                bundle.model_file, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001 - onnxruntime raises a type of its own for each fault
            raise BundleError(f"{bundle.model_file} cannot be loaded: {error}") from None
        stored = self._session.get_modelmeta().custom_metadata_map.get(CLASSES_KEY, "[]")
        if tuple(json.loads(stored)) != bundle.classes:
            raise BundleError(
                f"{bundle.model_file} was made for the classes {stored}, "
                f"its bundle names {list(bundle.classes)}; export the bundle again"
            )
        self.bundle = bundle
        self._input = self._session.get_inputs()[0].name

    def logits(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score normalised pictures (N, 3, S, S): (N, C) unbounded values."""
        return np.asarray(self._session.run(["logits"], {self._input: pixels})[0])

    def probabilities(self, pixels: NDArray[np.float32]) -> NDArray[np.float64]:
        """Score normalised pictures (N, 3, S, S): (N, C) values in 0..1, each row adds up to 1."""
        return softmax(self.logits(pixels))

    def classify(self, found: Iterable[Found], batch_size: int = BATCH_SIZE) -> Iterator[Outcome]:
        """Classify pictures in batches, in order; what cannot be read comes back as a reject."""
        for batch in _batches(found, batch_size):
            yield from self._classify_batch(batch)

    def _classify_batch(self, found: Sequence[Found]) -> Iterator[Outcome]:
        rows = [self._read(each) for each in found]
        pixels = [row for row in rows if not isinstance(row, Reject)]
        scores = iter(
            self.probabilities(self.bundle.preprocessing.normalise(np.stack(pixels)))
            if pixels
            else ()
        )
        for each, row in zip(found, rows, strict=True):
            yield row if isinstance(row, Reject) else self._prediction(each.path, next(scores))

    def _read(self, found: Found) -> NDArray[np.uint8] | Reject:
        if isinstance(found, Reject):
            return found
        try:
            return self.bundle.preprocessing.resize(read_image(found.path), found.um_per_px)
        except ImageError as error:
            return Reject(str(found.path), str(error))

    def _prediction(self, path: Path | str, scores: NDArray[np.float64]) -> Prediction:
        best = int(scores.argmax())
        return Prediction(
            str(path), self.bundle.classes[best], float(scores[best]), tuple(map(float, scores))
        )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Turn each row of (N, C) logits into probabilities.

    `softmax([[0, log(3)]])` is `[[0.25, 0.75]]`.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _batches(found: Iterable[Found], size: int) -> Iterator[list[Found]]:
    iterator = iter(found)
    while batch := list(islice(iterator, size)):
        yield batch
