"""Engines give the same answers, and the choice between them is a measured one."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import PATIENCE_S, SAMPLES

from marrowscope.errors import BundleError, MissingExtraError, SettingsError
from marrowscope.inference.backends import (
    CLASSES_KEY,
    CUDA,
    ENGINES,
    Choice,
    OpenVino,
    best_of,
    calls_that_fit,
    choose_engine,
    gpus,
    installed,
    load_engine,
    measure,
)
from marrowscope.inference.predictor import Predictor
from marrowscope.io.images import read_image
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.types import Found, Picture, Prediction, Reject

CELLS = sorted((SAMPLES / "cells").rglob("*.jpg"))[::3]


@pytest.mark.parametrize("bundle", ["toy", "default"])
def test_openvino_and_onnx_runtime_agree_on_real_cells(bundle: str, toy_bundle: Bundle) -> None:
    chosen = toy_bundle if bundle == "toy" else load_bundle("default")
    prepare = chosen.preprocessing
    pixels = np.stack([prepare.resize(read_image(file), 0.086) for file in CELLS[:8]])
    ours, theirs = (
        Predictor(chosen, 2, engine).probabilities(pixels) for engine in ("onnxruntime", "openvino")
    )
    limit = 1e-4 if chosen.precision == "fp32" else 0.1  # 8-bit products round differently
    assert np.abs(ours - theirs).max() < limit


def test_openvino_leaves_the_choice_of_cores_to_the_system(toy_bundle: Bundle) -> None:
    engine = OpenVino(toy_bundle, 1)
    assert engine._compiled.get_property("ENABLE_CPU_PINNING") is False


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_any_number_of_threads_gives_the_same_rows_in_the_same_order(
    toy_bundle: Bundle, engine: str
) -> None:
    found = [Picture(file) for file in CELLS]
    alone = list(Predictor(toy_bundle, 1, engine).classify(found, 8))
    together = list(Predictor(toy_bundle, 4, engine).classify(found, 8))
    assert [each.path for each in together] == [str(each.path) for each in found]
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, Prediction)
        assert isinstance(other, Prediction)
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)


def test_rejects_keep_their_place_between_batches(toy_bundle: Bundle) -> None:
    found: list[Found] = [Picture(CELLS[0]), Reject("gone.jpg", "no such file"), Picture(CELLS[1])]
    found *= 5
    outcomes = list(Predictor(toy_bundle, 3).classify(found, 4))
    assert [isinstance(outcome, Reject) for outcome in outcomes] == [False, True, False] * 5


def test_reading_stops_when_nobody_takes_the_outcomes(toy_bundle: Bundle) -> None:
    given = []

    def found() -> Iterator[Picture]:
        for file in CELLS * 10:
            given.append(file)
            yield Picture(file)

    with closing(Predictor(toy_bundle, 2).classify(found(), 4)) as outcomes:
        next(outcomes)
    assert len(given) <= 20


def test_the_fastest_is_the_one_that_measured_fastest(toy_bundle: Bundle) -> None:
    names = installed()
    assert {"onnxruntime", "openvino"} <= set(names) <= set(ENGINES)
    choice = choose_engine(toy_bundle, 1000, threads=1)
    assert set(choice.rates) == set(names)
    assert choice.name == best_of(choice.rates).name
    assert choice.in_words.startswith(f"engine: {choice.name} (cells a second here: onnxruntime ")
    assert measure(toy_bundle, ["onnxruntime"], 1)["onnxruntime"] > 0


def test_another_engine_must_be_a_tenth_faster() -> None:
    assert best_of({"onnxruntime": 10.0, "openvino": 10.5}).name == "onnxruntime"
    assert best_of({"onnxruntime": 10.0, "openvino": 11.5}).name == "openvino"
    assert best_of({"onnxruntime": 10.0, "openvino": 8.0}).name == "onnxruntime"


def test_a_few_cells_or_a_wish_need_no_measuring(toy_bundle: Bundle) -> None:
    assert choose_engine(toy_bundle, 10) == Choice("onnxruntime", {})
    assert choose_engine(toy_bundle, 1000, "openvino") == Choice("openvino", {})


def test_fewer_calls_at_once_where_memory_is_short() -> None:
    assert calls_that_fit(224, 8e9) == 10
    assert calls_that_fit(112, 8e9) == 40
    assert calls_that_fit(518, 1e9) == 1


def test_an_unknown_engine() -> None:
    with pytest.raises(SettingsError) as caught:
        load_engine("abacus", load_bundle("default"))
    assert str(caught.value) == (
        "no engine is called abacus; there are onnxruntime, openvino, cuda"
    )


@pytest.mark.skipif(
    CUDA in onnxruntime.get_available_providers(), reason="there is a GPU runtime here"
)
def test_a_gpu_engine_that_is_not_there_says_how_to_get_it() -> None:
    with pytest.raises(MissingExtraError, match="pip install onnxruntime-gpu"):
        load_engine("cuda", load_bundle("default"))


@pytest.mark.skipif(bool(gpus()), reason="there is a GPU here")
@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_a_gpu_runtime_without_a_gpu_is_no_engine(
    toy_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
    assert "cuda" not in installed()
    with pytest.raises(MissingExtraError, match="ONNX Runtime can use no GPU here, so the engine"):
        load_engine("cuda", toy_bundle, 1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_class_order_that_is_not_the_models_is_refused(toy_bundle: Bundle, engine: str) -> None:
    turned = replace(toy_bundle, classes=tuple(reversed(toy_bundle.classes)))
    with pytest.raises(BundleError, match="was made for the classes"):
        load_engine(engine, turned, 1)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("stored", ["{", "3", None])
def test_a_model_that_names_no_classes_is_refused(
    toy_bundle: Bundle, engine: str, stored: str | None
) -> None:
    model = onnx.load(str(toy_bundle.model_file))
    onnx.helper.set_model_props(model, {CLASSES_KEY: stored} if stored else {})
    onnx.save(model, str(toy_bundle.model_file))
    with pytest.raises(BundleError) as caught:
        load_engine(engine, toy_bundle, 1)
    assert f"was made for the classes {stored or '[]'}, its bundle names" in str(caught.value)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_that_is_no_model_is_refused(toy_bundle: Bundle, engine: str) -> None:
    toy_bundle.model_file.write_bytes(b"nonsense")
    with pytest.raises(BundleError, match="cannot be loaded"):
        load_engine(engine, toy_bundle, 1)


MANY_SHAPES = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from marrowscope.model.bundle import load_bundle
from marrowscope.inference.backends import load_engine

engine = load_engine("openvino", load_bundle(sys.argv[1]), 2)
batches = [np.zeros((n, 3, 56, 56), dtype=np.uint8) for n in (8, 5)]
for _ in range(40):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda batch: engine.run(batch, ["logits"]), batches * 4))
"""
"""Without the lock around setting inputs, this hung within a few rounds."""


def test_openvino_does_not_hang_when_threads_change_shapes(exported: Path) -> None:
    command = [sys.executable, "-c", MANY_SHAPES, str(exported)]
    subprocess.run(command, check=True, timeout=PATIENCE_S)
