"""Blend pairs of cells (MixUp) or paste a part of one into another (CutMix).

Sources: Zhang et al., arXiv 1710.09412; Yun et al., arXiv 1905.04899.
"""

import numpy as np
import torch
from torch import Tensor

from marrowscope.train.settings import TrainSettings


def mix(
    images: Tensor, targets: Tensor, settings: TrainSettings, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mix each of (N, 3, S, S) pictures and (N, ...) targets with another one of the batch.

    All are mixed in the same proportion; without `mixup` and `cutmix`, they stay as they are.
    """
    if not settings.mixup and not settings.cutmix:
        return images, targets
    cut = settings.cutmix > 0 and (not settings.mixup or random.random() < 0.5)
    alpha = settings.cutmix if cut else settings.mixup
    share = float(random.beta(alpha, alpha))
    order = torch.from_numpy(random.permutation(len(images))).to(images.device)
    if cut:
        images, share = _paste(images, images[order], share, random)
    else:
        images = share * images + (1 - share) * images[order]
    return images, share * targets + (1 - share) * targets[order]


def _paste(
    images: Tensor, others: Tensor, share: float, random: np.random.Generator
) -> tuple[Tensor, float]:
    """Paste a rectangle of about 1 - share of the area; give the share that is truly left."""
    height, width = images.shape[2:]
    high, wide = (round(side * (1 - share) ** 0.5) for side in (height, width))
    top, left = int(random.integers(height - high + 1)), int(random.integers(width - wide + 1))
    pasted = images.clone()
    pasted[:, :, top : top + high, left : left + wide] = others[
        :, :, top : top + high, left : left + wide
    ]
    return pasted, 1 - high * wide / (height * width)
