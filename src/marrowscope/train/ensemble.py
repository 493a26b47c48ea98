"""Several trained networks that answer as one: the mean of their logits."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from marrowscope.errors import ExportError
from marrowscope.train.onnx_export import Explained
from marrowscope.train.run import Run


class Together(nn.Module):
    """Networks that see the same pictures, the first of which also says why.

    Takes pictures (N, 3, S, S) uint8. Gives logits (N, C), the mean of those of the networks, so
    that a probability is the geometric mean of theirs, scaled to add up to 1; the embedding (N, D)
    and the activation (N, C, H, W) are the first network's alone. Of two classes, probabilities of
    0.9 and 0.5 for the first become 0.75: sqrt(0.9 x 0.5) = 0.671, and 0.224 for the second. A
    network of a smaller input sees the means of squares of pixels.

    Source: Heskes, NIPS 1997, Selecting weighting factors in logarithmic opinion pools.
    """

    def __init__(self, networks: Sequence[Explained], steps: Sequence[int]) -> None:
        """Take over networks, and the sides of the squares of pixels that each sees as one."""
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._steps = tuple(steps)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score pictures.

        Raises:
            ExportError: a network has fewer tokens than patches.
        """
        inputs = [
            network(avg_pool2d(pixels.float(), step) if step > 1 else pixels)
            for network, step in zip(self.networks, self._steps, strict=True)
        ]
        mean = torch.stack([logits for logits, _, _ in inputs]).mean(dim=0)
        return mean, inputs[0][1], inputs[0][2]


def answering(runs: Sequence[Run]) -> nn.Module:
    """Give what is exported of one run, or of several that answer together.

    Raises:
        ExportError: the runs do not fit each other, or the last layer of a network is not known.
    """
    for run in runs[1:]:
        _check_fit(runs[0], run)
    for run in runs:
        run.network.set_attn_implementation("eager")  # the fused kernel has no ONNX counterpart
    networks = [Explained(run.network, run.preprocessing) for run in runs]
    return networks[0] if len(runs) == 1 else Together(networks, _steps(runs))


def by_torch(runs: Sequence[Run]) -> Callable[[NDArray[np.uint8]], NDArray[np.floating]]:
    """Give the function by which the trained networks themselves score pictures: (N, C) logits."""

    def classify(pixels: NDArray[np.uint8]) -> NDArray[np.floating]:
        scores = [_logits(run, _shrunk(pixels, step)) for run, step in _paired(runs)]
        return np.asarray(torch.stack(scores).mean(dim=0))

    return classify


def _logits(run: Run, pixels: NDArray[np.number]) -> Tensor:
    normalised = torch.from_numpy(run.preprocessing.normalise(pixels))
    with torch.inference_mode():
        return torch.as_tensor(run.network(pixel_values=normalised).logits)


def _shrunk(pixels: NDArray[np.uint8], step: int) -> NDArray[np.number]:
    """Give the means of squares of `step` pixels of pictures (N, 3, S, S)."""
    if step == 1:
        return pixels
    side = pixels.shape[-1] // step
    return np.asarray(pixels.reshape(*pixels.shape[:2], side, step, side, step).mean(axis=(3, 5)))


def _paired(runs: Sequence[Run]) -> Iterator[tuple[Run, int]]:
    return zip(runs, _steps(runs), strict=True)


def _steps(runs: Sequence[Run]) -> list[int]:
    return [runs[0].preprocessing.size // run.preprocessing.size for run in runs]


def _check_fit(first: Run, other: Run) -> None:
    """Check that two runs learnt the same classes from the same cells, seen at one scale."""
    mine, theirs = first.preprocessing, other.preprocessing
    differing = {
        "list of classes": (first.classes, other.classes),
        "split": (first.split.hash, other.split.hash),
        "field in micrometres": (mine.field_um, theirs.field_um),
        "resampling": (mine.resample, theirs.resample),
    }
    for what, (ours, others) in differing.items():
        if ours != others:
            raise ExportError(
                f"{other.folder} cannot answer together with {first.folder}: its {what} is "
                f"{others}, not {ours}; train it with the same"
            )
    if mine.size % theirs.size:
        raise ExportError(
            f"{other.folder} sees {theirs.size} pixels, which do not divide the {mine.size} of "
            f"{first.folder}; train it with --set size={mine.size} or a part of that"
        )
