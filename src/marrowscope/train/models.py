"""The networks by name, and how any image classification checkpoint becomes one of ours."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    ConvNextConfig,
    Dinov2Config,
    MobileNetV2Config,
    PretrainedConfig,
    PreTrainedModel,
    ResNetConfig,
    ViTConfig,
)
from transformers.utils.hub import cached_file

from marrowscope.errors import BackboneError, SettingsError
from marrowscope.model.preprocess import Preprocessing, three

INPUT = "preprocessor_config.json"
"""What a checkpoint says of its input."""
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
    "mobilenet-v2": ModelSpec(
        "google/mobilenet_v2_1.0_224",
        MobileNetV2Config,
        Preprocessing(resample="bilinear", mean=HALVES, std=HALVES),
    ),
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
    What the checkpoint does not say is as in `Preprocessing()`.

    Raises:
        BackboneError: it is not there or not reachable, or says what is not known here.
    """
    if name in MODELS:
        return MODELS[name].preprocessing
    values = _said_of_input(name)
    size = values.get("crop_size") if values.get("do_center_crop") else values.get("size")
    usual = Preprocessing()
    try:
        return Preprocessing(
            size=_side(size or usual.size),
            resample=PILLOW_FILTERS[values.get("resample", 3)],
            mean=three(values.get("image_mean", usual.mean)),
            std=three(values.get("image_std", usual.std)),
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        filters = ", ".join(f"{number} ({name})" for number, name in PILLOW_FILTERS.items())
        raise BackboneError(
            f"network {name!r}: its {INPUT} cannot be used ({error!r}). Needed are a size above 0, "
            f"a resample out of {filters}, and image_mean and image_std of three numbers; change "
            "them in a copy of the network, or give another"
        ) from None


def _side(size: Any) -> int:
    side = int(size if isinstance(size, int) else min(size.values()))
    if side < 1:
        raise ValueError(f"size {side}")
    return side


def _said_of_input(name: str) -> dict[str, Any]:
    """Read what a checkpoint says of its input; nothing where it has no file of it."""
    try:
        file = Path(str(cached_file(name, INPUT)))
    except OSError as error:
        if _lacks_input(name, error):
            return {}
        raise _not_loaded(name, error) from None
    try:
        return {**json.loads(file.read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError) as error:
        raise BackboneError(
            f"network {name!r}: its {INPUT} cannot be read as an object of JSON ({error}); fetch "
            "it again or give another"
        ) from None


def _lacks_input(name: str, error: OSError) -> bool:
    """Tell a checkpoint that is there without such a file from one that is not reached."""
    if isinstance(error.__cause__, LocalEntryNotFoundError):  # offline; it may be known to lack it
        return not isinstance(try_to_load_from_cache(name, INPUT), str | None)
    return error.__cause__ is None and error.errno is None


def load_network(name: str, classes: Sequence[str], *, pretrained: bool = True) -> PreTrainedModel:
    """Load a network with a new last layer for these classes, from safetensors only.

    A checkpoint that was trained for the same classes in the same order keeps its last layer. A
    network has random weights if it is not to be `pretrained`, or has no checkpoint.

    Raises:
        BackboneError: it is not there, not reachable, or lacks weights.
    """
    spec = MODELS.get(name)
    source = spec.checkpoint if spec else name
    if source and pretrained:
        network = _pretrained(name, source, classes)
    else:
        config = spec.config() if spec else _config_of(name)
        config.update({"num_labels": len(classes), **_labels(classes)})
        network = _untrained(name, config)
    _mend_momentum(network)
    return network


def _labels(classes: Sequence[str]) -> dict[str, Any]:
    return {
        "id2label": dict(enumerate(classes)),
        "label2id": {code: index for index, code in enumerate(classes)},
    }


def _config_of(name: str) -> PretrainedConfig:
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, error) from None
    return config


def _untrained(name: str, config: PretrainedConfig) -> PreTrainedModel:
    try:
        network: PreTrainedModel = AutoModelForImageClassification.from_config(config)
    except ValueError as error:
        raise _not_loaded(name, error) from None
    return network


def trained_network(folder: Path) -> PreTrainedModel:
    """Load the network of a finished run as it is, with its last layer.

    Raises:
        BackboneError: it cannot be loaded, or lacks weights.
    """
    network, missing = _loaded(str(folder), str(folder))
    _check_whole(str(folder), missing)
    network.train(mode=False)
    return network


def _pretrained(name: str, source: str, classes: Sequence[str]) -> PreTrainedModel:
    network, missing = _loaded(
        name, source, num_labels=len(classes), **_labels(classes), ignore_mismatched_sizes=True
    )
    _check_whole(name, [key for key in missing if not is_head(key)])
    if _classes_of(source) != tuple(classes):
        _renew_head(network)
    return network


def _loaded(name: str, source: str, **changes: Any) -> tuple[PreTrainedModel, list[str]]:
    """Load a checkpoint, and name the tensors that it lacks."""
    try:
        loaded: Any = AutoModelForImageClassification.from_pretrained(
            source, use_safetensors=True, output_loading_info=True, **changes
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise _not_loaded(name, error) from None
    network, info = loaded
    return network, sorted(info["missing_keys"])


def _check_whole(name: str, missing: Sequence[str]) -> None:
    if missing:
        raise BackboneError(
            f"{name!r} is not a whole network: {len(missing)} tensors are missing, the first is "
            f"{missing[0]}; fetch it again or give another"
        )


def _not_loaded(name: str, error: Exception) -> BackboneError:
    return BackboneError(
        f"network {name!r} cannot be loaded: {str(error).splitlines()[0]}. Known names: "
        f"{', '.join(MODELS)}. Online, any image classification checkpoint of the hub will "
        "do; offline, a folder with config.json and model.safetensors as `save_pretrained` "
        "of transformers writes it"
    )


def _classes_of(source: str) -> tuple[str, ...]:
    """Give the classes that a checkpoint was trained for, by its configuration."""
    return tuple(AutoConfig.from_pretrained(source).id2label.values())


def _mend_momentum(network: PreTrainedModel) -> None:
    """Turn TensorFlow's momentum of batch statistics into that of torch, which counts the new.

    MobileNetV2 and EfficientNet of transformers say 0.997 and 0.99 where torch means 0.003 and
    0.01; taken as it stands, the statistics at the end are those of the last batch alone.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum and module.momentum > 0.5:
            module.momentum = 1 - module.momentum


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
    number = {name: int(match[1]) for name in names if (match := block.search(name))}
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
