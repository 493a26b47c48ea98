"""Train on one source alone and measure on the cells of the others, each way round.

Found: a network loses 28 to 32 points of macro-F1 on a source of which it has seen no cell.

python experiments/domains.py CELLS_CSV SPLIT OUTPUT --model path/to/dinov2 --recipe dinov2-small \
    --pack pack --set epochs=8

Each run learns from the training cells of one source; its epoch and calibration are chosen by the
validation cells of the same source. It is then measured on the test cells of its own source and, as
further sets, on all cells of every other, none of which it has seen; the drop is on the classes
that both have. Interrupted, the same command goes on. The groups of a further set are those of
patient, slide, field and content.
"""

import argparse
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from marrowscope.commands.common import prepare_training
from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.pack import open_pack
from marrowscope.data.split import Split, located, read_split
from marrowscope.evaluation.evaluate import METRICS, evaluate
from marrowscope.evaluation.external_sets import Other
from marrowscope.model.bundle import load_bundle
from marrowscope.train.export import export
from marrowscope.train.fit import fit
from marrowscope.train.recipes import read_changes, settings_of
from marrowscope.train.run import WEIGHTS, read_run
from marrowscope.train.settings import TrainSettings

PARTS = ("train", "val", "test")
HEADINGS = (
    *("learnt from", "measured on", "cells", "classes", "macro-F1", "accuracy"),
    *("at home: cells", "macro-F1", "drop of macro-F1", "drop of mean recall", "verdict"),
)


def of_source(split: Split, source: str) -> Split:
    rows = tuple(row for row in split.rows if row.cell.source == source)
    return replace(split, rows=rows)


def all_cells(split: Split, manifest: Manifest, source: str) -> Other:
    """Give the cells of a source that are in any part of the split."""
    own = of_source(split, source)
    rows = [row for part in PARTS for row in located(own.part(part), manifest.cells, part)]
    return Other(source, Manifest(manifest.root, tuple(row.cell for row in rows), ()))


def measured(
    given: argparse.Namespace,
    source: str,
    others: list[Other],
    split: Split,
    manifest: Manifest,
    settings: TrainSettings,
) -> dict[str, Any]:
    """Train, export and evaluate where that was not done before; give the figures."""
    folder = given.output / f"{source}-{settings.seed}"
    figures = folder / "figures"
    if not (figures / METRICS).is_file():
        start = time.perf_counter()
        if not (folder / "run" / WEIGHTS).is_file():
            pack = open_pack(given.pack) if given.pack else None
            own = of_source(split, source)
            fit(manifest, own, settings, folder / "run", pack=pack, resume=True)
        run = read_run(folder / "run")
        export(run, manifest, folder / "bundle", f"{source} alone", overwrite=True)
        evaluate(
            load_bundle(str(folder / "bundle")),
            manifest,
            run.split,
            figures,
            others=others,
            least_support=given.least_support,
            overwrite=True,
        )
        print(f"{source}: {(time.perf_counter() - start) / 60:.1f} min", flush=True)
    metrics: dict[str, Any] = json.loads((figures / METRICS).read_text(encoding="utf-8"))
    return metrics


def bracketed(figure: Mapping[str, float | None]) -> str:
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def row(domain: Mapping[str, Any]) -> list[str]:
    return [
        domain["reference"],
        domain["name"],
        f"{domain['cells']:,}",
        " ".join(domain["classes"]) or "none",
        bracketed(domain["macro_f1"]),
        bracketed(domain["accuracy"]),
        f"{domain['cells_reference']:,}",
        bracketed(domain["macro_f1_reference"]),
        bracketed(domain["drop"]),
        bracketed(domain["macro_recall_drop"]),
        domain["verdict"],
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells_csv", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--recipe", default="dinov2-small")
    parser.add_argument("--model")
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--least-support", type=int, default=10)
    given = parser.parse_args()
    prepare_training()
    logging.disable(logging.INFO)
    split, manifest = read_split(given.split), read_manifest(given.cells_csv)
    sources = sorted({row.cell.source for row in split.part("test")})
    everything = {source: all_cells(split, manifest, source) for source in sources}
    changes: dict[str, Any] = {"model": given.model} if given.model else {}
    lines = []
    for seed in given.seeds:
        settings = settings_of(given.recipe, changes | {"seed": seed} | read_changes(given.set))
        for source in sources:
            others = [cells for name, cells in everything.items() if name != source]
            metrics = measured(given, source, others, split, manifest, settings)
            lines += [[f"{seed}", *row(domain)] for domain in metrics["domains"]]
    for cells in (["seed", *HEADINGS], ["---"] * (len(HEADINGS) + 1), *lines):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
