"""Cells a second from JPEG files to written predictions, against a transformers pipeline.

python benchmarks/inference.py CELLS_CSV --model resnet50=runs/resnet50 --model vit-base=random \
    --model dinov2-small=runs/first --size 224

A model is a folder that transformers wrote, or `random` for a name of the table with random
weights. Each variant lives in a process of its own, and they take turns, so that a busy moment
meets all. The pipeline has the same weights, files and threads, once as it is and once with an
allocator that keeps its memory. The peak is what a matrix product of 2,048 x 2,048 reaches at the
same precision in the fastest engine.
"""

import argparse
import csv
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

THREADS, BATCH = 2, 32
KEEP = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "268435456",
}
PIPELINE, PIPELINE_KEEPING = "pipeline", "pipeline, memory kept"
OURS = [
    (engine, precision) for engine in ("onnxruntime", "openvino") for precision in ("fp32", "int8")
]
SIDE = 2048


def bundles(name: str, given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Export a network in fp32 and int8; give the bundles and the operations for a picture."""
    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers.utils import logging

    from marrowscope.io.images import read_image
    from marrowscope.model.bundle import Bundle
    from marrowscope.train.ensemble import answering
    from marrowscope.train.export import CALIBRATION_CELLS
    from marrowscope.train.models import MODELS, load_network
    from marrowscope.train.onnx_export import to_onnx
    from marrowscope.train.quantise import to_int8

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.manual_seed(0)
    source = dict(text.split("=", 1) for text in given.model)[name]
    classes = tuple(given.classes.split(","))
    network = load_network(
        name if source == "random" else source, classes, pretrained=source != "random"
    ).eval()
    network.save_pretrained(folder / name)
    preprocessing = replace(MODELS[name].preprocessing, size=given.size)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, given.size, given.size))
    made: dict[str, Any] = {"operations": counter.get_total_flops()}
    run: Any = SimpleNamespace(network=network, preprocessing=preprocessing, classes=classes)
    for precision in ("fp32", "int8"):
        home = folder / f"{name}-{precision}"
        home.mkdir()
        bundle = Bundle(
            folder=home,
            name=name,
            classes=classes,
            left_out={},
            preprocessing=preprocessing,
            model_sha256="",
            precision=precision,
            split_hash="",
            licence="",
            origin={},
        )
        to_onnx(answering([run]), preprocessing.size, classes, bundle.model_file)
        if precision == "int8":
            cells = files_of(given, "train")[:CALIBRATION_CELLS]
            pixels = np.stack([preprocessing.resize(read_image(file)) for file in cells])
            to_int8(bundle.model_file, pixels, given.in_float)
        made[precision] = bundle
    return made


def files_of(given: argparse.Namespace, part: str) -> list[Path]:
    """Give cells spread over the classes: some to measure with, others to scale int8 with."""
    with given.cells_csv.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in given.classes.split(",")]
    every = max(1, len(rows) // (2 * given.cells))
    start = 0 if part == "test" else every // 2
    return [given.cells_csv.parent / row["path"] for row in rows[start::every]][: given.cells]


def by_pipeline(
    name: str, given: argparse.Namespace, folder: Path
) -> Callable[[list[Path]], list[str]]:
    import torch
    from transformers import AutoModelForImageClassification, BitImageProcessorPil, pipeline
    from transformers.utils import logging

    from marrowscope.train.models import MODELS

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(THREADS)
    own = MODELS[name].preprocessing
    side = {"height": given.size, "width": given.size}
    processor = BitImageProcessorPil(
        size=side,
        do_center_crop=False,
        resample={"bilinear": 2, "bicubic": 3}[own.resample],
        image_mean=own.mean,
        image_std=own.std,
    )
    network = AutoModelForImageClassification.from_pretrained(folder / name)
    classify = pipeline("image-classification", model=network, image_processor=processor)

    def run(files: list[Path]) -> list[str]:
        found = classify([str(file) for file in files], batch_size=BATCH, top_k=1)
        return [best["label"] for (best,) in found]

    return run


def by_us(bundle: Any, engine: str) -> Callable[[list[Path]], list[str]]:
    from marrowscope.inference.predictor import Predictor
    from marrowscope.types import Picture, Prediction

    predictor = Predictor(bundle, THREADS, engine)

    def run(files: list[Path]) -> list[str]:
        outcomes = predictor.classify(map(Picture, files))
        return [outcome.label for outcome in outcomes if isinstance(outcome, Prediction)]

    return run


def live(variant: Any, name: str, given: Any, folder: Path, made: Any, pipe: Connection) -> None:
    """Classify the cells whenever asked, write the predictions, and report the seconds."""
    if isinstance(variant, str):
        run = by_pipeline(name, given, folder)
    else:
        run = by_us(made[variant[1]], variant[0])
    files = files_of(given, "test")
    run(files[:BATCH])
    pipe.send(None)
    with tempfile.TemporaryDirectory() as home:
        while pipe.recv():
            start, cpu = time.perf_counter(), time.process_time()
            labels = run(files)
            with (Path(home) / "predictions.csv").open("w", newline="") as file:
                csv.writer(file).writerows(zip(files, labels, strict=True))
            pipe.send((time.perf_counter() - start, time.process_time() - cpu, labels))


def measure(name: str, given: argparse.Namespace, folder: Path) -> None:
    made = bundles(name, given, folder)
    context = multiprocessing.get_context("spawn")
    variants = [PIPELINE, PIPELINE_KEEPING, *OURS]
    pipes, processes = {}, []
    for variant in variants:
        pipes[variant], theirs = context.Pipe()
        arguments = (variant, name, given, folder, made, theirs)
        processes.append(context.Process(target=live, args=arguments, daemon=True))
        os.environ |= KEEP if variant == PIPELINE_KEEPING else {}
        processes[-1].start()
        for key in KEEP:
            os.environ.pop(key, None)
        pipes[variant].recv()
    turns: dict[Any, list[Any]] = {variant: [] for variant in variants}
    for _ in range(given.turns):
        for variant, pipe in pipes.items():
            pipe.send(True)
            turns[variant].append(pipe.recv())
    for process in processes:
        process.terminate()
        process.join()
    print(f"\n{name}: {made['operations'] / 1e9:.1f} billion operations for a picture")
    peak = {"fp32": peak_of(folder, "fp32"), "int8": peak_of(folder, "int8")}
    reference = turns[PIPELINE][0][2]
    for variant in variants:
        rates = [len(labels) / wall for wall, _, labels in turns[variant]]
        ratios = [
            [a[0] / b[0] for a, b in zip(turns[base], turns[variant], strict=True)]
            for base in (PIPELINE, PIPELINE_KEEPING)
        ]
        labels = turns[variant][0][2]
        same = sum(a == b for a, b in zip(labels, reference, strict=True)) / len(reference)
        precision = "fp32" if isinstance(variant, str) else variant[1]
        share = max(rates) * made["operations"] / peak[precision]
        words = variant if isinstance(variant, str) else " ".join(variant)
        print(
            f"{words:24s} {median(rates):7.1f}/s ({min(rates):.1f} to {max(rates):.1f}), "
            f"{median(ratios[0]):5.2f} and {median(ratios[1]):5.2f} times the pipelines, "
            f"top-1 as the pipeline {same:.2%}, {share:.0%} of the {precision} peak",
            flush=True,
        )


def peak_of(folder: Path, precision: str) -> float:
    """Operations a second of one large product with a stored matrix, by the fastest engine."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weight = random.standard_normal((SIDE, SIDE), dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    stored = [numpy_helper.from_array(weight, "w")]
    if precision == "int8":
        stored = [
            numpy_helper.from_array((weight * 30).clip(-127, 127).astype(np.int8), "w8"),
            numpy_helper.from_array(np.array(1 / 30, np.float32), "scale"),
            numpy_helper.from_array(np.array(0, np.int8), "zero"),
        ]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x8"]),
            helper.make_node("DequantizeLinear", ["x8", "scale", "zero"], ["xf"]),
            helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["wf"]),
            helper.make_node("MatMul", ["xf", "wf"], ["y"]),
        ]
    shape = [SIDE, SIDE]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        stored,
    )
    file = folder / f"product-{precision}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), str(file))
    x = random.standard_normal((SIDE, SIDE), dtype=np.float32)
    return max(2 * SIDE**3 / seconds for seconds in (ort_seconds(file, x), ov_seconds(file, x)))


def best(call: Callable[[], object]) -> float:
    times = []
    for _ in range(8):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def ort_seconds(file: Path, x: Any) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(file, options)
    return best(lambda: session.run(None, {"x": x}))


def ov_seconds(file: Path, x: Any) -> float:
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
    compiled = openvino.Core().compile_model(file, "CPU", settings)
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(x, shared_memory=True))
    return best(request.infer)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells_csv", type=Path)
    parser.add_argument("--model", action="append", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--classes", default="BLA,PMO,NGS,EOS,MON,LYT,ART,NIF")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--cells", type=int, default=192)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument(
        "--in-float", type=int, default=0, help="products that int8 keeps in float, as in the card"
    )
    given = parser.parse_args()
    for text in given.model:
        with tempfile.TemporaryDirectory() as folder:
            measure(text.split("=", 1)[0], given, Path(folder))


if __name__ == "__main__":
    main()
