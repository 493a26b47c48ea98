"""Train the network that finds cells on fields: one for each look left out, and one of all.

python benchmarks/finder.py FIELDS --cells CELLS --split SPLIT --output FOLDER

FIELDS holds pictures and boxes.csv; CELLS the pictures of a manifest whose split SPLIT (split.csv
of `marrowscope data split`) names the training cells: only these are laid onto fields. For each
look (size of the fields in pixels) a folder FOLDER/without-LOOK comes out, and FOLDER/all. What is
there already is not trained again.
"""

import argparse
import csv
import random
import time
from collections import Counter
from pathlib import Path

from marrowscope.detection.boxes import BOXES, read_boxes
from marrowscope.train.detector.data import looks_scales
from marrowscope.train.detector.fit import FinderSettings
from marrowscope.train.detector.run import read_detector_data, train_detector

NOT_CELLS = ("ART", "KSC", "NIF", "OTH")
"""Classes of smudges, unknown things and artefacts: not laid onto fields."""
KNOWN = {
    "about": "Finds nucleated cells, red cells and platelets on Giemsa-type fields",
    "licence": "Apache-2.0",
    "trained_on": (
        "140 fields of TXL-PBC (MIT; Gan Lu et al.), which re-mixes Raabin-WBC, PBC, BCCD and "
        "BCD; cells of Bone-Marrow-Cytomorphology_MLL_Helmholtz_Fraunhofer (CC BY 4.0; Matek et "
        "al. 2021), training part, cut out and laid onto these fields"
    ),
}


def cell_files(root: Path, split: Path, part: str, source: str, most: int) -> list[Path]:
    """Give files of a part of the split, drawn by chance, at most some of each class."""
    with split.open(newline="") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["part"] == part and row["source"] == source and row["label"] not in NOT_CELLS
        ]
    random.Random(0).shuffle(rows)
    counts: Counter[str] = Counter()
    files = []
    for row in rows:
        counts[row["label"]] += 1
        if counts[row["label"]] <= most:
            files.append(root / row["path"])
    return files


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fields", type=Path)
    parser.add_argument("--cells", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--source", default="mll")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="+", help="Looks to leave out, or all.")
    parser.add_argument("--steps", type=int, default=FinderSettings.steps)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    _, scales = looks_scales(given.fields, read_boxes(given.fields / BOXES))
    files = cell_files(given.cells, given.split, "train", given.source, 200)
    settings = FinderSettings(steps=given.steps)
    for look in given.only or [*scales, "all"]:
        folder = given.output / ("all" if look == "all" else f"without-{look}")
        if (folder / "finder.json").exists():
            continue
        data = read_detector_data(
            given.fields,
            without="" if look == "all" else look,
            cells=files,
            cells_um_per_px=0.086,
        )
        print(f"{len(data.cells)} cells cut out, {data.left_out} not whole or not alone")
        train_detector(
            data,
            folder,
            settings,
            overwrite=True,
            threads=given.threads,
            facts=KNOWN,
            advance=Progress(folder.name).hear,
        )


class Progress:
    """Prints the mean loss of every 50 steps."""

    def __init__(self, name: str) -> None:
        self.name, self.start, self.losses = name, time.perf_counter(), list[float]()

    def hear(self, step: int, wrong: float) -> None:
        self.losses.append(wrong)
        if step % 50 == 49:
            mean, passed = sum(self.losses[-50:]) / 50, time.perf_counter() - self.start
            print(f"{self.name} {step + 1} {mean:.3f} {passed:.0f} s", flush=True)


if __name__ == "__main__":
    main()
