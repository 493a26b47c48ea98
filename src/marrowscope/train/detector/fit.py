"""Train the network that finds cells on whole fields."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from marrowscope.errors import TrainingError
from marrowscope.train.detector.copy_paste import Cutout
from marrowscope.train.detector.network import STRIDE, FinderNet, loss, targets
from marrowscope.train.detector.scenes import SIDE, Scene, draw_scene


@dataclass(frozen=True)
class FinderSettings:
    """How the finder is trained."""

    steps: int = 500
    """Batches."""
    batch: int = 16
    """Scenes of a batch."""
    learning_rate: float = 2e-3
    """Highest, after a tenth of the steps; it falls to 0 (one cycle)."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    seed: int = 0
    """Of weights and scenes."""


def fit_finder(
    fields: Sequence[Scene],
    cells: Sequence[Cutout],
    settings: FinderSettings,
    advance: Callable[[int, float], None],
) -> FinderNet:
    """Train from random weights; `advance` hears the step and its loss.

    Raises:
        TrainingError: the loss is no number.
    """
    torch.manual_seed(settings.seed)
    random = np.random.default_rng(settings.seed)
    network = FinderNet().train()
    optimiser = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    plan = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    for step in range(settings.steps):
        scenes = [draw_scene(fields, cells, random) for _ in range(settings.batch)]
        wrong = loss(network(_pictures(scenes)), *_maps(scenes))
        if not torch.isfinite(wrong):
            raise TrainingError(f"the loss of the finder is no number at step {step}")
        optimiser.zero_grad()
        wrong.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        plan.step()
        advance(step, float(wrong.detach()))
    return network.eval()


def _pictures(scenes: Sequence[Scene]) -> torch.Tensor:
    return torch.from_numpy(np.stack([scene.densities.transpose(2, 0, 1) for scene in scenes]))


def _maps(scenes: Sequence[Scene]) -> tuple[torch.Tensor, ...]:
    drawn = [targets(scene.boxes, scene.kinds.tolist(), SIDE // STRIDE) for scene in scenes]
    return tuple(torch.from_numpy(np.stack(maps)) for maps in zip(*drawn, strict=True))
