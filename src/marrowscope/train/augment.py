"""Random views of cells, made in batches on the device.

A view is one warp, then the sharpness and colours of another cell, then stain, blur and noise.

What a view looks like depends on the seed, the epoch and the cell alone: not on the batch it comes
in, on the number of processes, or on where an interrupted training went on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, pad

from marrowscope.train.settings import TrainSettings
from marrowscope.train.style_transfer import Looks, density, repaint, sharpen

STAINS = torch.tensor(
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=torch.float32
)
"""Optical density (red, green, blue) of a blue and a red stain and a rest, one row each.

Source: Ruifrok and Johnston, Anal Quant Cytol Histol 2001;23:291 (haematoxylin, eosin, DAB).
"""
LUMA_TABLE = torch.tensor(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=torch.float32,
)
"""Steps that an 8 x 8 block's frequencies are rounded to at quality 50. Source: ITU-T T.81, K.1."""
WORST_QUALITY = 2.5
"""Factor on `LUMA_TABLE` at quality 20."""
BLURRED, NOISY, COARSENED = 1 / 3, 1 / 2, 1 / 2
"""Share of the images that are blurred, get JPEG noise, and lose resolution."""
DRAWN = 23
"""Random numbers that are drawn for each cell."""


@dataclass(frozen=True)
class Views:
    """What is done to each of N pictures."""

    geometry: Tensor
    """(N, 2, 3): affine maps of the sampling grid, in half sides."""
    colour: Tensor
    """(N, 3, 3): maps of optical density."""
    gain: Tensor
    """(N, 3): factors on red, green and blue."""
    blur: Tensor
    """(N,): standard deviation, pixels; 0 for none."""
    jpeg: Tensor
    """(N,): factor on `LUMA_TABLE`; 0 for none."""
    repainted: Tensor
    """(N,): how far the colours go to those of another cell, 0..1."""
    lender: Tensor
    """(N,): which of the cells that lend their looks that is, as a share of their number, 0..1."""
    sharpened: Tensor
    """(N,): how far the sharpness goes to that of the same other cell, 0..1."""
    coarsened: Tensor
    """(N,): factor by which resolution is lost; 1 for none."""


def draw(settings: TrainSettings, epoch: int, cells: Sequence[int]) -> Views:
    """Draw the views of some cells, by their places in the training part, in one epoch."""
    numbers = np.stack(
        [np.random.default_rng((settings.seed, epoch, cell)).random(DRAWN) for cell in cells]
    )
    signed = 2 * numbers - 1
    jitter = 1 + settings.stain_jitter * signed[:, 5:8]
    stains = STAINS.numpy().astype(np.float64)
    colour = np.linalg.inv(stains) @ (jitter[:, :, None] * stains)
    gain = (1 + settings.colour_jitter * signed[:, 8:9]) * (
        1 + settings.colour_jitter * signed[:, 9:12]
    )
    blurred = np.where(numbers[:, 12] < BLURRED, settings.blur * numbers[:, 13], 0)
    noisy = np.where(numbers[:, 14] < NOISY, settings.jpeg * WORST_QUALITY * numbers[:, 15], 0)
    repainted = np.where(numbers[:, 16] < settings.stain_swap, numbers[:, 17], 0)
    sharpened = np.where(numbers[:, 19] < settings.sharpness_swap, numbers[:, 20], 0)
    coarse = np.exp(math.log(settings.coarsening) * numbers[:, 22])
    coarsened = np.where(numbers[:, 21] < COARSENED, coarse, 1)
    arrays = (
        *(_geometry(settings, numbers), colour, gain, blurred, noisy, repainted),
        *(numbers[:, 18], sharpened, coarsened),
    )
    return Views(*(torch.from_numpy(array.astype(np.float32)) for array in arrays))


def _geometry(settings: TrainSettings, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn uniform numbers (N, 23) into an angle, a mirror, a scale and a shift each: (N, 2, 3)."""
    signed = 2 * numbers - 1
    angle = np.deg2rad(settings.rotation) * signed[:, 0]
    scale = np.exp(math.log(settings.zoom) * signed[:, 1])
    mirror = np.where(settings.flips & (numbers[:, 2] < 0.5), -1.0, 1.0)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    shift = 2 * settings.shift * signed[:, 3:5]
    rows = ((cos * mirror, -sin, shift[:, 0]), (sin * mirror, cos, shift[:, 1]))
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def augment(pixels: Tensor, views: Views, looks: Looks | None = None) -> Tensor:
    """Give (N, 3, S, S) uint8 pictures as the views say; the same shape and type comes back.

    `looks` are what other cells lend; without them none is repainted or sharpened.
    """
    device = pixels.device
    images = warp(pixels.float() / 255, views.geometry.to(device))
    if looks is not None:
        lender = (views.lender * len(looks.palettes)).long()
        if views.sharpened.any():
            lent = looks.spectra[lender].to(device)
            images = sharpen(images, lent, views.sharpened.to(device))
        if views.repainted.any():
            lent = looks.palettes[lender].to(device)
            images = repaint(images, lent, views.repainted.to(device))
    images = restain(images, views.colour.to(device), views.gain.to(device))
    if views.blur.any():
        images = blur(images, views.blur.to(device))
    if (views.coarsened > 1).any():
        images = coarsen(images, views.coarsened)
    if views.jpeg.any():
        images = jpeg_noise(images, views.jpeg.to(device))
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def warp(images: Tensor, geometry: Tensor) -> Tensor:
    """Sample (N, 3, S, S) pictures through (N, 2, 3) affine maps; edges are mirrored."""
    grid = affine_grid(geometry, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def restain(images: Tensor, maps: Tensor, gain: Tensor) -> Tensor:
    """Change stains by (N, 3, 3) maps of optical density and channels by (N, 3) factors; 0..1."""
    changed = torch.einsum("nchw,ncd->ndhw", density(images), maps)
    return (torch.exp(-changed) * gain[:, :, None, None]).clamp(0, 1)


def blur(images: Tensor, deviation: Tensor) -> Tensor:
    """Blur the pictures (N, 3, S, S) whose deviation (N,), in pixels, is above 0."""
    chosen = torch.nonzero(deviation > 0)[:, 0]
    some, reach = images[chosen], 3
    steps = torch.arange(-reach, reach + 1, device=images.device)
    kernel = torch.exp(-((steps / deviation[chosen, None].clamp(min=0.1)) ** 2) / 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True)).repeat_interleave(3, dim=0)
    flat = some.reshape(1, -1, *some.shape[2:])
    flat = conv2d(
        pad(flat, (reach, reach, 0, 0), "reflect"), kernel[:, None, None], groups=len(kernel)
    )
    flat = conv2d(
        pad(flat, (0, 0, reach, reach), "reflect"), kernel[:, None, :, None], groups=len(kernel)
    )
    return images.index_copy(0, chosen, flat.reshape(some.shape))


def coarsen(images: Tensor, factors: Tensor) -> Tensor:
    """Take resolution from the images (N, 3, S, S) whose factor (N,) is above 1.

    At a factor of 2, an image of 160 pixels becomes one of 80, by means of areas, and 160 again.
    """
    images = images.clone()
    side = images.shape[-1]
    for index in torch.nonzero(factors > 1)[:, 0].tolist():
        small = max(1, round(side / float(factors[index])))
        coarse = interpolate(images[index : index + 1], size=small, mode="area")
        images[index] = interpolate(coarse, size=side, mode="bilinear", align_corners=False)[0]
    return images


def jpeg_noise(images: Tensor, strength: Tensor) -> Tensor:
    """Round the frequencies of 8 x 8 blocks as JPEG does, where the strength (N,) is above 0."""
    chosen = torch.nonzero(strength > 0)[:, 0]
    some = images[chosen]
    count, channels, height, width = some.shape
    padded = pad(some, (0, -width % 8, 0, -height % 8), "replicate") * 255 - 128
    rows, columns = padded.shape[2] // 8, padded.shape[3] // 8
    blocks = padded.reshape(count, channels, rows, 8, columns, 8).transpose(3, 4)
    waves = _waves().to(images.device)
    steps = LUMA_TABLE.to(images.device) * strength[chosen, None, None]
    steps = steps[:, None, None, None].clamp(min=1)
    frequencies = waves @ blocks @ waves.T
    blocks = waves.T @ (torch.round(frequencies / steps) * steps) @ waves
    noisy = blocks.transpose(3, 4).reshape(padded.shape)[:, :, :height, :width]
    return images.index_copy(0, chosen, ((noisy + 128) / 255).clamp(0, 1))


def _waves() -> Tensor:
    """Give the orthonormal cosine transform of 8 values: (8, 8)."""
    places = torch.arange(8, dtype=torch.float32)
    waves = torch.cos(math.pi / 8 * places[:, None] * (places + 0.5)) / 2
    waves[0] /= math.sqrt(2)
    return waves
