"""The colours of whole pictures, and how a cell is shown in those of another.

What tells two laboratories apart is stain and light more than shape. A network that sees each cell
in the colours of others cannot take the colour of a source for a class.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

PALETTES = 512
"""Training cells whose colours are lent to others."""
LARGEST_STRETCH = 2.0
"""Factor on the spread of a channel, up or down."""


class Pictures(Protocol):
    """Cells that can be looked at one by one: (3, S, S) uint8, class, place."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Tensor, int, int]: ...


def density(images: Tensor) -> Tensor:
    """Give the optical density of pictures in 0..1: 0 for white, ln 255 for black."""
    return -torch.log(images.clamp(min=1 / 255))


def palettes(images: Tensor) -> Tensor:
    """Give mean and spread of the density of each channel: (N, 3, S, S) in 0..1 to (N, 2, 3).

    A picture that is half white and half black in all channels has (2.77, 2.77) for each.
    """
    deep = density(images).flatten(2)
    return torch.stack([deep.mean(dim=2), deep.std(dim=2, correction=0)], dim=1)


def palettes_of(cells: Pictures, seed: int) -> Tensor:
    """Give the palettes of random cells, at most 512: (M, 2, 3)."""
    chosen = np.random.default_rng(seed).permutation(len(cells))[:PALETTES]
    return torch.cat([palettes(cells[int(place)][0][None].float() / 255) for place in chosen])


def repaint(images: Tensor, lent: Tensor, share: Tensor) -> Tensor:
    """Move pictures (N, 3, S, S), 0..1, a share (N,) of the way to palettes lent by others.

    Source: Reinhard et al., IEEE Comput Graph Appl 2001;21(5):34 (mean and spread, per channel).
    """
    own = palettes(images)
    wanted = own + share[:, None, None] * (lent - own)
    stretch = wanted[:, 1] / own[:, 1].clamp(min=1e-3)
    stretch = stretch.clamp(1 / LARGEST_STRETCH, LARGEST_STRETCH)[:, :, None, None]
    means = (palette[:, 0, :, None, None] for palette in (own, wanted))
    before, after = means
    return torch.exp(-(stretch * (density(images) - before) + after)).clamp(0, 1)
