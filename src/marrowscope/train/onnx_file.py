"""Write a trained network as an ONNX file that needs nothing else: bytes in, reasons out."""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import nn

from marrowscope.errors import ExportError
from marrowscope.model.engines import CLASSES_KEY
from marrowscope.train.outputs import OUTPUTS

OPSET = 18
INPUT = "pixels"


def to_onnx(network: nn.Module, size: int, classes: Sequence[str], file: Path) -> None:
    """Write a network of pictures (N, 3, size, size) with a dynamic N, its classes as metadata.

    Raises:
        ExportError: torch gives no ONNX program, or the network has fewer tokens than patches.
    """
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about itself
        program = torch.onnx.export(
            network.eval(),
            (torch.zeros(2, 3, size, size, dtype=torch.uint8),),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    if program is None:
        raise ExportError("torch gave no ONNX program")
    model = program.model_proto
    strip(model)
    onnx.helper.set_model_props(model, {CLASSES_KEY: json.dumps(list(classes))})
    onnx.save(model, str(file))


def strip(model: onnx.ModelProto) -> None:
    """Take out what the exporter notes for its developers, paths of this machine among it."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
