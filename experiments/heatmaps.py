"""How far a bundle's heatmaps tell what the network's answer rests on.

Found: hiding the strongest quarter of a map costs 1.27 of the logit, hiding a random quarter 0.28 (n = 30).

python experiments/heatmaps.py RUN BUNDLE CELLS_CSV SPLIT [--cells 100]

On N validation cells, the evidence for the predicted class that the bundle gives at each place is
held against two accounts of the same logit (less the mean of all classes) that owe nothing to it,
summed to the same grid: integrated gradients from a grey picture, and occlusion (what is lost when
3 x 3 places are made grey). First, the rank correlation (Spearman) over the places of a cell.
Second, what is lost of the logit when the quarter of the places that an account names strongest is
made grey, against a random quarter. Means over cells, 95% intervals by drawing whole groups.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients, Occlusion
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor, nn

from marrowscope.data.manifest import read_manifest
from marrowscope.data.split import located, read_split
from marrowscope.inference.heatmap import evidence
from marrowscope.inference.predictor import Predictor
from marrowscope.io.images import read_image
from marrowscope.metrics.classification import draws, percentile_interval
from marrowscope.model.bundle import load_bundle
from marrowscope.train.run import read_run

STEPS, ROUNDS, SHARE = 32, 2000, 0.25
Places = NDArray[np.floating]


class Logits(nn.Module):
    """A network whose logits add up to 0 for each picture."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=pixels).logits
        return logits - logits.mean(dim=1, keepdim=True)


def on_grid(attribution: Tensor, side: int) -> Places:
    """Sum an attribution (1, 3, S, S) to the places of a heatmap (side, side)."""
    return nn.functional.adaptive_avg_pool2d(attribution.sum(dim=1), side)[0].detach().numpy()


def integrated(network: nn.Module, pixels: Tensor, target: int, side: int) -> Places:
    gradients = IntegratedGradients(network)
    found = gradients.attribute(pixels, target=target, n_steps=STEPS, internal_batch_size=16)
    return on_grid(found, side)


def occluded(network: nn.Module, pixels: Tensor, target: int, side: int) -> Places:
    step = pixels.shape[-1] // side
    lost = Occlusion(network).attribute(
        pixels,
        (3, 3 * step, 3 * step),
        strides=(3, step, step),
        target=target,
        perturbations_per_eval=36,
    )
    return on_grid(lost, side)


def lost(network: nn.Module, pixels: Tensor, target: int, accounts: Mapping[str, Places]) -> Tensor:
    """Hide the strongest places of each account; give what the logit loses by it."""
    hidden = [pixels[0]]
    for strength in accounts.values():
        strong = torch.from_numpy(strength >= np.quantile(strength, 1 - SHARE))
        mask = nn.functional.interpolate(strong[None, None].float(), pixels.shape[-2:])
        hidden.append((pixels * (1 - mask))[0])
    logits: Tensor = network(torch.stack(hidden))[:, target]
    return logits[0] - logits[1:]


def print_means(figures: Mapping[str, list[float]], groups: list[int]) -> None:
    index = np.unique(groups, return_inverse=True)[1]
    for name, values in figures.items():
        array = np.array(values)
        drawn = [float(np.average(array, weights=times)) for times in draws(index, ROUNDS, 0)]
        mean = percentile_interval(float(array.mean()), drawn)
        print(f"{name}: {mean.value:.3f} ({mean.low:.3f} to {mean.high:.3f}), n {len(array)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("run", "bundle", "data", "split"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--cells", type=int, default=100)
    given = parser.parse_args()
    bundle, manifest = load_bundle(str(given.bundle)), read_manifest(given.data)
    rows = located(read_split(given.split).part("val"), manifest.cells, "val")
    random = np.random.default_rng(0)
    chosen = [rows[place] for place in random.permutation(len(rows))[: given.cells]]
    network = Logits(read_run(given.run).network.eval()).requires_grad_(requires_grad=False)
    predictor = Predictor(bundle, 1)
    figures = defaultdict[str, list[float]](list)
    for row in chosen:
        image = read_image(manifest.root / row.cell.path)
        square = bundle.preprocessing.resize(image, row.cell.um_per_px)[None]
        target = int(predictor.logits(square)[0].argmax())
        heat = evidence(predictor.explain(square).activation[0])[target]
        pixels = torch.from_numpy(bundle.preprocessing.normalise(square))
        side = heat.shape[0]
        accounts = {
            "heatmap": heat,
            "gradients": integrated(network, pixels, target, side),
            "occlusion": occluded(network, pixels, target, side),
            "random": random.random(heat.shape),
        }
        for one, other in (
            ("heatmap", "gradients"),
            ("heatmap", "occlusion"),
            ("gradients", "occlusion"),
        ):
            rank = spearmanr(accounts[one].ravel(), accounts[other].ravel()).statistic
            figures[f"rank correlation, {one} and {other}"].append(float(rank))
        for name, loss in zip(accounts, lost(network, pixels, target, accounts), strict=True):
            figures[f"logit lost with the strongest {SHARE:.0%} of {name}"].append(float(loss))
    print_means(figures, [row.group for row in chosen])


if __name__ == "__main__":
    main()
