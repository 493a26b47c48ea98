"""The looks of random training cells, colours and sharpness, that are lent to others."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from marrowscope.train.palette import palettes
from marrowscope.train.spectrum import spectra

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
