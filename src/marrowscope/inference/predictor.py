"""Classify cell pictures with a bundle; the only way in which cells are classified."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from marrowscope.detection.crops import read_cell
from marrowscope.errors import BundleError, ImageError
from marrowscope.inference.backends import Pixels, load_engine
from marrowscope.model.bundle import Bundle, load_references
from marrowscope.model.novelty import UNKNOWN, Strangeness
from marrowscope.model.reference_embeddings import References, Similar
from marrowscope.types import Found, Prediction, Reject

BATCH_SIZE = 16
READ_AHEAD = 2
"""Batches in hand for each call at once: one is worked on, one waits to be written."""

Outcome = Prediction | Reject


@dataclass(frozen=True)
class Explanation:
    """What a network saw in N pictures."""

    embedding: NDArray[np.float32]
    """(N, D): near for cells that look alike to the network."""
    activation: NDArray[np.float32]
    """(N, C, H, W): what each place of the picture adds to each class's logit."""


class Classifier(Protocol):
    """Classifies cells with one bundle, here or elsewhere."""

    bundle: Bundle

    def classify(self, inputs: Iterable[Found], batch_size: int = ...) -> Iterator[Outcome]:
        """Classify pictures, in order; what cannot be read comes back as a reject.

        Raises:
            ClusterError: it classifies on a cluster, which gave up.
            MissingExtraError: a picture cannot be opened without a library that is not installed.
        """
        ...


class Predictor:
    """Classifies cells with one bundle; holds its model in memory."""

    def __init__(self, bundle: Bundle, threads: int = 0, engine: str = "onnxruntime") -> None:
        """Load the model with a number of threads; 0 for one a core, if they fit into memory.

        Raises:
            SettingsError: no engine has this name.
            MissingExtraError: the engine is not installed.
            BundleError: the model cannot be loaded or names other classes than the bundle, or
                the known cells beside it cannot be read or do not fit it.
        """
        self.bundle = bundle
        self._engine = load_engine(engine, bundle, threads)
        self._references: References | None = None
        self._strangeness: Strangeness | None = None
        if bundle.novelty and "embedding" in self._engine.gives:
            self._references = load_references(bundle)
            self._strangeness = Strangeness(self._references, bundle.novelty.shrinkage)

    def logits(self, pixels: Pixels) -> NDArray[np.float32]:
        """Score pictures (N, 3, S, S) uint8: (N, C), unbounded, in the order of the classes."""
        return self._engine.run(pixels, ["logits"])[0]

    def probabilities(self, pixels: Pixels) -> NDArray[np.float64]:
        """Score pictures (N, 3, S, S) uint8: (N, C) in 0..1, each row adds up to 1.

        Calibrated, where the bundle is.
        """
        return softmax(self.bundle.scaling.apply(self.logits(pixels)))

    def embeddings(self, pixels: Pixels) -> NDArray[np.float32]:
        """Give the embeddings (N, D) of pictures (N, 3, S, S) uint8.

        Raises:
            BundleError: the bundle's model gives none.
        """
        self._check_gives("embedding")
        return self._engine.run(pixels, ["embedding"])[0]

    def novelty(self, pixels: Pixels) -> NDArray[np.float64]:
        """Say how unlike the known cells pictures (N, 3, S, S) uint8 are: (N,), 0 or more.

        NaN, where the bundle has no known cells, or its model gives no embeddings.
        """
        if self._strangeness is None:
            return np.full(len(pixels), UNKNOWN)
        return self._strangeness(self.embeddings(pixels))

    def similar(self, pixels: Pixels, k: int = 5) -> list[tuple[Similar, ...]]:
        """Give for each picture (N, 3, S, S) uint8 the k known cells most alike, the nearest first.

        Raises:
            BundleError: the bundle has no known cells, or its model gives no embeddings.
        """
        if self._references is None:
            raise BundleError(
                f"the bundle {self.bundle.name} has no known cells to compare with; export it again"
            )
        return self._references.nearest(self.embeddings(pixels), k)

    def explain(self, pixels: Pixels) -> Explanation:
        """Say what the network saw in pictures (N, 3, S, S) uint8.

        Raises:
            BundleError: the bundle's model gives no embeddings or no activation.
        """
        wanted = ("embedding", "activation")
        self._check_gives(*wanted)
        return Explanation(*self._engine.run(pixels, wanted))

    def _check_gives(self, *wanted: str) -> None:
        if not set(wanted) <= set(self._engine.gives):
            raise BundleError(
                f"{self.bundle.model_file} gives {', '.join(self._engine.gives)} alone; export the "
                f"bundle again for {' and '.join(wanted)}"
            )

    def read(self, item: Found) -> Pixels | Reject:
        """Read a picture as the network sees it: (3, S, S) uint8, or the reason why not.

        Raises:
            MissingExtraError: it cannot be opened without a library that is not installed.
        """
        if isinstance(item, Reject):
            return item
        try:
            prepare = self.bundle.preprocessing
            return prepare.resize(read_cell(item, prepare.field_um), item.um_per_px)
        except ImageError as error:
            return Reject(str(item.path), str(error))

    def classify(
        self, inputs: Iterable[Found], batch_size: int = BATCH_SIZE
    ) -> Generator[Outcome, None, None]:
        """Classify pictures in batches, in order; what cannot be read comes back as a reject.

        Batches are read, resized and scored side by side; only a few are in memory at a time.

        Raises:
            MissingExtraError: a picture cannot be opened without a library that is not installed.
        """
        waiting: deque[Future[list[Outcome]]] = deque()
        with ThreadPoolExecutor(self._engine.at_once) as pool:
            try:
                for batch in _batches(inputs, batch_size):
                    waiting.append(pool.submit(self._classify_batch, batch))
                    if len(waiting) >= READ_AHEAD * self._engine.at_once:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _classify_batch(self, inputs: Sequence[Found]) -> list[Outcome]:
        rows = [self.read(item) for item in inputs]
        pixels = [row for row in rows if not isinstance(row, Reject)]
        scores = zip(*self._score(np.stack(pixels)), strict=True) if pixels else iter(())
        return [
            row if isinstance(row, Reject) else self._prediction(item, *next(scores))
            for item, row in zip(inputs, rows, strict=True)
        ]

    def _score(self, pixels: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give probabilities (N, C) and novelty (N,) of pictures, by one run of the model."""
        if self._strangeness is None:
            return self.probabilities(pixels), np.full(len(pixels), UNKNOWN)
        logits, embeddings = self._engine.run(pixels, ["logits", "embedding"])
        return softmax(self.bundle.scaling.apply(logits)), self._strangeness(embeddings)

    def _prediction(self, item: Found, scores: NDArray[np.float64], novelty: float) -> Prediction:
        best = int(scores.argmax())
        return Prediction(
            str(item.path),
            self.bundle.classes[best],
            float(scores[best]),
            tuple(map(float, scores)),
            novelty=float(novelty),
            place=None if isinstance(item, Reject) else item.place,
        )


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn each row of (N, C) logits into probabilities.

    `softmax([[0, log(3)]])` is `[[0.25, 0.75]]`.
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _batches(inputs: Iterable[Found], size: int) -> Iterator[list[Found]]:
    iterator = iter(inputs)
    while batch := list(islice(iterator, size)):
        yield batch
