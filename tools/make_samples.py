"""Choose the real cells that the project carries in `samples/` for its demo and its tests.

A few cells of every class and source, chosen by a seeded draw; cells that are known to overlap
another one are left alone. Run once; the chosen cells are held out of every training since.

    python tools/make_samples.py DATA_FOLDER samples
"""

import argparse
import csv
import random
import shutil
from collections import defaultdict
from pathlib import Path

from marrowscope.data.manifest import read_manifest
from marrowscope.data.split import read_pairs
from marrowscope.types import Cell

LARGE_STRATUM = 100
OF_LARGE = {"mll": 14, "pbc": 5}
OF_SMALL = 3


def choose(cells: list[Cell], seed: int) -> list[Cell]:
    """Draw a fixed number of cells from each source and class, in a stable order."""
    strata: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in cells:
        strata[cell.source, cell.label].append(cell)
    draw = random.Random(seed)
    chosen = []
    for (source, _), members in sorted(strata.items()):
        number = OF_LARGE[source] if len(members) >= LARGE_STRATUM else OF_SMALL
        members.sort(key=lambda cell: cell.sha256)
        chosen += draw.sample(members, min(number, len(members)))
    return sorted(chosen, key=lambda cell: cell.path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder with cells.csv and known_overlaps.csv")
    parser.add_argument("samples", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    overlapping = {
        path for pair in read_pairs(arguments.data / "known_overlaps.csv") for path in pair
    }
    manifest = read_manifest(arguments.data / "cells.csv")
    chosen = choose([c for c in manifest.cells if c.path not in overlapping], arguments.seed)
    with (arguments.samples / "cells.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "source", "sha256"])
        for cell in chosen:
            target = arguments.samples / "cells" / cell.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(manifest.root / cell.path, target)
            writer.writerow([f"cells/{cell.path}", cell.label, cell.source, cell.sha256])
    print(f"{len(chosen)} cells in {arguments.samples}")


if __name__ == "__main__":
    main()
