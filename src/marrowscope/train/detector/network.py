"""The network that finds cells on whole fields, and what it learns from."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 4
"""Pixels of the picture for one of the maps."""
KINDS = ("WBC", "RBC", "PLT")
"""What the maps of middles tell apart; red cells and platelets teach it what to leave out."""
SIDE_PX = 20.0
"""Distance from middle to side where the network says 0: 5 um at 0.25 um per pixel."""
RARE = -4.0
"""Logit of a middle where nothing was learnt: most places are none."""
WIDTHS = (16, 24, 48, 96, 128)
NECK = 64


class FinderNet(nn.Module):
    """Turn densities `(N, 3, H, W)` into maps `(N, 7, H / 4, W / 4)`; H and W divide by 16.

    The first three maps are logits of a middle of each of `KINDS`, the other four the distances
    from there to the box's left, top, right and lower side, in pixels of the picture.
    """

    def __init__(self) -> None:
        """Start from random weights."""
        super().__init__()
        first, second, *deep = WIDTHS
        self.stem = nn.Sequential(_block(3, first, 2), _block(first, second, 1))
        sizes = zip((second, *deep[:-1]), deep, strict=True)
        self.down = nn.ModuleList(
            nn.Sequential(_block(before, after, 2), _block(after, after, 1))
            for before, after in sizes
        )
        self.sideways = nn.ModuleList(nn.Conv2d(width, NECK, 1) for width in deep)
        self.smooth = _block(NECK, NECK, 1)
        self.out = nn.Conv2d(NECK, len(KINDS) + 4, 1)
        with torch.no_grad():
            self.out.bias[: len(KINDS)] = RARE  # type: ignore[index]

    def forward(self, densities: Tensor) -> Tensor:
        """Give the maps."""
        features = self.stem(densities)
        steps = []
        for part in self.down:
            features = part(features)
            steps.append(features)
        merged = self.sideways[-1](steps[-1])
        for side, step in zip(self.sideways[-2::-1], steps[-2::-1], strict=True):
            merged = functional.interpolate(merged, scale_factor=2.0) + side(step)
        maps = self.out(self.smooth(merged))
        kinds, sides = maps[:, : len(KINDS)], maps[:, len(KINDS) :]
        return torch.cat([kinds, SIDE_PX * torch.exp(sides.clamp(-4, 2))], 1)


def _block(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def targets(
    boxes: np.ndarray, kinds: Sequence[int], side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the maps that a scene asks for.

    Args:
        boxes: `(N, 4)`: x0, y0, x1, y1 in pixels of the picture.
        kinds: N places in `KINDS`.
        side: of the maps.

    Returns:
        Middles `(3, side, side)`, 0 to 1; distances `(4, side, side)`, pixels; and how much each
        place counts for the distances `(side, side)`.
    """
    middles = np.zeros((len(KINDS), side, side), np.float32)
    distances = np.ones((4, side, side), np.float32)
    weights = np.zeros((side, side), np.float32)
    at_y, at_x = np.mgrid[:side, :side] * STRIDE + STRIDE / 2
    for (x0, y0, x1, y1), kind in zip(boxes, kinds, strict=True):
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        spread_x, spread_y = max(x1 - x0, 8) / 6, max(y1 - y0, 8) / 6
        hill = np.exp(-((at_x - x) ** 2 / spread_x**2 + (at_y - y) ** 2 / spread_y**2) / 2)
        row = int(np.clip(y // STRIDE, 0, side - 1))
        column = int(np.clip(x // STRIDE, 0, side - 1))
        hill[row, column] = 1.0
        middles[kind] = np.maximum(middles[kind], hill)
        counts = np.where(hill > 0.4, hill * (1.0 if kind == 0 else 0.3), 0)
        here = counts > weights
        to_sides = np.stack([at_x - x0, at_y - y0, x1 - at_x, y1 - at_y])
        distances[:, here] = np.maximum(to_sides[:, here], 1)
        weights[here] = counts[here]
    return middles, distances, weights


def loss(maps: Tensor, middles: Tensor, distances: Tensor, weights: Tensor) -> Tensor:
    """Weigh wrong middles (focal loss) and boxes that overlap too little (-log IoU).

    `maps` (N, 7, H, W) are those of the network; middles (N, 3, H, W), distances (N, 4, H, W) and
    weights (N, H, W) those of `targets`.

    Source: Zhou, Wang and Kraehenbuehl, arXiv 1904.07850 (CenterNet); Yu et al., arXiv 1608.01471
    (UnitBox).
    """
    logits, sides = maps[:, : len(KINDS)], maps[:, len(KINDS) :]
    chance = torch.sigmoid(logits).clamp(1e-5, 1 - 1e-5)
    top = middles.eq(1)
    hit = -torch.log(chance) * (1 - chance) ** 2
    miss = -torch.log(1 - chance) * chance**2 * (1 - middles) ** 4
    share = torch.tensor([1.0, 0.3, 0.3]).view(1, -1, 1, 1)
    focal = (share * torch.where(top, hit, miss)).sum() / (share * top).sum().clamp(min=1)
    least = torch.minimum(sides, distances)
    both = (least[:, 0] + least[:, 2]) * (least[:, 1] + least[:, 3])
    ours = (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])
    theirs = (distances[:, 0] + distances[:, 2]) * (distances[:, 1] + distances[:, 3])
    overlap = both / (ours + theirs - both)
    return focal + (-torch.log(overlap.clamp(min=1e-4)) * weights).sum() / weights.sum().clamp(
        min=1
    )
