"""What an exported network says besides the class: held against the networks' own arithmetic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from torch import Tensor
from transformers import (
    ConvNextConfig,
    ConvNextForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    PretrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from marrowscope.errors import BundleError
from marrowscope.inference.predictor import Predictor
from marrowscope.io.images import read_image
from marrowscope.model.bundle import Bundle
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.onnx_export import Explained

SIZE, CLASSES = 56, 5
PREPROCESSING = Preprocessing(size=SIZE)


def sized(config: PretrainedConfig) -> Any:
    config.update({"num_labels": CLASSES})
    return config


def resnet() -> PreTrainedModel:
    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 24], depths=[1, 1])
    return ResNetForImageClassification(sized(config))


def convnext() -> PreTrainedModel:
    config = ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1])
    return ConvNextForImageClassification(sized(config))


def dinov2() -> PreTrainedModel:
    return Dinov2ForImageClassification(
        sized(
            Dinov2Config(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=70,
                patch_size=14,
            )
        )
    )


def vit() -> PreTrainedModel:
    return ViTForImageClassification(
        sized(
            ViTConfig(
                hidden_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=32,
                image_size=SIZE,
                patch_size=14,
            )
        )
    )


def explained(make: Callable[[], PreTrainedModel]) -> tuple[PreTrainedModel, list[Tensor], Tensor]:
    """A network of random weights, what it gives for two real cells, and the cells normalised."""
    torch.manual_seed(0)
    network = make()
    network.eval()
    files = sorted((SAMPLES / "cells/mll/NGS").iterdir())[:2]
    cells = np.stack([PREPROCESSING.resize(read_image(file)) for file in files])
    with torch.inference_mode():
        given = Explained(network, PREPROCESSING)(torch.from_numpy(cells))
    return network, list(given), torch.from_numpy(PREPROCESSING.normalise(cells))


@pytest.mark.parametrize("make", [resnet, convnext, dinov2, vit])
def test_logits_are_the_networks_own_and_the_embedding_makes_them(
    make: Callable[[], PreTrainedModel],
) -> None:
    network, (logits, embedding, _), pixels = explained(make)
    with torch.inference_mode():
        own = network(pixel_values=pixels).logits
        last = network.get_submodule("classifier")
        again = (last[-1] if isinstance(last, torch.nn.Sequential) else last)(embedding)
    assert torch.allclose(logits, own, atol=1e-5)
    assert torch.allclose(again, own, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "places"), [(resnet, (7, 7)), (convnext, (1, 1)), (dinov2, (4, 4)), (vit, (4, 4))]
)
def test_each_place_has_a_value_for_each_class(
    make: Callable[[], PreTrainedModel], places: tuple[int, int]
) -> None:
    _, (_, _, activation), _ = explained(make)
    assert activation.shape == (2, CLASSES, *places)


def test_the_places_of_a_resnet_add_up_to_its_logits() -> None:
    network, (logits, _, activation), _ = explained(resnet)
    bias = network.state_dict()["classifier.1.bias"]
    assert torch.allclose(activation.mean(dim=(2, 3)) + bias, logits, atol=1e-5)


def test_the_places_of_dinov2_add_up_to_its_patch_half() -> None:
    network, (logits, embedding, activation), _ = explained(dinov2)
    weights = network.state_dict()
    weight, bias = weights["classifier.weight"], weights["classifier.bias"]
    of_class_token = embedding[:, :16] @ weight[:, :16].T
    assert torch.allclose(activation.mean(dim=(2, 3)) + of_class_token + bias, logits, atol=1e-5)


def test_the_predictor_explains_without_torch(toy_bundle: Bundle) -> None:
    prepare = toy_bundle.preprocessing
    files = sorted((SAMPLES / "cells/mll/NGS").iterdir())[:3]
    pixels = np.stack([prepare.resize(read_image(file)) for file in files])
    seen = Predictor(toy_bundle, 1).explain(pixels)
    assert seen.embedding.shape == (3, 64)  # class token and mean patch of DINOv2
    assert seen.activation.shape == (3, len(toy_bundle.classes), 4, 4)
    by_openvino = Predictor(toy_bundle, 1, "openvino").explain(pixels)
    assert np.allclose(seen.activation, by_openvino.activation, atol=1e-4)


def test_a_bundle_without_explanations_says_so(bare_bundle: Bundle) -> None:
    bare = Predictor(bare_bundle, 1)
    with pytest.raises(BundleError, match=r"gives logits alone; export the bundle again for emb"):
        bare.explain(np.zeros((1, 3, 56, 56), dtype=np.uint8))


def test_the_exported_file_names_no_path_of_the_machine(toy_bundle: Bundle) -> None:
    content = toy_bundle.model_file.read_bytes()
    assert str(Path(__file__).parents[1]).encode() not in content
    assert b"site-packages" not in content
