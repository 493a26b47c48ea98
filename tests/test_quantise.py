"""Fewer bits: smaller files, nearly the same predictions, in every engine."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import SAMPLES

from marrowscope.data.manifest import Manifest
from marrowscope.inference.backends import CLASSES_KEY, Pixels
from marrowscope.inference.predictor import Predictor
from marrowscope.io.images import read_image
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.train.export import export
from marrowscope.train.fit import Trained
from marrowscope.train.quantise import to_fp16, to_int8, to_int8_weights
from marrowscope.train.run import read_run


@pytest.fixture
def pixels(toy_bundle: Bundle) -> Pixels:
    files = sorted((SAMPLES / "cells/mll").rglob("*.jpg"))[::4]
    return np.stack([toy_bundle.preprocessing.resize(read_image(file)) for file in files])


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("precision", "size", "limit"),
    [("int8-weights", 0.65, 0.02), ("fp16", 0.65, 0.005), ("int8", 0.8, 0.05)],
)
def test_fewer_bits_shrink_the_file_and_hardly_move_the_figures(
    toy_bundle: Bundle, pixels: Pixels, engine: str, precision: str, size: float, limit: float
) -> None:
    before = Predictor(toy_bundle, 1).probabilities(pixels)
    was = toy_bundle.model_file.stat().st_size
    if precision == "int8":
        to_int8(toy_bundle.model_file, pixels)
    else:
        {"fp16": to_fp16, "int8-weights": to_int8_weights}[precision](toy_bundle.model_file)
    after = Predictor(toy_bundle, 1, engine).probabilities(pixels)
    assert toy_bundle.model_file.stat().st_size < size * was
    assert 0 < np.abs(before - after).max() < limit


def test_kernels_are_stored_in_eight_bits_with_a_scale_for_each_channel(
    toy_bundle: Bundle, pixels: Pixels
) -> None:
    model = onnx.load(str(toy_bundle.model_file))
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    kernel = next(each for each in model.graph.initializer if each.name == conv.input[1])
    values = onnx.numpy_helper.to_array(kernel).copy()
    values[0] = 0
    values[1] *= 100
    kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
    onnx.save(model, str(toy_bundle.model_file))
    to_int8_weights(toy_bundle.model_file)
    graph = onnx.load(str(toy_bundle.model_file)).graph
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    maker = {output: node for node in graph.node for output in node.output}
    floats, steps_name = maker[kernel.name].input
    whole, steps = stored[maker[floats].input[0]], stored[steps_name]
    assert maker[kernel.name].op_type == "Div"
    assert kernel.name not in stored
    assert whole.dtype == np.int8
    assert whole.shape == values.shape
    back = whole / steps
    half_a_step = np.abs(values).max(axis=(1, 2, 3)) / 127 / 2
    assert (np.abs(back - values).max(axis=(1, 2, 3)) <= half_a_step * 1.001).all()
    assert (back[0] == 0).all()
    assert np.isfinite(Predictor(toy_bundle, 1).logits(pixels)).all()


@pytest.mark.parametrize("in_float", [0, 3])
def test_eight_bit_products_leave_out_the_first_and_the_last_layer(
    toy_bundle: Bundle, pixels: Pixels, in_float: int
) -> None:
    to_int8(toy_bundle.model_file, pixels, in_float)
    graph = onnx.load(str(toy_bundle.model_file)).graph
    kind_of = {output: node.op_type for node in graph.node for output in node.output}
    in_8_bits = {
        kind: [
            all(kind_of.get(name) == "DequantizeLinear" for name in node.input[:2])
            for node in graph.node
            if node.op_type == kind
        ]
        for kind in ("Conv", "Gemm", "MatMul")
    }
    assert not any(in_8_bits["Conv"] + in_8_bits["Gemm"])
    blocks, products_of_a_block = 2, 6  # query, key, value, projection, and two of the MLP
    assert sum(in_8_bits["MatMul"]) == blocks * products_of_a_block - in_float


def test_the_products_with_the_farthest_outliers_stay_in_float(
    toy_bundle: Bundle, pixels: Pixels
) -> None:
    model = onnx.load(str(toy_bundle.model_file))
    stored = {weight.name: weight for weight in model.graph.initializer}
    products = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in stored]
    widening, narrowing, _ = products[-3:]  # the MLP of the last block; the last layer
    added = next(n for n in model.graph.node if widening.output[0] in n.input)
    name = next(each for each in added.input if each in stored)
    bias = onnx.numpy_helper.to_array(stored[name]).copy()
    bias[0] = 1e3
    stored[name].CopyFrom(onnx.numpy_helper.from_array(bias, name))
    onnx.save(model, str(toy_bundle.model_file))
    to_int8(toy_bundle.model_file, pixels, 1)
    graph = onnx.load(str(toy_bundle.model_file)).graph
    quantised = {out for n in graph.node if n.op_type == "DequantizeLinear" for out in n.output}
    kept = [n for n in graph.node if n.op_type == "MatMul" and n.input[1] not in quantised]
    assert narrowing.name in {n.name for n in kept}
    assert widening.name not in {n.name for n in kept}


@pytest.mark.parametrize("precision", ["int8", "int8-weights", "fp16"])
def test_a_bundle_of_each_precision_says_how_well_each_engine_agrees(
    toy_run: Trained, manifest: Manifest, tmp_path: Path, precision: str
) -> None:
    export(read_run(toy_run.folder), manifest, tmp_path / "b", "toy", precision=precision)
    bundle = load_bundle(str(tmp_path / "b"))
    assert bundle.precision == precision
    agreement = bundle.origin["agreement"]
    for engine in ("onnxruntime", "openvino"):
        words = f"{engine}: {precision} against fp32 on 16 validation cells: same class for"
        assert any(line.startswith(words) for line in agreement)
    stored = onnx.load(str(bundle.model_file)).metadata_props
    assert CLASSES_KEY in {each.key for each in stored}


def test_with_every_product_in_float_nothing_is_rounded(toy_bundle: Bundle, pixels: Pixels) -> None:
    before = Predictor(toy_bundle, 1).logits(pixels)
    to_int8(toy_bundle.model_file, pixels, in_float=1000)
    assert np.abs(Predictor(toy_bundle, 1).logits(pixels) - before).max() < 1e-4
