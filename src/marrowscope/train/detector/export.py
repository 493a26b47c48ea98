"""Write a trained finder as ONNX, with what is known about it, and check that it does the same."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from marrowscope.detection.detector import DESCRIPTION, MODEL, load_network
from marrowscope.errors import ExportError
from marrowscope.io.hashes import file_hash
from marrowscope.io.tables import write_json
from marrowscope.train.detector.network import FinderNet
from marrowscope.train.onnx_export import OPSET, strip

INPUT, OUTPUT = "densities", "maps"
TOLERANCE = 1e-3
"""Of the maps: logits, and distances in pixels."""


def export_finder(network: FinderNet, folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `model.onnx`, and what is known of it as `finder.json`, into a folder that is there.

    Raises:
        ExportError: torch gives no ONNX program, or ONNX Runtime other maps than torch.
        FieldError: ONNX Runtime cannot load the model.
    """
    _to_onnx(network.eval(), folder / MODEL)
    _check(network, folder / MODEL)
    write_json(folder / DESCRIPTION, {"model_sha256": file_hash(folder / MODEL), **facts})


def _to_onnx(network: FinderNet, file: Path) -> None:
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    tall, wide = (torch.export.Dim(name, min=1, max=1024) * 16 for name in ("tall", "wide"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about itself
        program = torch.onnx.export(
            network,
            (torch.zeros(1, 3, 64, 96),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({2: tall, 3: wide},),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch gave no ONNX program")
    model = program.model_proto
    strip(model)
    onnx.save(model, str(file))


def _check(network: FinderNet, file: Path) -> None:
    run = load_network(file, threads=1)
    random = np.random.default_rng(0)
    for shape in ((3, 48, 80), (3, 112, 64)):
        picture = random.uniform(0, 1, shape).astype(np.float32)
        with torch.no_grad():
            ours = network(torch.from_numpy(picture)[None])[0].numpy()
        apart = float(np.abs(ours - run(picture)).max())
        if apart > TOLERANCE:
            raise ExportError(f"ONNX Runtime and torch differ by {apart:.2g} on {shape}")
