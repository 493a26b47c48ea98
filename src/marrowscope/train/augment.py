"""Random views of cells, made in batches: one warp for all geometry, one pass for the stain."""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

STAINS = torch.tensor(
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=torch.float32
)
"""Optical density (red, green, blue) of a blue and a red stain and a rest, one row each.

Source: Ruifrok and Johnston, Anal Quant Cytol Histol 2001;23:291 (haematoxylin, eosin, DAB).
"""


def augment(pixels: Tensor, zoom: float, stain_jitter: float) -> Tensor:
    """Give each (N, 3, S, S) uint8 picture a random view; the same shape and type comes back."""
    images = pixels.float() / 255
    images = warp(images, random_geometry(len(images), zoom))
    if stain_jitter > 0:
        images = restain(images, random_stain(len(images), stain_jitter))
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def random_geometry(count: int, zoom: float) -> Tensor:
    """Draw any rotation, a mirror, a scale in 1/zoom..zoom and a shift of up to 5%: (N, 2, 3)."""
    angle = torch.rand(count) * 2 * math.pi
    scale = torch.exp((torch.rand(count) * 2 - 1) * math.log(zoom))
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    shift = (torch.rand(count, 2) * 2 - 1) * 0.1
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = torch.stack(
        [torch.stack([cos * mirror, -sin], dim=1), torch.stack([sin * mirror, cos], dim=1)], dim=1
    )
    return torch.cat([rows, shift.unsqueeze(2)], dim=2)


def warp(images: Tensor, geometry: Tensor) -> Tensor:
    """Sample (N, 3, S, S) pictures through (N, 2, 3) affine maps; edges are mirrored."""
    grid = affine_grid(geometry, list(images.shape), align_corners=False)
    return grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def random_stain(count: int, jitter: float) -> Tensor:
    """Draw maps of optical density (N, 3, 3) that strengthen or weaken each stain by `jitter`."""
    strengths = 1 + (torch.rand(count, 3) * 2 - 1) * jitter
    maps: Tensor = torch.linalg.inv(STAINS) @ torch.diag_embed(strengths) @ STAINS
    return maps


def restain(images: Tensor, maps: Tensor) -> Tensor:
    """Apply (N, 3, 3) maps to the optical density of (N, 3, S, S) pictures of values 0..1."""
    density = -torch.log(images.clamp(min=1 / 255))
    changed = torch.einsum("nchw,ncd->ndhw", density, maps)
    return torch.exp(-changed).clamp(0, 1)
