"""What is done about rare classes: one thing at a time."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from marrowscope.train.settings import TrainSettings

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of logits (N, C) against targets (N, C) that add up to 1."""


def loss_of(settings: TrainSettings, counts: Tensor) -> Loss:
    """Give the loss for a way of balancing, with the training cells of each class (C,)."""
    weights = counts.sum() / (len(counts) * counts.clamp(min=1))
    prior = torch.log(counts.clamp(min=1) / counts.sum())
    losses: dict[str, Loss] = {
        "none": cross_entropy,
        "sampler": cross_entropy,
        "weights": lambda logits, targets: cross_entropy(
            logits, targets, weight=weights.to(logits.device)
        ),
        "logit-adjustment": lambda logits, targets: cross_entropy(
            logits + prior.to(logits.device), targets
        ),
        "focal": lambda logits, targets: focal(logits, targets, settings.focal_gamma),
    }
    return losses[settings.balance]


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Cross-entropy in which a class counts (1 - p) ** gamma; logits and targets are (N, C).

    A cell whose class has p = 0.9 counts 0.01 of one whose class has p near 0, at gamma 2.

    Source: Lin et al., ICCV 2017, arXiv 1708.02002.
    """
    scores = log_softmax(logits, dim=1)
    discount = (1 - scores.exp()) ** gamma
    return -(targets * discount * scores).sum(dim=1).mean()


def sampling_weights(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give the probability (N,) of each cell such that classes are drawn equally often.

    Of the labels 0, 0, 0 and 1, the last is drawn half the time.
    """
    weights = 1 / np.bincount(labels)[labels]
    return np.asarray(weights / weights.sum())
