"""What runs are worth alone and together, on the validation cells of their split.

Found: two unlike networks gain about a point on validation cells and none in macro-F1 on the test.

    python experiments/together.py cells.csv split scores runs/vit runs/cnn runs/other --most 3

Each run scores each validation cell once; the logits are kept in the folder `scores`, by the name
of the run, so that another call costs seconds. A run that is `RUN:8` scores the mean of the logits
of the eight symmetries. Runs answer together by the mean of their logits, as `export --with` does.
Printed for every run and every set of up to `--most` of them that holds the first: macro-F1 by
source and over all cells, the error among the surest 80% as a share of that among all, and the
macro-F1 gained over the first run alone, with its interval (paired bootstrap over groups). The
cells of the test part are not read.
"""

import argparse
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.split import Split, SplitRow, located, read_split
from marrowscope.inference.predictor import softmax
from marrowscope.metrics.calibration import calibrate
from marrowscope.metrics.classification import confusion_matrix, macro, paired_differences
from marrowscope.metrics.selective import selective
from marrowscope.train.dataset import CellDataset, stack
from marrowscope.train.run import Run, read_run

BATCH = 32
SUPPORT = 10
"""True cells that a class needs in a set to count in its macro mean, as in `evaluate`."""
ROUNDS = 1000
EIGHT = "8"


def symmetries(pixels: np.ndarray) -> list[np.ndarray]:
    """Give pictures (N, 3, S, S) turned by quarters, and the same mirrored."""
    turned = [np.rot90(pixels, quarter, axes=(2, 3)) for quarter in range(4)]
    return turned + [each[..., ::-1] for each in turned]


def scored(run: Run, manifest: Manifest, rows: Sequence[SplitRow], eight: bool) -> np.ndarray:
    """Give the logits (N, C) of the cells of a split's rows."""
    cells = [row.cell for row in located(rows, manifest.cells, "val")]
    data = CellDataset(manifest.root, cells, run.classes, run.preprocessing)
    logits = []
    for start in range(0, len(data), BATCH):
        batch = stack([data[n] for n in range(start, min(start + BATCH, len(data)))])
        pixels = batch["pixels"].numpy()
        views = symmetries(pixels) if eight else [pixels]
        with torch.inference_mode():
            given = [
                run.network(
                    pixel_values=torch.from_numpy(run.preprocessing.normalise(view))
                ).logits.numpy()
                for view in views
            ]
        logits.append(np.mean(given, axis=0))
    return np.concatenate(logits)


def kept(name: str, folder: Path, manifest: Manifest, split: Split) -> tuple[np.ndarray, Run]:
    """Give the logits of a run, scored now or before, and the run."""
    path, _, views = name.partition(":")
    run = read_run(Path(path))
    if run.split.hash != split.hash:
        raise SystemExit(f"{path} learnt from another split")
    file = folder / f"{Path(path).name}{views and '-' + views}.npy"
    if not file.is_file():
        rows = [row for row in split.part("val") if row.cell.label in run.classes]
        np.save(file, scored(run, manifest, rows, views == EIGHT))
    return np.load(file), run


class Cells:
    """The validation cells of the covered classes: truth, source and group of each."""

    def __init__(self, split: Split, classes: Sequence[str]) -> None:
        rows = [row for row in split.part("val") if row.cell.label in classes]
        self.classes = len(classes)
        self.truth = np.array([classes.index(row.cell.label) for row in rows])
        self.sources = np.array([row.cell.source for row in rows])
        self.groups = np.unique([row.group for row in rows], return_inverse=True)[1]

    def macro_f1(self, guess: np.ndarray, chosen: np.ndarray) -> float:
        matrix = confusion_matrix(self.truth[chosen].tolist(), guess[chosen].tolist(), self.classes)
        return macro(matrix, np.flatnonzero(matrix.sum(axis=1) >= SUPPORT).tolist()).f1

    def figures(self, logits: np.ndarray, first: np.ndarray) -> dict[str, str]:
        """Give the figures of logits (N, C) in words, beside those of a first run."""
        guess = logits.argmax(axis=1)
        fitted = calibrate(logits.astype(np.float64), self.truth.tolist(), "curved")
        sure = softmax(fitted.apply(logits)).max(axis=1)
        right = guess == self.truth
        parts = selective(sure, right, self.groups, rounds=1, seed=0)
        gain = paired_differences(
            lambda matrix: {"f1": macro(matrix).f1},
            self.truth.tolist(),
            guess.tolist(),
            first.argmax(axis=1).tolist(),
            self.groups.tolist(),
            classes=self.classes,
            rounds=ROUNDS,
        )["f1"]
        return {
            source: f"{self.macro_f1(guess, self.sources == source):.3f}"
            for source in np.unique(self.sources)
        } | {
            "all": f"{self.macro_f1(guess, self.truth >= 0):.3f}",
            "accuracy": f"{right.mean():.3f}",
            "surest 80%": f"{parts.error_at_80.value / parts.error_full.value:.2f}",
            "gain": f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("cells_csv", "split", "scores"):
        parser.add_argument(name, type=Path)
    parser.add_argument("runs", nargs="+", metavar="RUN[:8]")
    parser.add_argument("--most", type=int, default=1)
    given = parser.parse_args()
    given.scores.mkdir(parents=True, exist_ok=True)
    split, manifest = read_split(given.split), read_manifest(given.cells_csv)
    found = [kept(name, given.scores, manifest, split) for name in given.runs]
    logits = dict(zip(given.runs, (each for each, _ in found), strict=True))
    cells = Cells(split, found[0][1].classes)
    first = logits[given.runs[0]]
    sets = [(name,) for name in given.runs] + [
        (given.runs[0], *others)
        for size in range(1, given.most)
        for others in combinations(given.runs[1:], size)
    ]
    for number, names in enumerate(sets):
        row = cells.figures(np.mean([logits[name] for name in names], axis=0), first)
        if not number:
            print("| runs | " + " | ".join(row) + " |\n|---|" + "---|" * len(row))
        together = " + ".join(Path(name).name for name in names)
        print(f"| {together} | " + " | ".join(row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
