"""How well classes learnt from one source alone are found in the pictures of another.

Found: of marrow cells whose class was taken out, 2% are found, and 45% with source adjustment, at 12 points of the others.

python experiments/borrowed.py CELLS_CSV SPLIT PACKS OUTPUT --recipe dinov2-small \
    --variant plain: --variant swap:stain_swap=0.5,zoom=1.3 --set size=112 --epochs 4

The training cells of some classes of one source are left out, as if that source had none. Of its
validation cells of these classes, which then choose no epoch, the share that is recognised is
printed for each variant, beside the macro-F1 of the other validation cells. The test part is not
read. The other source must have enough training cells of these classes (`--set min_images=60`).
PACKS holds a folder of `data pack` for each size and field: `112-0`, `112-21.5`.
Interrupted, the same command goes on.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from marrowscope.commands.common import training_bar
from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.pack import Pack, open_pack
from marrowscope.data.split import Split, SplitRow, located, read_split
from marrowscope.metrics.classification import confusion_matrix, exact_interval, macro
from marrowscope.taxonomy import in_order
from marrowscope.train.dataset import PackedDataset
from marrowscope.train.fit import fit
from marrowscope.train.recipes import read_changes, settings_of
from marrowscope.train.run import WEIGHTS, Run, read_run

UNUSED, BORROWED = "unused", "borrowed"
BATCH = 32


def without(split: Split, source: str, classes: list[str]) -> Split:
    """Take the cells of some classes of a source out of training and out of validation.

    They leave their groups: cells that share pixels with them may stay in training, as no cell
    that was in training is measured.
    """
    elsewhere = {"train": UNUSED, "val": BORROWED}

    def moved(row: SplitRow) -> SplitRow:
        if row.cell.source != source or row.cell.label not in classes:
            return row
        group = row.group + len(split.rows)
        return replace(row, part=elsewhere.get(row.part, row.part), group=group)

    return replace(split, rows=tuple(map(moved, split.rows)))


def predicted(run: Run, manifest: Manifest, pack: Pack, part: str) -> dict[str, np.ndarray]:
    """Give true and predicted class indices of the covered cells of a part, by source."""
    rows = [row for row in run.split.part(part) if row.cell.label in run.classes]
    cells = [row.cell for row in located(rows, manifest.cells, part)]
    data = PackedDataset(pack, cells, run.classes, run.preprocessing)
    guesses = []
    for start in range(0, len(data), BATCH):
        pixels = np.stack([data[n][0] for n in range(start, min(start + BATCH, len(data)))])
        with torch.inference_mode():
            given = torch.from_numpy(run.preprocessing.normalise(pixels))
            guesses.append(run.network(pixel_values=given).logits.argmax(dim=1).numpy())
    both = np.stack([data.labels, np.concatenate(guesses)])
    sources = np.array([cell.source for cell in cells])
    return {str(source): both[:, sources == source] for source in np.unique(sources)}


def figures(run: Run, manifest: Manifest, pack: Pack, classes: list[str]) -> dict[str, str]:
    """Give the figures of a run in words."""
    found = {}
    truth, guess = np.concatenate(list(predicted(run, manifest, pack, BORROWED).values()), axis=1)
    for code in ["all", *classes]:
        chosen = truth == run.classes.index(code) if code != "all" else truth >= 0
        right, cells = int((truth == guess)[chosen].sum()), int(chosen.sum())
        recall = exact_interval(right, cells)
        found[f"borrowed {code}"] = (
            f"{recall.value:.3f} ({recall.low:.3f} to {recall.high:.3f}), n = {cells}"
        )
    for source, (truth, guess) in predicted(run, manifest, pack, "val").items():
        matrix = confusion_matrix(truth.tolist(), guess.tolist(), len(run.classes))
        enough = np.flatnonzero(matrix.sum(axis=1) >= 10).tolist()
        found[f"macro-F1 {source}"] = f"{macro(matrix, enough).f1:.3f}, n = {len(truth)}"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("cells_csv", "split", "packs", "output"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--recipe", default="dinov2-small")
    parser.add_argument("--source", default="mll")
    parser.add_argument("--classes", default="NGS,EOS,LYT")
    parser.add_argument("--variant", action="append", required=True, metavar="NAME:SETTINGS")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    manifest = read_manifest(given.cells_csv)
    classes = list(in_order(given.classes.split(",")))
    split = without(read_split(given.split), given.source, classes)
    table = {}
    for variant in given.variant:
        name, _, own = variant.partition(":")
        folder = given.output / name
        changes = read_changes([*given.set, *filter(None, own.split(","))])
        settings = settings_of(given.recipe, {"epochs": given.epochs} | changes)
        size, field = settings.size or 224, settings.field_um
        pack = open_pack(given.packs / f"{size}-{field:g}")
        if not (folder / WEIGHTS).is_file():
            with training_bar() as watch:
                fit(manifest, split, settings, folder, watch=watch, pack=pack, resume=True)
        table[name] = figures(read_run(folder), manifest, pack, classes)
        (given.output / "figures.json").write_text(json.dumps(table, indent=2) + "\n")
    names = list(next(iter(table.values())))
    print("| | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(row[key] for key in names) + " |")


if __name__ == "__main__":
    main()
