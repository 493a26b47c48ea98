"""Turn a bundle back into a run folder, so that it can be exported or trained on.

The weights are read back from the ONNX file, with the names of `transformers`: of a DINOv2 those of
8 bits, each within half a step of what was trained, of a MobileNetV2 the floats. They are run
against the bundle on real cells; the folder is written only if both agree. Of a bundle in which
several networks answer together, the first is given back. With the split that the bundle learnt
from, the folder is a run, that `export` takes too; without, it is a network to train on.

    python tools/run_from_bundle.py bundles/fast-1.0 samples/cells.csv runs/fast-1.0
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.helper import make_tensor_value_info
from onnx.numpy_helper import to_array
from onnxruntime import InferenceSession
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    PreTrainedModel,
)

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.split import Split, read_split
from marrowscope.io.images import read_image
from marrowscope.io.tables import write_json
from marrowscope.locations import within
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.train.onnx_export import INPUT
from marrowscope.train.run import ENVIRONMENT, finish_run, start_run
from marrowscope.train.settings import settings_from

NETWORK, FIRST = "network.", "networks.0."
"""How the names of a network's tensors begin, and of the first of several before that."""
ROUNDING = ("QuantizeLinear", "DequantizeLinear")
EPSILON = 1e-5
"""What the normalisation of MobileNetV2 adds to a variance."""
LEAST_AGREEMENT = 0.95
CELLS = 64
"""Cells on which the network and the bundle are compared."""
Weights = dict[str, NDArray[np.float32]]


def float_weights(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    """Give every stored tensor as floats: 8-bit ones times their scales."""
    stored = {each.name: to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in stored:
            whole, scales = (stored[name] for name in node.input[:2])
            stored[node.output[0]] = (whole * scales).astype(np.float32)
    return stored


def named_weights(model: onnx.ModelProto) -> Weights:
    """Give the tensors of the network by the names of `transformers`.

    The matrices of linear layers have lost theirs; each is found through the bias added to it.
    """
    stored = float_weights(model)
    own = FIRST if any(name.startswith(FIRST) for name in stored) else ""
    prefix = own + NETWORK
    weights = {
        name.removeprefix(prefix): value
        for name, value in stored.items()
        if name.startswith(prefix)
    }
    maker = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        bias = next(
            (name for name in node.input if name.startswith(prefix) and name.endswith(".bias")), ""
        )
        makers = [_maker(name, maker) for name in node.input]
        product = next((maker for maker in makers if maker and maker.op_type == "MatMul"), None)
        if node.op_type == "Add" and bias and product is not None:
            name = bias.removeprefix(prefix).removesuffix(".bias") + ".weight"
            weights[name] = stored[product.input[1]].T
    for part in ("weight", "bias"):
        weights[f"classifier.{part}"] = stored[f"{own}_last.{part}"]
    weights["dinov2.embeddings.position_embeddings"] = next(
        value for value in stored.values() if value.ndim == 3 and value.shape[1] > 1
    )
    return weights


def _maker(name: str, maker: dict[str, onnx.NodeProto]) -> onnx.NodeProto | None:
    """Give what a value comes from, before it was rounded to 8 bits and back."""
    node = maker.get(name)
    while node is not None and node.op_type in ROUNDING:
        node = maker.get(node.input[0])
    return node


def network_of(bundle: Bundle) -> PreTrainedModel:
    """Rebuild the network of a bundle; a missing or surplus tensor is an error."""
    model = onnx.load(str(bundle.model_file))
    names = [tensor.name for tensor in model.graph.initializer]
    mobilenet = any(name.startswith(f"{NETWORK}mobilenet_v2.") for name in names)
    network = (_mobilenet if mobilenet else _dinov2)(bundle, model)
    network.train(mode=False)
    return network


def _mobilenet(bundle: Bundle, model: onnx.ModelProto) -> MobileNetV2ForImageClassification:
    """Rebuild a MobileNetV2 whose normalisation went into the convolutions: now it only shifts."""
    config = MobileNetV2Config(
        tf_padding=False, layer_norm_eps=EPSILON, classifier_dropout_prob=0.2, **_labels(bundle)
    )
    network = MobileNetV2ForImageClassification(config)
    stored = float_weights(model)
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for name, value in weights.items():
        convolution = NETWORK + name.rsplit(".", 2)[0] + ".convolution.weight"
        if name.endswith("convolution.weight"):
            weights[name] = stored[NETWORK + name]
        elif name.endswith("normalization.bias"):
            weights[name] = stored[f"{convolution}_bias"]
        elif name.endswith("running_var"):
            weights[name] = np.full_like(value, 1 - EPSILON)
    for part in ("weight", "bias"):
        weights[f"classifier.{part}"] = stored[f"_last.{part}"]
    _load(network, weights)
    return network


def _labels(bundle: Bundle) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(bundle.classes)),
        "label2id": {code: index for index, code in enumerate(bundle.classes)},
    }


def _load(network: PreTrainedModel, weights: Mapping[str, NDArray[Any]]) -> None:
    network.load_state_dict(
        {name: torch.from_numpy(np.array(value, order="C")) for name, value in weights.items()}
    )


def _dinov2(bundle: Bundle, model: onnx.ModelProto) -> Dinov2ForImageClassification:
    weights = named_weights(model)
    width = weights["dinov2.layernorm.weight"].shape[0]
    layers = sum(name.endswith("norm1.weight") for name in weights)
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        image_size=bundle.preprocessing.size,
        **_labels(bundle),
    )
    weights["dinov2.embeddings.mask_token"] = np.zeros((1, width), dtype=np.float32)
    network = Dinov2ForImageClassification(config)
    _load(network, weights)
    return network


def agreement(
    network: PreTrainedModel, bundle: Bundle, manifest: Manifest, least: int = CELLS
) -> tuple[float, int]:
    """Give the share of at least so many cells that both name alike, and their number.

    Of a bundle of several networks, the logits of the first are compared.
    """
    cells = manifest.cells[:: max(1, len(manifest.cells) // least)]
    prepare = bundle.preprocessing
    pixels = np.stack(
        [
            prepare.resize(read_image(within(manifest.root, cell.path)), cell.um_per_px)
            for cell in cells
        ]
    )
    theirs = first_logits(onnx.load(str(bundle.model_file)), pixels)
    with torch.inference_mode():
        ours = network(pixel_values=torch.from_numpy(prepare.normalise(pixels))).logits.numpy()
    return float((ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()), len(cells)


def first_logits(model: onnx.ModelProto, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Give the logits (N, C) of the one network of a model, or of the first of several."""
    ends = ("_last.weight", f"{FIRST}_last.weight")
    last = next(node for node in model.graph.node if any(name in ends for name in node.input))
    output = make_tensor_value_info(last.output[0], TensorProto.FLOAT, None)
    if output.name not in [each.name for each in model.graph.output]:
        model.graph.output.append(output)
    session = InferenceSession(model.SerializeToString())
    return np.asarray(session.run([output.name], {INPUT: pixels})[0])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", help="a name or a folder")
    parser.add_argument("cells", type=Path, help="manifest of the cells to compare on")
    parser.add_argument("folder", type=Path, help="to write")
    parser.add_argument("--split", type=Path, help="folder of `marrowscope data split`")
    options = parser.parse_args(arguments)

    bundle = load_bundle(options.bundle)
    split = read_split(options.split) if options.split else None
    if split is not None and split.hash != bundle.split_hash:
        raise SystemExit(f"{options.split}: not the split of {bundle.name} ({bundle.split_hash})")
    network = network_of(bundle)
    share, cells = agreement(network, bundle, read_manifest(options.cells))
    if share < LEAST_AGREEMENT:
        raise SystemExit(f"the rebuilt network agrees on {share:.1%} of {cells}; nothing written")
    if split is None:
        network.save_pretrained(options.folder)
    else:
        _write_run(bundle, split, network, options.folder)
    print(f"{options.folder}: sees in {share:.1%} of {cells} cells what {bundle.name} sees")


def _write_run(bundle: Bundle, split: Split, network: PreTrainedModel, folder: Path) -> None:
    settings = replace(
        settings_from(bundle.origin["settings"]),
        classes=bundle.classes,
        preprocessing=bundle.preprocessing,
    )
    start_run(folder, settings, bundle.classes, bundle.left_out, split)
    write_json(folder / ENVIRONMENT, bundle.origin["environment"])
    finish_run(folder, network, [])


if __name__ == "__main__":
    main()
