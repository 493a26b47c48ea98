"""Runs that answer together: the mean of their logits, from one exported file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from conftest import SAMPLES
from transformers import ResNetConfig, ResNetForImageClassification

from marrowscope.data.manifest import Manifest
from marrowscope.errors import ExportError
from marrowscope.inference.predictor import Predictor, softmax
from marrowscope.io.images import read_image
from marrowscope.train.export import export
from marrowscope.train.fit import Trained
from marrowscope.train.quantise import to_int8_weights
from marrowscope.train.run import Run, read_run


@pytest.fixture(scope="module")
def first(toy_run: Trained) -> Run:
    return read_run(toy_run.folder)


@pytest.fixture(scope="module")
def second(first: Run) -> Run:
    """A convolutional network of random weights that sees half as many pixels a side."""
    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 24], depths=[1, 1])
    config.update({"num_labels": len(first.classes)})
    network = ResNetForImageClassification(config)
    torch.nn.init.normal_(
        network.get_parameter("classifier.1.weight"), std=2
    )  # so that it is sure of something
    half = replace(
        first.preprocessing, size=first.preprocessing.size // 2, mean=(0.5,) * 3, std=(0.5,) * 3
    )
    return replace(first, network=network.eval(), preprocessing=half)


def chances_of(run: Run, pixels: Any) -> Any:
    step = pixels.shape[-1] // run.preprocessing.size
    shrunk = torch.nn.functional.avg_pool2d(torch.from_numpy(pixels).double(), step).numpy()
    normalised = torch.from_numpy(run.preprocessing.normalise(shrunk))
    with torch.inference_mode():
        return softmax(run.network(pixel_values=normalised).logits.numpy())


def test_the_bundle_gives_the_mean_and_the_reasons_of_the_first(
    first: Run, second: Run, manifest: Manifest, tmp_path: Path
) -> None:
    made = export(first, manifest, tmp_path / "two", "two", others=[second], calibration="none")
    alone = export(first, manifest, tmp_path / "one", "one", calibration="none", pictures=False)
    files = sorted((SAMPLES / "cells/mll/NGS").iterdir())
    pixels = np.stack([first.preprocessing.resize(read_image(file)) for file in files])
    given = Predictor(made.bundle, threads=1)
    apart = [chances_of(run, pixels) for run in (first, second)]
    assert np.abs(apart[0] - apart[1]).max() > 0.05
    together = np.sqrt(apart[0] * apart[1])
    together /= together.sum(axis=1, keepdims=True)
    assert np.abs(given.probabilities(pixels) - together).max() < 1e-4
    own = Predictor(alone.bundle, threads=1)
    assert np.abs(given.embeddings(pixels) - own.embeddings(pixels)).max() < 1e-4
    networks = made.bundle.origin["network"].split(" + ")
    assert [name.split()[-1] for name in networks] == [
        "(Dinov2ForImageClassification)",
        "(ResNetForImageClassification)",
    ]
    assert len(made.bundle.origin["settings"]["together_with"]) == 1
    card = (made.bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert card.count("Answers together with a network") == 1
    assert "together_with" not in card


@pytest.mark.parametrize("precision", ["int8", "fp16"])
def test_small_numbers_stay_close_to_the_mean(
    precision: str, first: Run, second: Run, manifest: Manifest, tmp_path: Path
) -> None:
    made = export(first, manifest, tmp_path / "b", "b", others=[second], precision=precision)
    assert any(f"{precision} against fp32" in words for words in made.agreement)


def test_weights_of_eight_bits_move_the_mean_alike_in_each_engine(
    first: Run, second: Run, manifest: Manifest, tmp_path: Path
) -> None:
    made = export(first, manifest, tmp_path / "b", "b", others=[second], pictures=False)
    files = sorted((SAMPLES / "cells/mll").rglob("*.jpg"))[::8]
    pixels = np.stack([first.preprocessing.resize(read_image(file)) for file in files])
    before = Predictor(made.bundle, 1).logits(pixels)
    to_int8_weights(made.bundle.model_file)
    after = [
        Predictor(made.bundle, threads, name).logits(pixels)
        for name in ("onnxruntime", "openvino")
        for threads in (1, 2)
    ]
    assert 0 < (before - after[0]).std() < 0.01 * before.std()
    assert max(np.abs(after[0] - each).max() for each in after) < 1e-4


def test_runs_that_do_not_fit_are_refused(
    first: Run, second: Run, manifest: Manifest, tmp_path: Path
) -> None:
    for other, words in (
        (replace(second, classes=first.classes[::-1]), "its list of classes is"),
        (replace(second, split=replace(first.split, rows=first.split.rows[1:])), "its split is"),
        (
            replace(second, preprocessing=replace(second.preprocessing, field_um=20.0)),
            "its field in micrometres is 20.0, not 0.0",
        ),
        (replace(second, preprocessing=replace(second.preprocessing, size=30)), "do not divide"),
    ):
        with pytest.raises(ExportError, match=words):
            export(first, manifest, tmp_path / "b", "b", others=[other])
        assert not any((tmp_path / "b").glob("*"))


def test_convolutions_beside_the_first_network_keep_float_sums_and_small_weights(
    first: Run, second: Run, manifest: Manifest, tmp_path: Path
) -> None:
    made = export(first, manifest, tmp_path / "b", "b", others=[second], precision="int8")
    graph = onnx.load(str(made.bundle.model_file)).graph
    maker = {output: node for node in graph.node for output in node.output}
    of_second = [
        (maker[node.input[0]], maker[maker[node.input[1]].input[0]])
        for node in graph.node
        if node.op_type == "Conv" and "networks.1" in node.input[1] and node.input[1] in maker
    ]
    assert len(of_second) >= 4
    stored = {each.name: each.data_type for each in graph.initializer}
    for activation, weights in of_second:
        assert activation.op_type != "DequantizeLinear"
        assert stored[weights.input[0]] == onnx.TensorProto.INT8
    assert any(node.op_type == "QuantizeLinear" for node in graph.node)
