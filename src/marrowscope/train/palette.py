"""The colours of whole pictures, and how a cell is shown in those of another.

What tells two laboratories apart is stain and light more than shape. A network that sees each cell
in the colours of others cannot take the colour of a source for a class.
"""

import torch
from torch import Tensor

LARGEST_STRETCH = 2.0
"""Factor on the spread of a channel, up or down."""


def density(images: Tensor) -> Tensor:
    """Give the optical density of pictures in 0..1: 0 for white, ln 255 for black."""
    return -torch.log(images.clamp(min=1 / 255))


def palettes(images: Tensor) -> Tensor:
    """Give mean and spread of the density of each channel: (N, 3, S, S) in 0..1 to (N, 2, 3).

    A picture that is half white and half black in all channels has (2.77, 2.77) for each.
    """
    deep = density(images).flatten(2)
    return torch.stack([deep.mean(dim=2), deep.std(dim=2, correction=0)], dim=1)


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
