"""Find cells with the trained network: maps of middles and sides become boxes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from scipy import ndimage

from marrowscope.detection.boxes import Box, merge
from marrowscope.errors import FieldError
from marrowscope.io.hashes import file_hash

STRIDE = 4
"""Pixels of the picture for one of the maps."""
MULTIPLE = 16
"""The network takes pictures whose sides are multiples of this."""
KINDS = ("WBC", "RBC", "PLT")
"""Of the first maps; then come the distances to the left, top, right and lower side."""
OVERLAP = 0.5
"""IoU above which two boxes are of one cell."""

Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Densities `(3, H, W)` to maps `(7, H / 4, W / 4)`: logits of middles, distances in pixels."""


def maps_of(network: Network, densities: np.ndarray) -> NDArray[np.float32]:
    """Run the network on a field of any size: maps `(7, h, w)`, logits turned into 0 to 1.

    Args:
        network: takes sides that are multiples of 16.
        densities: `(H, W, 3) float32`, at 0.25 um per pixel; empty slide is added at the right
            and below until the sides fit.
    """
    tall, wide = densities.shape[:2]
    whole = np.zeros((3, _round_up(tall), _round_up(wide)), np.float32)
    whole[:, :tall, :wide] = densities.transpose(2, 0, 1)
    maps = network(whole)[:, : -(-tall // STRIDE), : -(-wide // STRIDE)].copy()
    maps[: len(KINDS)] = 1 / (1 + np.exp(-maps[: len(KINDS)]))
    return maps


def _round_up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def boxes_of(maps: np.ndarray, kind: str, least: float, shape: tuple[int, int]) -> tuple[Box, ...]:
    """Read the boxes of a kind from the maps.

    Example: a middle of 0.9 at row 2, column 3 with distances of 6 pixels to all sides: x is
    (3 + 0.5) * 4 = 14, y is 10, so the box is 8, 4, 20, 16 with the score 0.9.

    Args:
        maps: `(7, h, w)`, as `maps_of` gives them.
        kind: one of `KINDS`.
        least: score of a box, 0 to 1.
        shape: height and width of the picture in pixels, into which boxes are cut.
    """
    scores = maps[KINDS.index(kind)]
    peaks = (scores == ndimage.maximum_filter(scores, 3)) & (scores >= least)
    boxes = []
    for row, column in np.argwhere(peaks).tolist():
        left, top, right, bottom = maps[len(KINDS) :, row, column].tolist()
        x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
        sides = max(0.0, x - left), max(0.0, y - top), x + right, y + bottom
        box = Box(
            sides[0],
            sides[1],
            min(float(shape[1]), sides[2]),
            min(float(shape[0]), sides[3]),
            score=float(scores[row, column]),
            label=kind,
        )
        if box.area > 0:
            boxes.append(box)
    return merge(boxes, OVERLAP)


DEFAULT = Path(__file__).parents[1] / "finders" / "default"
MODEL, DESCRIPTION = "model.onnx", "finder.json"


@dataclass(frozen=True)
class Finder:
    """A network and the score from which on it is believed."""

    network: Network
    """Densities `(3, H, W)` to maps `(7, H / 4, W / 4)`."""
    least_score: float
    """Of a nucleated cell."""


@lru_cache(maxsize=4)
def load_finder(folder: Path = DEFAULT, threads: int = 0) -> Finder:
    """Load a finder from its folder, and check that it is whole.

    Args:
        folder: holds `model.onnx` and `finder.json`.
        threads: of the processor; 0 for one a core.

    Raises:
        FieldError: a file is missing, was changed, or cannot be loaded.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        digest, least = str(description["model_sha256"]), float(description["least_score"])
        changed = file_hash(folder / MODEL) != digest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FieldError(f"{folder}: no finder that can be loaded ({error})") from None
    if changed:
        raise FieldError(
            f"{folder / MODEL} is not the model that {DESCRIPTION} describes; install it anew"
        )
    return Finder(load_network(folder / MODEL, threads), least)


def load_network(model: Path, threads: int = 0) -> Network:
    """Load an ONNX file as a network.

    Raises:
        FieldError: it cannot be loaded.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime raises a type of its own for each fault
        raise FieldError(f"{model} cannot be loaded: {error}") from None

    def run(densities: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {session.get_inputs()[0].name: densities[None]})[0][0])

    return run
