"""Make an exported model smaller and faster: 8-bit products, 8-bit weights, or 16-bit floats."""

import logging
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto
from onnx.helper import make_node, make_tensor_value_info
from onnx.numpy_helper import from_array, to_array
from onnxruntime import InferenceSession
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers.float16 import convert_float_to_float16

from marrowscope.train.onnx_export import INPUT

WEIGHTS_BLOCK = 32
AT_ONCE = 16
"""Calibration cells in a batch."""
PROBED_CELLS = 16
"""Calibration cells in which outliers are looked for."""
TINY = 1e-12
LARGEST_INT8 = 127
COLOURS = 3
PRODUCTS = ("MatMul", "Gemm", "Conv")
ONE_SIDED = ("Relu", "Gelu")
"""Functions whose values lie on one side of zero, or nearly."""
GELU_IN_PARTS = ("Mul", "Erf")
"""GELU as the exporter writes it: a product at the end of a chain with the error function."""
BESIDE = re.compile(r"networks\.[1-9]")
"""How the weights of the second and further networks of `Together` begin."""


def to_int8(file: Path, cells: NDArray[np.uint8], in_float: int = 0) -> None:
    """Turn products of activations and weights into 8-bit ones, scaled by real cells (N, 3, S, S).

    Signed and symmetric, which processors multiply fastest; what comes from ReLU or GELU lies on
    one side of zero and is unsigned. The first layer, which sees the picture, the last, which
    names the class, the `in_float` products with the farthest outliers, and products of two
    activations (attention) stay in float, as do norms and sums. So do the convolutions of networks
    that answer beside the first: they are small, and those of MobileNetV2 take 8 bits badly; only
    their weights are stored in 8 bits.
    """
    with tempfile.TemporaryDirectory() as temporary, _quiet():
        prepared = Path(temporary) / "prepared.onnx"
        quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        model = onnx.load(str(prepared))
        graph = model.graph
        products = _with_weights(graph)
        kernels = {node.input[1] for node in products if _is_kernel_beside(node)}
        products = [node for node in products if node.input[1] not in kernels]
        outlying = _outlying(model, products, cells, in_float) if in_float else set()
        chosen = [node for node in products if node.name not in outlying]
        if chosen:
            _quantise(prepared, file, cells, chosen, _unsigned(graph, chosen))
        else:  # an empty list means every node to the quantiser
            shutil.copyfile(prepared, file)
    if kernels:
        smaller = onnx.load(str(file))
        _store_in_8_bits(smaller.graph, kernels)
        onnx.save(smaller, str(file))


def _quantise(
    prepared: Path,
    file: Path,
    cells: NDArray[np.uint8],
    chosen: list[NodeProto],
    overrides: dict[str, list[dict[str, object]]],
) -> None:
    """Write the model with these products in 8 bits, as QDQ."""
    quantize_static(
        str(prepared),
        str(file),
        _Cells(cells),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_quantize=[node.name for node in chosen],
        op_types_to_quantize=list(PRODUCTS),
        extra_options={
            "ActivationSymmetric": True,
            "QuantizeBias": False,
            "TensorQuantOverrides": overrides,
        },
    )


def to_int8_weights(file: Path) -> None:
    """Store the weights of a float model in 8 bits; sums stay in float.

    Of matrices 32 values have a scale in common, of convolutions all those of an output channel.
    The activations are not quantised, so every processor gives the same predictions.
    """
    quantiser = MatMulNBitsQuantizer(
        onnx.load(str(file)), bits=8, block_size=WEIGHTS_BLOCK, is_symmetric=True
    )
    quantiser.process()
    model: ModelProto = quantiser.model.model
    kernels = {node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    _store_in_8_bits(model.graph, kernels)
    onnx.save(model, str(file))


def _is_kernel_beside(node: NodeProto) -> bool:
    """Tell whether a product is a convolution of a network that answers beside the first."""
    return node.op_type == "Conv" and BESIDE.match(node.input[1]) is not None


def _store_in_8_bits(graph: GraphProto, kernels: set[str]) -> None:
    """Store the weights of these names, as far as the graph holds them, in 8 bits."""
    for kernel in [stored for stored in graph.initializer if stored.name in kernels]:
        _round(graph, kernel)


def _round(graph: GraphProto, kernel: TensorProto) -> None:
    """Put whole numbers, divided by the steps to one, in place of a kernel (C, ...).

    An output channel of the values 0.5 and -1 is stored as 64 and -127, with 127 steps to one. It
    is written as a division: OpenVINO 2026.4 with two streams gives wrong sums for convolutions
    whose weights are a DequantizeLinear or a product, while it divides before it starts.
    """
    values = to_array(kernel)
    largest = np.abs(values.reshape(len(values), -1)).max(axis=1)
    steps = (LARGEST_INT8 / np.maximum(largest, TINY)).astype(np.float32)
    steps = steps.reshape(-1, *[1] * (values.ndim - 1))
    whole = np.rint(values * steps).astype(np.int8)
    names = [f"{kernel.name}_{part}" for part in ("whole", "steps", "float")]
    graph.initializer.remove(kernel)
    graph.initializer.extend(map(from_array, (whole, steps), names))
    graph.node.insert(0, make_node("Div", [names[2], names[1]], [kernel.name]))
    graph.node.insert(0, make_node("Cast", names[:1], names[2:], to=TensorProto.FLOAT))


def to_fp16(file: Path) -> None:
    """Store and compute in 16-bit floats, for GPUs; inputs and outputs stay as they are."""
    model: ModelProto = convert_float_to_float16(onnx.load(str(file)), keep_io_types=True)
    onnx.save(model, str(file))


class _Cells(CalibrationDataReader):  # type: ignore[misc]
    """Hands cells to the calibration in batches."""

    def __init__(self, cells: NDArray[np.uint8]) -> None:
        self._batches = iter(
            cells[start : start + AT_ONCE] for start in range(0, len(cells), AT_ONCE)
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _with_weights(graph: GraphProto) -> list[NodeProto]:
    """Give the products of an activation and a stored weight, without first and last layers."""
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    products = [node for node in graph.node if node.op_type in PRODUCTS and node.input[1] in shapes]
    return [
        node
        for node in products
        if not _sees_picture(node, shapes) and classes not in shapes[node.input[1]]
    ]


def _sees_picture(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether a convolution reads the three colours."""
    return node.op_type == "Conv" and shapes[node.input[1]][1] == COLOURS


def _outlying(
    model: ModelProto, products: list[NodeProto], cells: NDArray[np.uint8], number: int
) -> set[str]:
    """Name the products whose input goes farthest beyond its spread.

    A scale that must reach an outlier of 40 times the root mean square leaves 3 steps to the rest.
    """
    names = list(dict.fromkeys(node.input[0] for node in products))
    probe = ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(
        make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    session = InferenceSession(probe.SerializeToString())
    highest, squares = np.zeros(len(names)), np.zeros(len(names))
    for cell in cells[:PROBED_CELLS]:
        values = session.run(names, {INPUT: cell[None]})
        highest = np.maximum(highest, [np.abs(value).max() for value in values])
        squares += [np.square(value).mean() for value in values]
    spread = np.sqrt(squares / min(PROBED_CELLS, len(cells)))
    reach = dict(zip(names, highest / np.maximum(spread, TINY), strict=True))
    farthest = sorted(products, key=lambda node: reach[node.input[0]], reverse=True)
    return {node.name for node in farthest[:number]}


def _unsigned(graph: GraphProto, products: list[NodeProto]) -> dict[str, list[dict[str, object]]]:
    """Ask for unsigned numbers where an input lies on one side of zero."""
    maker = {output: node for node in graph.node for output in node.output}
    zeros = {value.name for value in graph.initializer if not value.dims and to_array(value) == 0}
    one_sided = {
        node.input[0]
        for node in products
        if _is_one_sided(maker.get(node.input[0]), maker)
        or _is_cut_at_zero(maker.get(node.input[0]), zeros)
    }
    return {name: [{"quant_type": QuantType.QUInt8, "symmetric": False}] for name in one_sided}


def _is_one_sided(node: NodeProto | None, maker: dict[str, NodeProto]) -> bool:
    if node is None or node.op_type in ONE_SIDED:
        return node is not None
    last, inner = GELU_IN_PARTS
    return node.op_type == last and _stems_from(node, inner, maker, depth=3)


def _is_cut_at_zero(node: NodeProto | None, zeros: set[str]) -> bool:
    """Tell whether a function is a ReLU6, as the exporter writes it."""
    return node is not None and node.op_type == "Clip" and node.input[1] in zeros


def _stems_from(node: NodeProto, kind: str, maker: dict[str, NodeProto], depth: int) -> bool:
    if node.op_type == kind:
        return True
    makers = (maker[name] for name in node.input if name in maker)
    return depth > 0 and any(_stems_from(above, kind, maker, depth - 1) for above in makers)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice, which is for its developers, from the screen."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(level)
