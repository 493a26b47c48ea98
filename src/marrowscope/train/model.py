"""DINOv2 with a linear head on its class token and its mean patch token."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

from marrowscope.errors import BackboneError, SettingsError


class CellClassifier(nn.Module):
    """Logits of C classes for normalised pictures."""

    def __init__(self, backbone: Dinov2Model, classes: int, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(2 * int(backbone.config.hidden_size), classes)
        self.label_smoothing = label_smoothing

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Classify (N, 3, S, S) float32 into `logits` (N, C); with labels (N,) also the `loss`."""
        tokens = self.backbone(pixel_values=pixel_values).last_hidden_state
        logits = self.head(torch.cat([tokens[:, 0], tokens[:, 1:].mean(dim=1)], dim=1))
        if labels is None:
            return {"logits": logits}
        loss = nn.functional.cross_entropy(
            logits, labels, label_smoothing=self.label_smoothing if self.training else 0.0
        )
        return {"loss": loss, "logits": logits}

    def freeze_below(self, unfrozen: int) -> None:
        """Let only the head, the last `unfrozen` blocks and the final norm learn.

        Raises:
            SettingsError: the backbone has fewer blocks.
        """
        blocks = self.backbone.encoder.layer
        if unfrozen > len(blocks):
            raise SettingsError(
                f"--unfreeze-blocks {unfrozen}: the backbone has only {len(blocks)} blocks"
            )
        learns = unfrozen == len(blocks)
        self.backbone.requires_grad_(learns)
        for block in blocks[len(blocks) - unfrozen :]:
            block.requires_grad_(True)
        self.backbone.layernorm.requires_grad_(unfrozen > 0)
        mask_token = self.backbone.embeddings.mask_token
        if mask_token is not None:  # it serves pretraining only
            mask_token.requires_grad_(False)


def load_backbone(name: str) -> Dinov2Model:
    """Load a pretrained DINOv2 backbone from a local folder or by its hub name, safetensors only.

    Raises:
        BackboneError: it is not there, not reachable, not DINOv2, or lacks weights.
    """
    try:
        loaded: Any = Dinov2Model.from_pretrained(
            name, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"backbone {name!r} cannot be loaded: {str(error).splitlines()[0]}. Online, give a hub "
            "name such as facebook/dinov2-small; offline, a folder with config.json and "
            "model.safetensors as `save_pretrained` of transformers writes it"
        ) from None
    backbone: Dinov2Model = loaded[0]
    missing = sorted(loaded[1]["missing_keys"])
    if missing:
        raise BackboneError(
            f"{name!r} is not a whole DINOv2 backbone: {len(missing)} tensors are missing, "
            f"the first is {missing[0]}; fetch it again or give another"
        )
    return backbone


def build(config_folder: Path, classes: int) -> CellClassifier:
    """Build the untrained network of a run from the saved configuration of its backbone."""
    return CellClassifier(Dinov2Model(Dinov2Config.from_pretrained(config_folder)), classes)
