"""Networks by name and by folder: loaded as transformers loads them, or refused with advice."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForImageClassification,
    BitImageProcessorPil,
    ConvNextImageProcessorPil,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    PretrainedConfig,
    ResNetConfig,
    ViTConfig,
    ViTImageProcessorPil,
)

from marrowscope.errors import BackboneError, SettingsError
from marrowscope.io.images import read_image
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.models import (
    MODELS,
    depths,
    freeze_below,
    load_network,
    preprocessing_of,
)

CLASSES = ("BLA", "NGS", "EOS")


@pytest.mark.parametrize("config", [ResNetConfig(), ViTConfig()], ids=["resnet50", "vit-base"])
def test_a_local_folder_gives_the_logits_of_transformers(
    config: PretrainedConfig, tmp_path: Path
) -> None:
    config.update({"num_labels": 3, "id2label": dict(enumerate(CLASSES))})
    theirs = AutoModelForImageClassification.from_config(config).train(mode=False)
    theirs.save_pretrained(tmp_path)
    ours = load_network(str(tmp_path), CLASSES).train(mode=False)
    pixels = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        difference = (ours(pixels).logits - theirs(pixels).logits).abs().max()
    assert float(difference) < 1e-5


def test_batch_statistics_are_averaged_over_many_batches(tmp_path: Path) -> None:
    """MobileNetV2 of transformers would keep 0.3% of what was there after each batch."""
    theirs = MobileNetV2ForImageClassification(MobileNetV2Config(depth_multiplier=0.35))
    theirs.save_pretrained(tmp_path)
    network = load_network(str(tmp_path), CLASSES).train()
    norm = network.get_submodule("mobilenet_v2.conv_stem.first_conv.normalization")
    with torch.inference_mode():
        network(pixel_values=torch.rand(2, 3, 32, 32) / 100)
    variance = norm.running_var
    assert isinstance(variance, torch.Tensor)
    assert torch.all(variance > 0.99)  # of the 1 that was there, 0.997 is left after one batch


def test_other_classes_get_a_new_head(tmp_path: Path) -> None:
    first = load_network("tiny", CLASSES)
    first.save_pretrained(tmp_path)
    body = load_file(tmp_path / "model.safetensors")
    for classes in (("BLA", "EOS", "NGS"), ("BLA", "NGS")):
        network = load_network(str(tmp_path), classes)
        assert network.config.id2label == dict(enumerate(classes))
        state = network.state_dict()
        assert torch.equal(state["vit.layernorm.weight"], body["vit.layernorm.weight"])
        query = "vit.layers.0.attention.q_proj.weight"
        assert torch.equal(state[query], first.state_dict()[query])
        assert not torch.equal(state["classifier.weight"][0], body["classifier.weight"][0])
        assert not state["classifier.bias"].any()


@pytest.mark.parametrize("name", ["resnet50", "convnext-tiny", "dinov2-small", "tiny"])
def test_every_named_network_has_ordered_depths(name: str) -> None:
    network = load_network(name, CLASSES, pretrained=False)
    depth = depths(network)
    head = max(depth.values())
    assert {key.split(".")[0] for key, at in depth.items() if at == head} == {"classifier"}
    assert set(depth.values()) == set(range(head + 1))
    freeze_below(network, 1)
    learning = {key for key, value in network.named_parameters() if value.requires_grad}
    assert {depth[key] for key in learning} == {head, head - 1}


def test_other_families_of_networks_have_blocks_too() -> None:
    network = MobileNetV2ForImageClassification(MobileNetV2Config())
    assert max(depths(network).values()) == 17


def test_more_blocks_than_there_are() -> None:
    network = load_network("tiny", CLASSES)
    with pytest.raises(SettingsError, match="unfreeze_blocks is 5; the network has only 2 blocks"):
        freeze_below(network, 5)


def test_a_network_that_is_not_there_says_what_to_do_online_and_offline(tmp_path: Path) -> None:
    with pytest.raises(BackboneError) as caught:
        load_network(str(tmp_path / "gone"), CLASSES)
    assert "Known names: resnet50," in str(caught.value)
    assert "Online, any image classification checkpoint" in str(caught.value)
    assert "offline, a folder with config.json and model.safetensors" in str(caught.value)


def test_a_network_without_all_its_tensors_is_refused(toy_network: Path, tmp_path: Path) -> None:
    tensors = load_file(toy_network / "model.safetensors")
    tensors.pop("layernorm.weight")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    (tmp_path / "config.json").write_text((toy_network / "config.json").read_text())
    with pytest.raises(BackboneError, match=r"missing, the first is .*layernorm\.weight"):
        load_network(str(tmp_path), CLASSES)


def test_pickled_weights_are_never_read(toy_network: Path, tmp_path: Path) -> None:
    torch.save(load_file(toy_network / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text((toy_network / "config.json").read_text())
    with pytest.raises(BackboneError, match="cannot be loaded"):
        load_network(str(tmp_path), CLASSES)


def test_a_checkpoint_brings_its_own_preprocessing(tmp_path: Path) -> None:
    values = {
        "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True, "resample": 3, "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.4, 0.5, 0.6],
    }  # fmt: skip
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(values))
    expected = Preprocessing(224, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert preprocessing_of(str(tmp_path)) == expected
    file.write_text(json.dumps({"size": 384, "resample": 2}))
    assert preprocessing_of(str(tmp_path)) == Preprocessing(384, "bilinear")
    assert preprocessing_of("vit-base").mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as an object of JSON (Expecting property name"),
        ("[]", "cannot be read as an object of JSON ("),
        ('{"resample": 1}', "cannot be used (KeyError(1)). Needed are a size above 0, a resample"),
        ('{"size": "big"}', "cannot be used (AttributeError("),
        ('{"size": {"height": -1}}', "cannot be used (ValueError('size -1')"),
        ('{"image_mean": [0.5]}', "cannot be used (ValueError("),
        ('{"image_std": 0.5}', "cannot be used (TypeError("),
    ],
)
def test_what_a_checkpoint_says_of_its_input_is_read_or_refused(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(BackboneError) as caught:
        preprocessing_of(str(tmp_path))
    said = str(caught.value)
    assert said.startswith(f"network '{tmp_path}': its preprocessor_config.json {message}")


def test_a_checkpoint_that_says_nothing_is_no_checkpoint_that_is_not_reached(
    toy_network: Path, tmp_path: Path
) -> None:
    assert preprocessing_of(str(toy_network)) == Preprocessing()
    with pytest.raises(BackboneError, match="cannot be loaded"):
        preprocessing_of(str(tmp_path / "gone"))


def test_any_network_can_start_from_random_weights(toy_network: Path, tmp_path: Path) -> None:
    """Its shape is enough."""
    (tmp_path / "config.json").write_text((toy_network / "config.json").read_text())
    network = load_network(str(tmp_path), CLASSES, pretrained=False)
    assert network.config.id2label == dict(enumerate(CLASSES))
    taught, drawn = (
        load_network(str(toy_network), CLASSES, pretrained=each).state_dict()
        for each in (True, False)
    )
    name = "dinov2.embeddings.patch_embeddings.projection.weight"
    assert not torch.equal(taught[name], drawn[name])
    with pytest.raises(BackboneError, match="cannot be loaded"):
        load_network(str(tmp_path / "gone"), CLASSES, pretrained=False)


PILLOW_FILTERS = {"bilinear": 2, "bicubic": 3}


@pytest.mark.parametrize("name", list(MODELS))
def test_preprocessing_is_that_of_the_networks_own_processor(name: str, tmp_path: Path) -> None:
    """The processors of transformers that need no torchvision, told not to crop."""
    ours = MODELS[name].preprocessing
    side = {"height": ours.size, "width": ours.size}
    processor = {"vit": ViTImageProcessorPil, "con": ConvNextImageProcessorPil}.get(
        name[:3], BitImageProcessorPil
    )
    size = {"shortest_edge": ours.size} if processor is ConvNextImageProcessorPil else side
    theirs = processor(
        size=size,
        crop_pct=1.0,
        do_center_crop=False,
        resample=PILLOW_FILTERS[ours.resample],
        image_mean=ours.mean,
        image_std=ours.std,
    )
    files = sorted((SAMPLES / "cells").rglob("*.jpg"))[::40]
    for cell in map(read_image, files):
        square = cell.resize((min(cell.size),) * 2)  # ConvNeXt's would cut off what is not square
        theirs_values = theirs(square, return_tensors="np")["pixel_values"][0]
        ours_values = ours.normalise(ours.resize(square))
        assert np.abs(theirs_values - ours_values).max() < 1e-6
    theirs.save_pretrained(tmp_path)
    read = preprocessing_of(str(tmp_path))
    assert (read.size, read.resample) == (ours.size, ours.resample)
    assert read.mean == pytest.approx(ours.mean)
    assert read.std == pytest.approx(ours.std)
