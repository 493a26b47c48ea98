"""Pictures a second of our training against a plain loop, in one run, alternating.

python benchmarks/training.py CELLS_CSV --model backbones/dinov2-small --last-blocks 4
python benchmarks/training.py CELLS_CSV --model resnet50 --scratch --last-blocks 1

The plain loop is what notebooks do: JPEGs opened, turned, mirrored, scaled and resized by Pillow
one by one, a DataLoader, AdamW, the whole network in fp32. Each variant lives in a process of its
own, as the allocator belongs to the process; they take turns, never two at once.
"""

import argparse
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerCallback, set_seed
from transformers.utils import logging

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.pack import open_pack, pack
from marrowscope.train.dataset import CellDataset, PackedDataset
from marrowscope.train.fit import resolved
from marrowscope.train.models import freeze_below, load_network, preprocessing_of
from marrowscope.train.performance import keep_memory
from marrowscope.train.settings import TrainSettings
from marrowscope.train.trainer import CellTrainer

THREADS, BATCH, SIDE = 2, 32, 224
PLAIN, FULL, FP32 = "plain loop", "ours", "ours, fp32"
JPEG, LAST = "ours, JPEG files", "ours, last blocks"


class PillowCells(Dataset[tuple[Tensor, int]]):
    """One picture at a time, all by Pillow, as notebooks do it without torchvision."""

    def __init__(self, manifest: Manifest, classes: list[str]) -> None:
        self._files = [manifest.root / cell.path for cell in manifest.cells]
        self._labels = [classes.index(cell.label) for cell in manifest.cells]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        with Image.open(self._files[index]) as file:
            image = file.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        image = image.rotate(random.uniform(-180, 180), Image.Resampling.BILINEAR)
        for flip in (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM):
            if random.random() < 0.5:
                image = image.transpose(flip)
        zoom = random.uniform(1 / 1.5, 1.5)
        x, y = (random.uniform(-0.05, 0.05) * SIDE + SIDE / 2 * (1 - zoom) for _ in range(2))
        map_ = (zoom, 0, x, 0, zoom, y)
        image = image.transform(
            (SIDE, SIDE), Image.Transform.AFFINE, map_, Image.Resampling.BILINEAR
        )
        values = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        return (values - mean[:, None, None]) / std[:, None, None], self._labels[index]


class Clock:
    """Times steps and the waiting for data in them, and stands still between two turns."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._left = 0
        self._start = self._cpu = self.waited = 0.0

    def step(self) -> None:
        """Note that a step ended; after the last one of a turn, report and wait for the next."""
        self._left -= 1
        if self._left > 0:
            return
        cpu = time.process_time() - self._cpu
        self._pipe.send((time.perf_counter() - self._start, cpu, self.waited))
        self._left = self._pipe.recv()
        self._start, self._cpu, self.waited = time.perf_counter(), time.process_time(), 0.0


class Timed(TrainerCallback):
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self._clock.step()


class TimedTrainer(CellTrainer):
    clock: Clock

    def get_batch_samples(self, epoch_iterator: Iterator[Any], *others: Any) -> Any:
        start = time.perf_counter()
        batch = super().get_batch_samples(epoch_iterator, *others)
        self.clock.waited += time.perf_counter() - start
        return batch


def train_plainly(given: argparse.Namespace, manifest: Manifest, clock: Clock) -> None:
    classes = sorted({cell.label for cell in manifest.cells})
    network = load_network(given.model, classes, pretrained=not given.scratch).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-5)
    loader = DataLoader(PillowCells(manifest, classes), BATCH, shuffle=True)
    while True:
        batches = iter(loader)
        for _ in range(len(loader)):
            start = time.perf_counter()
            images, labels = next(batches)
            clock.waited += time.perf_counter() - start
            optimizer.zero_grad()
            logits = network(pixel_values=images).logits
            loss = torch.nn.functional.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
            loss.item()
            clock.step()


def train_our_way(
    given: argparse.Namespace, manifest: Manifest, variant: str, folder: Path, clock: Clock
) -> None:
    keep_memory()
    classes = sorted({cell.label for cell in manifest.cells})
    blocks = given.last_blocks if variant == LAST else -1
    settings, preprocessing = resolved(
        TrainSettings(
            model=given.model,
            unfreeze_blocks=blocks,
            epochs=50,
            size=SIDE,
            precision="fp32" if variant == FP32 else "auto",
        )
    )
    network = load_network(given.model, classes, pretrained=not given.scratch)
    freeze_below(network, blocks)
    data: CellDataset | PackedDataset
    if variant == JPEG:
        data = CellDataset(manifest.root, manifest.cells, classes, preprocessing)
    else:
        data = PackedDataset(open_pack(folder / "pack"), manifest.cells, classes, preprocessing)
    trainer = TimedTrainer(network, settings, folder / "run", data, data)
    trainer.clock = clock
    trainer.add_callback(Timed(clock))
    trainer.train()


def live(
    given: argparse.Namespace, manifest: Manifest, variant: str, folder: Path, pipe: Connection
) -> None:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(THREADS)
    set_seed(0)
    if variant == PLAIN:
        train_plainly(given, manifest, Clock(pipe))
    else:
        train_our_way(given, manifest, variant, folder, Clock(pipe))


def measure(given: argparse.Namespace, manifest: Manifest, folder: Path) -> None:
    """Let the variants take turns, and print the medians over the turns."""
    variants = [
        PLAIN,
        FULL,
        FP32,
        *([JPEG] if given.jpeg else []),
        *([LAST] if given.last_blocks else []),
    ]
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for variant in variants:
        pipes[variant], theirs = context.Pipe()
        arguments = (given, manifest, variant, folder, theirs)
        processes.append(context.Process(target=live, args=arguments, daemon=True))
        processes[-1].start()
        pipes[variant].recv()  # the first step, which is not counted
    turns: dict[str, list[tuple[float, float, float]]] = {variant: [] for variant in variants}
    for turn in range(given.turns + 1):
        for variant, pipe in pipes.items():
            pipe.send(given.steps if turn else 1)
            seconds = pipe.recv()
            if turn:
                turns[variant].append(seconds)
    for process in processes:
        process.terminate()
        process.join()
    rates = {v: [given.steps * BATCH / wall for wall, _, _ in turns[v]] for v in variants}
    for variant in variants:
        ratio = median(a / b for a, b in zip(rates[variant], rates[PLAIN], strict=True))
        waiting = median(waited / wall for wall, _, waited in turns[variant])
        cpu = median(given.steps * BATCH / seconds for _, seconds, _ in turns[variant])
        print(
            f"{variant}: {median(rates[variant]):.2f}/s "
            f"({min(rates[variant]):.2f} to {max(rates[variant]):.2f}), "
            f"ratio {ratio:.2f}, {cpu:.2f} a core-second, "
            f"waits for data {waiting:.1%} of the time",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells_csv", type=Path)
    parser.add_argument("--model", default="dinov2-small")
    parser.add_argument("--scratch", action="store_true", help="random weights")
    parser.add_argument("--last-blocks", type=int, default=0)
    parser.add_argument("--jpeg", action="store_true", help="our way without a pack, too")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cells", type=int, default=1280)
    given = parser.parse_args()
    whole = read_manifest(given.cells_csv)
    every = max(1, len(whole.cells) // given.cells)
    manifest = replace(whole, cells=whole.cells[::every][: given.cells])
    with tempfile.TemporaryDirectory() as folder:
        pack(manifest, Path(folder, "pack"), replace(preprocessing_of(given.model), size=SIDE))
        measure(given, manifest, Path(folder))


if __name__ == "__main__":
    main()
