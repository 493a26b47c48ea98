"""The last layer alone, fitted by regression: a good start for a network with new classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import PreTrainedModel

from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.dataset import CellDataset, PackedDataset, stack
from marrowscope.train.onnx_export import last_layer

BATCH_SIZE = 64
RIDGE = 2e-3
"""Weight of the squared coefficients of standardised embeddings."""
ITERATIONS = 60
TINY = 1e-4
"""Added to the spread of an embedding's values, so that a constant one divides by no zero."""


def fit_last_layer(
    network: PreTrainedModel,
    cells: CellDataset | PackedDataset,
    preprocessing: Preprocessing,
    *,
    weights: NDArray[np.float64] | None,
    smoothing: float,
) -> None:
    """Fit the last layer, in place, to cells as they are, each with a weight (N,) or alike.

    It is a multinomial regression on standardised embeddings, with a ridge penalty.

    Raises:
        ExportError: the network has not exactly one linear layer at its end.
        ImageError: a cell cannot be read.
    """
    embeddings = _embeddings(network, cells, preprocessing)
    mean, spread = embeddings.mean(dim=0), embeddings.std(dim=0) + TINY
    count, classes = len(embeddings), int(network.config.num_labels or 0)
    counted = np.full(count, 1 / count) if weights is None else weights
    matrix, shift = _regression(
        (embeddings - mean) / spread,
        torch.from_numpy(cells.labels),
        torch.from_numpy(counted).float(),
        classes=classes,
        smoothing=smoothing,
    )
    layer = last_layer(network)
    with torch.no_grad():
        layer.weight.copy_(matrix / spread)
        layer.bias.copy_(shift - layer.weight @ mean.to(layer.weight.device))


def _embeddings(
    network: PreTrainedModel, cells: CellDataset | PackedDataset, preprocessing: Preprocessing
) -> Tensor:
    """Give what the last layer reads of each cell: (N, D)."""
    mean, std = map(torch.from_numpy, preprocessing.in_levels())
    inputs: list[Tensor] = []
    hook = last_layer(network).register_forward_hook(lambda _, given, __: inputs.append(given[0]))
    network.train(mode=False)
    with torch.no_grad():
        for batch in DataLoader(cells, batch_size=BATCH_SIZE, collate_fn=stack):
            network(pixel_values=(batch["pixels"].float() - mean) / std)
    hook.remove()
    return torch.cat(inputs)


def _regression(
    inputs: Tensor, labels: Tensor, weights: Tensor, *, classes: int, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Give the coefficients (C, D) and the constants (C,) of a multinomial regression."""
    matrix = torch.zeros(classes, inputs.shape[1], requires_grad=True)
    shift = torch.zeros(classes, requires_grad=True)
    search = torch.optim.LBFGS(
        [matrix, shift], max_iter=ITERATIONS, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        logits = inputs @ matrix.T + shift
        losses = cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
        total = (weights * losses).sum() + RIDGE * matrix.square().sum()
        total.backward()
        return total

    search.step(loss)
    return matrix.detach(), shift.detach()
