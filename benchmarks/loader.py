"""Cells a second out of a pack against decoding JPEGs with Pillow, in one run, alternating.

python benchmarks/loader.py CELLS_CSV --cells 2000 --workers 0 1 2
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch.utils.data import DataLoader, Dataset

from marrowscope.data.manifest import read_manifest
from marrowscope.data.pack import pack
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.dataset import CellDataset, Item, PackedDataset

ROUNDS = 3


def stack(items: list[Item]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([item[0] for item in items]), torch.tensor([item[1] for item in items])


def rate(data: Dataset[Item], workers: int) -> tuple[float, int]:
    """Give cells a second of a shuffled epoch, and the sum of all pixels."""
    loader = DataLoader(data, 32, shuffle=True, num_workers=workers, collate_fn=stack)
    total = cells = 0
    start = time.perf_counter()
    for pixels, labels in loader:
        cells += len(labels)
        total += int(pixels[:, :, ::8, ::8].sum(dtype=torch.int64))
    return cells / (time.perf_counter() - start), total


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells_csv", type=Path)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    whole = read_manifest(given.cells_csv)
    step = max(1, len(whole.cells) // given.cells)
    manifest = replace(whole, cells=whole.cells[::step][: given.cells])
    classes = sorted({cell.label for cell in manifest.cells})
    preprocessing = Preprocessing()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        made = pack(manifest, Path(folder), preprocessing)
        seconds = time.perf_counter() - start
        print(f"{len(manifest.cells):,} cells packed in {seconds:.1f} s")
        plain = CellDataset(manifest.root, manifest.cells, classes, preprocessing)
        fast = PackedDataset(made, manifest.cells, classes, preprocessing)
        for workers in given.workers:
            rates: dict[str, list[float]] = {"Pillow": [], "pack": []}
            sums = set()
            for _ in range(ROUNDS):
                for name, data in (("Pillow", plain), ("pack", fast)):
                    speed, total = rate(data, workers)
                    rates[name].append(speed)
                    sums.add(total)
            middle = {name: median(values) for name, values in rates.items()}
            print(
                f"{workers} workers: Pillow {middle['Pillow']:,.0f}/s, "
                f"pack {middle['pack']:,.0f}/s, ratio {middle['pack'] / middle['Pillow']:.1f}, "
                f"{'the same pixels' if len(sums) == 1 else 'OTHER PIXELS'}",
                flush=True,
            )


if __name__ == "__main__":
    main()
