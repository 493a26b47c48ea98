"""The networks by name, and how any image classification checkpoint becomes one of ours."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    ConvNextConfig,
    Dinov2Config,
    PretrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    ViTConfig,
)
from transformers.utils.hub import cached_file

from marrowscope.errors import BackboneError, SettingsError
from marrowscope.model.preprocess import Preprocessing

HALVES = (0.5, 0.5, 0.5)
PILLOW_FILTERS = {2: "bilinear", 3: "bicubic"}
HEADS = ("classifier", "head", "fc")
"""First parts of the names of a network's last, class-wise layer."""


@dataclass(frozen=True)
class ModelSpec:
    """A network: where its pretrained weights are, its shape, and the input it was made for."""

    checkpoint: str
    """Name on the Hugging Face hub; empty where there are no pretrained weights."""
    config: Callable[[], PretrainedConfig]
    """Gives the shape, for training from scratch."""
    preprocessing: Preprocessing = Preprocessing()  # noqa: RUF009 - it is frozen


def _dinov2(width: int, heads: int, layers: int = 12) -> Callable[[], PretrainedConfig]:
    return lambda: Dinov2Config(
        hidden_size=width,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        image_size=518,
        patch_size=14,
    )


MODELS: dict[str, ModelSpec] = {
    "resnet50": ModelSpec("microsoft/resnet-50", ResNetConfig),
    "convnext-tiny": ModelSpec("facebook/convnext-tiny-224", ConvNextConfig),
    "vit-base": ModelSpec(
        "google/vit-base-patch16-224-in21k",
        ViTConfig,
        Preprocessing(resample="bilinear", mean=HALVES, std=HALVES),
    ),
    "dinov2-small": ModelSpec("facebook/dinov2-small", _dinov2(384, 6)),
    "dinov2-base": ModelSpec("facebook/dinov2-base", _dinov2(768, 12)),
    "dinov2-large": ModelSpec("facebook/dinov2-large", _dinov2(1024, 16, 24)),
    "tiny": ModelSpec(
        "",
        lambda: ViTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            image_size=56,
            patch_size=14,
        ),
        Preprocessing(size=56),
    ),
}
"""Networks that can be asked for by name; any other name is a hub id or a local folder."""


def preprocessing_of(name: str) -> Preprocessing:
    """Give the input that a network was made for: from the table, or from the checkpoint itself.

    A checkpoint's crop is not taken over: cells are stretched as a whole to the size of the crop.
    Where the checkpoint does not say, or is not reached, it is the input of `Preprocessing()`; a
    filter other than bilinear becomes bicubic.
    """
    if name in MODELS:
        return MODELS[name].preprocessing
    try:
        file = cached_file(name, "preprocessor_config.json")
        values = json.loads(Path(str(file)).read_text(encoding="utf-8"))
    except OSError:
        return Preprocessing()
    size = values.get("crop_size") if values.get("do_center_crop") else values.get("size")
    side = size if isinstance(size, int) else min((size or {"side": 224}).values())
    return Preprocessing(
        size=int(side),
        resample=PILLOW_FILTERS.get(values.get("resample", 3), "bicubic"),
        mean=tuple(values.get("image_mean", Preprocessing.mean)),
        std=tuple(values.get("image_std", Preprocessing.std)),
    )


def load_network(name: str, classes: Sequence[str], *, pretrained: bool = True) -> PreTrainedModel:
    """Load a network with a new last layer for these classes, from safetensors only.

    A checkpoint that was trained for the same classes in the same order keeps its last layer. A
    network of `MODELS` has random weights if it is not to be `pretrained`, or has no checkpoint.

    Raises:
        BackboneError: it is not there, not reachable, or lacks weights.
    """
    labels = {
        "id2label": dict(enumerate(classes)),
        "label2id": {code: index for index, code in enumerate(classes)},
    }
    spec = MODELS.get(name)
    if spec is not None and not (pretrained and spec.checkpoint):
        config = spec.config()
        config.update({"num_labels": len(classes), **labels})
        network: PreTrainedModel = AutoModelForImageClassification.from_config(config)
        return network
    source = spec.checkpoint if spec else name
    try:
        loaded: Any = AutoModelForImageClassification.from_pretrained(
            source,
            num_labels=len(classes),
            **labels,
            ignore_mismatched_sizes=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"network {name!r} cannot be loaded: {str(error).splitlines()[0]}. Known names: "
            f"{', '.join(MODELS)}. Online, any image classification checkpoint of the hub will "
            "do; offline, a folder with config.json and model.safetensors as `save_pretrained` "
            "of transformers writes it"
        ) from None
    network, info = loaded
    missing = sorted(key for key in info["missing_keys"] if not is_head(key))
    if missing:
        raise BackboneError(
            f"{name!r} is not a whole network: {len(missing)} tensors are missing, the first is "
            f"{missing[0]}; fetch it again or give another"
        )
    _mend_momentum(network)
    if _classes_of(source) != tuple(classes):
        _renew_head(network)
    return network


def _classes_of(source: str) -> tuple[str, ...]:
    """Give the classes that a checkpoint was trained for, by its configuration."""
    return tuple(AutoConfig.from_pretrained(source).id2label.values())


def _mend_momentum(network: PreTrainedModel) -> None:
    """Turn TensorFlow's momentum of batch statistics into that of torch, which counts the new.

    MobileNetV2 and EfficientNet of transformers say 0.997 and 0.99 where torch means 0.003 and
    0.01; taken as it stands, the statistics at the end are those of the last batch alone.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and (module.momentum or 0) > 0.5:
            module.momentum = 1 - (module.momentum or 0)


def _renew_head(network: PreTrainedModel) -> None:
    """Draw the last layer anew: what a checkpoint knew of other classes means nothing here."""
    for name, module in network.named_modules():
        if is_head(name) and isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)


def is_head(name: str) -> bool:
    """Tell whether a module or parameter belongs to the last, class-wise layer."""
    return name.split(".", maxsplit=1)[0] in HEADS


def depths(network: PreTrainedModel) -> dict[str, int]:
    """Give the depth of each parameter by name: 0 for embeddings, then the blocks, then the head.

    A network of 12 blocks has its final norm at 12 with the last block, and its head at 13.

    Raises:
        BackboneError: the network has no numbered blocks.
    """
    names = [name for name, _ in network.named_parameters()]
    block = re.compile(r"\.(?:layer|layers|stages|blocks)\.(\d+)\.")
    number = {name: int(found[1]) for name in names if (found := block.search(name))}
    if not number:
        raise BackboneError(f"{type(network).__name__}: no blocks are known by their names")
    blocks = max(number.values()) + 1
    first = min(index for index, name in enumerate(names) if name in number)
    return {
        name: blocks + 1
        if is_head(name)
        else number[name] + 1
        if name in number
        else 0
        if index < first
        else blocks
        for index, name in enumerate(names)
    }


def freeze_below(network: PreTrainedModel, unfrozen: int) -> None:
    """Let only the head and the last `unfrozen` blocks learn; all of the network for -1.

    Raises:
        BackboneError: the network has no numbered blocks.
        SettingsError: the network has fewer blocks.
    """
    depth = depths(network)
    blocks = max(depth.values()) - 1
    if unfrozen > blocks:
        raise SettingsError(f"unfreeze_blocks is {unfrozen}; the network has only {blocks} blocks")
    for name, parameter in network.named_parameters():
        learns = unfrozen < 0 or depth[name] > blocks - unfrozen
        parameter.requires_grad_(learns and not name.endswith("mask_token"))
