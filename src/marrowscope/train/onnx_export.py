"""What an exported network gives: logits, the embedding behind them, where a class is seen."""

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from marrowscope.errors import ExportError
from marrowscope.inference.backends import CLASSES_KEY
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.models import is_head

OUTPUTS = ("logits", "embedding", "activation")


class Explained(nn.Module):
    """A network with its preprocessing in front, and its reasons behind.

    Takes pictures (N, 3, S, S) uint8. Gives logits (N, C), the embedding (N, D) that the last layer
    reads, and the activation (N, C, H, W): what each place of the last feature map would add to
    the class, so that heatmaps need neither gradients nor torch. Where the network averages its
    places (ResNet, the patch half of DINOv2), that is the class activation map. A ViT reads its
    class token alone; its patch tokens are then read by the same layer, which is a likeness.

    Source: Zhou et al., CVPR 2016, 2921.
    """

    def __init__(self, network: PreTrainedModel, preprocessing: Preprocessing) -> None:
        """Take over a network.

        Raises:
            ExportError: its last layer cannot be found.
        """
        super().__init__()
        self.network = network
        self._size = preprocessing.size
        self._last = last_layer(network)
        mean, std = map(torch.from_numpy, preprocessing.in_levels())
        self.register_buffer("mean", mean)
        self.register_buffer("factor", 1 / std)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score pictures.

        Raises:
            ExportError: the network has fewer tokens than patches.
        """
        normalised = (pixels.float() - cast("Tensor", self.mean)) * cast("Tensor", self.factor)
        outputs: dict[str, Any] = {}
        hooks = [
            self.network.base_model.register_forward_hook(
                lambda _, __, output: outputs.update(features=output.last_hidden_state)
            ),
            self._last.register_forward_hook(
                lambda _, inputs, __: outputs.update(embedding=inputs[0])
            ),
        ]
        logits = self.network(pixel_values=normalised).logits
        for hook in hooks:
            hook.remove()
        embedding = outputs["embedding"]
        return logits, embedding, self._activation(outputs["features"], embedding.shape[-1])

    def _activation(self, features: Tensor, width: int) -> Tensor:
        """Read each place (N, T, D) or (N, D, H, W) as the last layer reads the embedding."""
        weight = self._last.weight
        if features.ndim == 4:
            places = features.flatten(2).transpose(1, 2)
            high, wide = features.shape[2:]
            norm = getattr(self.network.base_model, "layernorm", None)
            places = places if norm is None else norm(places)
        else:
            high = wide = self._side_of(features.shape[1])
            places = features[:, -high * wide :]
        if width == 2 * places.shape[-1]:
            weight = weight[:, places.shape[-1] :]
        scores = (places @ weight.T).transpose(1, 2)
        return scores.reshape(*scores.shape[:2], high, wide)

    def _side_of(self, tokens: int) -> int:
        patch = self.network.config.patch_size
        side = self._size // int(patch)
        if side * side > tokens:
            raise ExportError(f"{tokens} tokens for {side} x {side} patches")
        return side


def last_layer(network: PreTrainedModel) -> nn.Linear:
    """Give the layer that makes the logits of the embedding.

    Raises:
        ExportError: the network has not exactly one linear layer at its end.
    """
    layers = [
        module
        for name, module in network.named_modules()
        if is_head(name) and isinstance(module, nn.Linear)
    ]
    if len(layers) != 1:
        raise ExportError(
            f"{type(network).__name__} has {len(layers)} last layers; one linear layer is needed"
        )
    return layers[0]


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
