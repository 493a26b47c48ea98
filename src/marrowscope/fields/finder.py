"""The shipped network that finds cells, and what is known about it."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from marrowscope.errors import FieldError
from marrowscope.fields.detector import Network
from marrowscope.files.hashes import file_hash

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
        known = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        digest, least = str(known["model_sha256"]), float(known["least_score"])
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
