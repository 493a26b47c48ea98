"""The looks of random training cells, colours and sharpness, that are lent to others."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
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


LENDERS = 512
"""Training cells whose looks are lent, at most."""


class Pictures(Protocol):
    """Cells that can be looked at one by one: (3, S, S) uint8, class, place."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> tuple[Tensor, int, int]: ...


@dataclass(frozen=True)
class Looks:
    """What M cells lend."""

    palettes: Tensor
    """(M, 2, 3): mean and spread of the optical density of each channel."""
    spectra: Tensor
    """(M, BANDS): logarithm of the strength of coarse to fine structure."""


def looks_of(cells: Pictures, seed: int) -> Looks:
    """Measure the looks of random cells, at most 512."""
    chosen = np.random.default_rng(seed).permutation(len(cells))[:LENDERS]
    pictures = (cells[int(place)][0][None].float() / 255 for place in chosen)
    measured = [(palettes(picture), spectra(picture)) for picture in pictures]
    colours, sharpness = zip(*measured, strict=True)
    return Looks(torch.cat(colours), torch.cat(sharpness))
