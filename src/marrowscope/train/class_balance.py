"""What is done about rare classes and unequal sources: one thing at a time."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax

from marrowscope.train.settings import BALANCES, TrainSettings

Loss = Callable[[Tensor, Tensor], Tensor]
"""Mean loss of logits (N, C) against targets (N, C) that add up to 1."""
ABSENT = 0.01
"""Cells that a class without any counts as, so that its share has a logarithm."""
ADJUSTING = ("logit-adjustment", "source-adjustment")
"""Ways of balancing that shift the logits by the shares of the classes."""


def loss_of(settings: TrainSettings, counts: Tensor) -> Loss:
    """Give the loss for a way of balancing, with the training cells of each class (C,).

    Where logits are shifted (`class_shares`), that was done before.
    """
    weights = counts.sum() / (len(counts) * counts.clamp(min=1))
    losses: dict[str, Loss] = dict.fromkeys(BALANCES, cross_entropy) | {
        "weights": lambda logits, targets: cross_entropy(
            logits, targets, weight=weights.to(logits.device)
        ),
        "focal": lambda logits, targets: focal(logits, targets, settings.focal_gamma),
    }
    return losses[settings.balance]


def class_shares(
    balance: str, labels: NDArray[np.int64], sources: Sequence[str], classes: int
) -> Tensor | None:
    """Give the share (N, C) that each class has among the cells that a cell is drawn from.

    These are all cells, or those of its own source: a class that a source has none of is then not
    learnt to be wrong in its pictures. None where the logits are not shifted. Of the labels 0, 0
    and 1, the second and the third of one source, the last has the shares 0.5 and 0.5.

    Source: Menon et al., ICLR 2021, arXiv 2007.07314, here with the shares of each source.
    """
    if balance not in ADJUSTING:
        return None
    whose = list(sources) if balance == "source-adjustment" else [""] * len(labels)
    names, source = np.unique(whose, return_inverse=True)
    counts = np.full((len(names), classes), 0.0)
    np.add.at(counts, (source, labels), 1)
    counts = counts.clip(min=ABSENT)
    return torch.from_numpy((counts / counts.sum(axis=1, keepdims=True))[source]).float()


def focal(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Give the cross-entropy in which a class counts (1 - p) ** gamma; both tensors are (N, C).

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


def source_sampling_weights(
    labels: NDArray[np.int64], sources: Sequence[str]
) -> NDArray[np.float64]:
    """Give the probability (N,) of each cell, by the roots of the sizes of its class and source.

    A cell of a class of 400 in a source of 100 counts half as much as one of a class of 100 in the
    same source: small classes and sources are drawn more often, but not as often as large ones.
    """
    _, source = np.unique(list(sources), return_inverse=True)
    weights = 1 / np.sqrt(np.bincount(labels)[labels] * np.bincount(source)[source])
    return np.asarray(weights / weights.sum())


def chances_of_draw(
    balance: str, labels: NDArray[np.int64], sources: Sequence[str]
) -> NDArray[np.float64] | None:
    """Give the probability (N,) of each cell to be drawn; None where each is seen once an epoch."""
    if balance == "sampler":
        return sampling_weights(labels)
    if balance == "source-sampler":
        return source_sampling_weights(labels, sources)
    return None
