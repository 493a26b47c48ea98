"""The sharpness of whole pictures, and how a cell is shown with that of another.

Laboratories differ in lens, camera and sharpening as much as in stain: a network can tell them by
the fine structure of the chromatin. Each cell is therefore shown with the strength of coarse and
fine structure that another picture has, whatever the structure is.
"""

import math

import torch
from torch import Tensor

from marrowscope.train.palette import density

BANDS = 24
"""Rings of spatial frequency, of equal width, up to the finest checkerboard (0.71 per pixel)."""
COARSE = 0.03
"""Cycles per pixel up to which nothing is changed: that is the shape of the cell."""
LARGEST_GAIN = 5.0
"""Factor on the strength of a ring, up or down."""


def spectra(images: Tensor) -> Tensor:
    """Give the logarithm of the mean strength in each ring: (N, 3, S, S) in 0..1 to (N, BANDS)."""
    strength = torch.fft.rfft2(density(images).mean(dim=1)).abs().flatten(1)
    ring = _rings(images).flatten().long()
    waves = torch.bincount(ring, minlength=BANDS)
    sums = torch.zeros(len(images), BANDS, device=images.device).index_add_(1, ring, strength)
    return torch.log(sums / waves.clamp(min=1) + 1e-6)


def sharpen(images: Tensor, lent: Tensor, share: Tensor) -> Tensor:
    """Move pictures (N, 3, S, S), 0..1, a share (N,) of the way to spectra (N, BANDS) of others.

    Where another is blurred, this one is blurred as much; where it is sharp, sharpened.

    Source: Yang and Soatto, CVPR 2020, arXiv 2004.05498, who swap the coarse strengths.
    """
    steps = share[:, None] * (lent - spectra(images))
    gains = torch.exp(steps).clamp(1 / LARGEST_GAIN, LARGEST_GAIN)
    place = _rings(images)
    below = place.long().clamp(max=BANDS - 2)
    part = (place - below).clamp(0, 1)
    factor = gains[:, below] * (1 - part) + gains[:, below + 1] * part
    factor = torch.where(_frequency(images) > COARSE, factor, torch.ones_like(factor))
    waves = torch.fft.rfft2(density(images)) * factor[:, None]
    changed = torch.fft.irfft2(waves, s=images.shape[2:])
    return torch.exp(-changed).clamp(0, 1)


def _frequency(images: Tensor) -> Tensor:
    """Cycles per pixel of each wave of a picture: (S, S // 2 + 1)."""
    side, wide = images.shape[2:]
    down = torch.fft.fftfreq(side, device=images.device)
    across = torch.fft.rfftfreq(wide, device=images.device)
    return torch.hypot(down[:, None], across[None, :])


def _rings(images: Tensor) -> Tensor:
    """Place of each wave among the rings, 0 to BANDS - 1."""
    places = _frequency(images) / math.sqrt(0.5) * BANDS
    return places.clamp(max=BANDS - 1)
