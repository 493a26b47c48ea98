"""Train first without labels, or on one source alone, and then on all: is that worth its time?

Found: neither blood first nor VICReg first gains anything over training on all cells at once.

    python experiments/pretraining.py cells.csv split pack112 runs/self --way self \
        --fields fields --recipe mobilenet-v2 --set size=112 --set epochs=10
    python experiments/pretraining.py cells.csv split pack112 runs/blood --way pbc \
        --recipe mobilenet-v2 --set size=112 --set epochs=10

`--way self` shows the training cells of the split, and with `--fields` squares cut around random
places of whole fields (`boxes.csv` beside them), twice in two random views, and trains the network
to give both the same embedding by VICReg (Bardes, Ponce and LeCun, ICLR 2022, arXiv 2105.04906:
weights 25, 25 and 1). Any other way is a source: the network first learns the classes of its
cells. Both take `--before` epochs; then comes the run that the settings say, from these weights,
in OUTPUT/run, and its best validation macro-F1 is printed. Validation and test cells are not read
by the first part, and the test part by none.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from shutil import copy
from statistics import median
from typing import Any

import numpy as np
import torch
from domains import of_source
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import mse_loss, relu

from marrowscope.commands.common import prepare_training, training_bar
from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.pack import Pack, open_pack
from marrowscope.data.split import Split, located, read_split
from marrowscope.detection.boxes import BOXES, CELL, read_boxes
from marrowscope.io.images import read_image
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.augment import augment, draw
from marrowscope.train.dataset import PackedDataset
from marrowscope.train.fit import fit, resolved
from marrowscope.train.models import INPUT, load_network
from marrowscope.train.performance import keep_memory, order_channels
from marrowscope.train.recipes import read_changes, settings_of
from marrowscope.train.settings import TrainSettings
from marrowscope.train.style_transfer import looks_of

BATCH, WIDTH = 64, 1024
"""Cells in a step, and outputs of each layer that widens the embeddings."""
CELL_WIDTHS = 2.0
"""Side of a square of a field, in widths of its median white cell: about 21.5 micrometres."""
SQUARES = 20
"""Squares that are cut out of a field."""


def squares(folder: Path, size: int, seed: int) -> NDArray[np.uint8]:
    """Cut squares (N, 3, S, S) around random places out of the fields that have white cells."""
    random = np.random.default_rng(seed)
    cut = []
    for name, boxes in sorted(read_boxes(folder / BOXES).items()):
        widths = [box.x1 - box.x0 for box in boxes if box.label == CELL]
        if not widths:
            continue
        field = read_image(folder / name)
        side = min(round(CELL_WIDTHS * median(widths)), *field.size)
        for _ in range(SQUARES):
            left, top = (int(random.integers(length - side + 1)) for length in field.size)
            square = field.crop((left, top, left + side, top + side))
            cut.append(np.asarray(square.resize((size, size), Image.Resampling.BICUBIC)))
    return np.stack(cut).transpose(0, 3, 1, 2)


def vicreg(one: Tensor, other: Tensor) -> Tensor:
    """Give the loss of two views' widened embeddings, (N, D) each."""
    spread = sum(relu(1 - (each.var(dim=0) + 1e-4).sqrt()).mean() for each in (one, other)) / 2
    return 25 * mse_loss(one, other) + 25 * spread + covariance(one) + covariance(other)


def covariance(given: Tensor) -> Tensor:
    matrix = (given - given.mean(dim=0)).T @ (given - given.mean(dim=0)) / (len(given) - 1)
    return (matrix.pow(2).sum() - matrix.diagonal().pow(2).sum()) / given.shape[1]


def widening(width: int) -> nn.Module:
    layers: list[nn.Module] = []
    for inputs in (width, WIDTH):
        layers += [nn.Linear(inputs, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, WIDTH, bias=False))


def pretrain(
    split: Split,
    manifest: Manifest,
    pack: Pack,
    fields: Path | None,
    settings: TrainSettings,
    preprocessing: Preprocessing,
    epochs: int,
) -> Any:
    """Train the network on unlabelled pictures; give it with a head that knows nothing."""
    cells = [row.cell for row in located(split.part("train"), manifest.cells, "train")]
    codes = sorted({cell.label for cell in cells})
    data = PackedDataset(pack, cells, codes, preprocessing)
    looks = looks_of(data, settings.seed)
    pixels = np.stack([data[n][0].numpy() for n in range(len(data))])
    if fields:
        pixels = np.concatenate([pixels, squares(fields, preprocessing.size, settings.seed)])
    print(f"{len(pixels):,} pictures without labels, {len(data):,} of them cells", flush=True)
    network: Any = load_network(settings.model, ["one", "two"])
    layout = order_channels(network)
    mean, std = (torch.from_numpy(values) for values in preprocessing.in_levels())

    def embedded(images: Tensor) -> Tensor:
        images = ((images.float() - mean) / std).contiguous(memory_format=layout)
        given: Tensor = network.base_model(images).pooler_output.flatten(1)
        return given

    widen = widening(embedded(torch.from_numpy(pixels[:2])).shape[1])
    parameters = [*network.base_model.parameters(), *widen.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=5e-4, weight_decay=1e-4)
    steps = len(pixels) // BATCH
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-4, epochs * steps)
    network.train()
    for epoch in range(epochs):
        order = np.random.default_rng((settings.seed, epoch)).permutation(len(pixels))
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            views = []
            for view in range(2):
                own = replace(settings, seed=2 * settings.seed + view + 1)
                drawn = draw(own, epoch, chosen.tolist())
                images = augment(torch.from_numpy(pixels[chosen]), drawn, looks)
                views.append(widen(embedded(images)))
            loss = vicreg(*views)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            course.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)
    return network


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("cells_csv", "split", "pack", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--way", required=True, help="self, or a source")
    parser.add_argument("--before", type=int, default=8, help="epochs of the first part")
    parser.add_argument("--fields", type=Path)
    parser.add_argument("--recipe", default="mobilenet-v2")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    prepare_training()
    settings = settings_of(given.recipe, read_changes(given.set))
    split, manifest = read_split(given.split), read_manifest(given.cells_csv)
    pack = open_pack(given.pack)
    first = given.output / "first"
    if given.way == "self":
        _, preprocessing = resolved(settings)
        torch.set_num_threads(settings.threads or torch.get_num_threads())
        keep_memory()
        torch.manual_seed(settings.seed)
        network = pretrain(
            split, manifest, pack, given.fields, settings, preprocessing, given.before
        )
        network.save_pretrained(first)
    else:
        own = replace(settings, epochs=given.before)
        with training_bar() as watch:
            fit(manifest, of_source(split, given.way), own, first, watch=watch, pack=pack)
    if (Path(settings.model) / INPUT).is_file():
        copy(Path(settings.model) / INPUT, first)
    with training_bar() as watch:
        then = replace(settings, model=str(first))
        run = fit(manifest, split, then, given.output / "run", watch=watch, pack=pack)
    print(f"best validation macro-F1: {run.best_macro_f1:.4f}")


if __name__ == "__main__":
    main()
