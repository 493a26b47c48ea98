"""Train several recipes on one sealed split and compare them on its test part, cell by cell.

python benchmarks/recipes.py CELLS_CSV SPLIT OUTPUT report-resnet50 report-vit dinov2-small \
    --model report-vit=path/to/vit --set size=112 --epochs report-resnet50=10

Interrupted, the same command goes on. Each run is exported and its test part is read once, at the
end. Differences are against the last recipe named, with paired 95% intervals over groups.
"""

import argparse
import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from marrowscope.metrics import (
    Interval,
    Matrix,
    bootstrap_intervals,
    confusion_matrix,
    macro,
    paired_difference,
    per_class,
)

ROUNDS = 2000


def pairs(texts: list[str]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


def trained(given: argparse.Namespace, recipe: str, seed: int) -> Path:
    """Train, export and evaluate a recipe where that was not done before; give its figures."""
    folder = given.output / f"{recipe}-{seed}"
    figures = folder / "figures"
    if (figures / "metrics.json").is_file():
        return figures
    options = []
    for change in given.set:
        only_for, _, value = change.rpartition(":")
        options += ["--set", value] if only_for in {"", recipe} else []
    for flag, values in (("--model", given.model), ("--epochs", given.epochs)):
        if recipe in pairs(values):
            options += [flag, pairs(values)[recipe]]
    if given.pack:
        options += ["--pack", given.pack]
    start = time.perf_counter()
    run = folder / "run"
    data = ["--data", given.cells_csv]
    command("train", *data, "--split", given.split, "--recipe", recipe, "--seed", seed,
            "--output", run, "--resume", *options)  # fmt: skip
    with (folder / "seconds.txt").open("a") as file:
        file.write(f"{time.perf_counter() - start:.0f}\n")
    command("export", run, *data, "--output", folder / "bundle", "--overwrite")
    command("evaluate", folder / "bundle", *data, "--split", run, "--output", figures,
            "--overwrite")  # fmt: skip
    return figures


def command(*words: object) -> None:
    done = subprocess.run([sys.executable, "-m", "marrowscope", *map(str, words)], check=False)
    if done.returncode:
        raise SystemExit(f"marrowscope {words[0]} failed with {done.returncode}")


def predictions(figures: Path) -> dict[str, tuple[str, str, int]]:
    """Read truth, prediction and group of each test cell of a covered class."""
    with (figures / "predictions.csv").open(newline="") as file:
        return {
            row["path"]: (row["truth"], row["label"], int(row["group"]))
            for row in csv.DictReader(file)
            if row["truth"] in row
        }


def macro_f1(matrix: Matrix) -> float:
    return macro(matrix).f1


def words(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def compare(found: dict[str, dict[str, tuple[str, str, int]]]) -> None:
    """Print figures of each recipe, and how much each differs from the last."""
    cells = sorted(set.intersection(*(set(each) for each in found.values())))
    codes = sorted({each[path][0] for each in found.values() for path in cells})
    index = {code: number for number, code in enumerate(codes)}
    last = list(found)[-1]
    truth = [index[found[last][path][0]] for path in cells]
    groups = np.unique([found[last][path][2] for path in cells], return_inverse=True)[1].tolist()
    guesses = {
        name: [index.get(each[path][1], 0) for path in cells] for name, each in found.items()
    }
    print(f"{len(cells)} test cells of {', '.join(codes)}")
    for name, guess in guesses.items():
        matrix = confusion_matrix(truth, guess, len(codes))
        intervals = bootstrap_intervals(
            lambda drawn: {
                "macro-F1": macro_f1(drawn),
                "accuracy": drawn.trace() / max(drawn.sum(), 1),
            },
            truth,
            guess,
            groups,
            classes=len(codes),
            rounds=ROUNDS,
        )
        print(f"{name}: " + ", ".join(f"{key} {words(value)}" for key, value in intervals.items()))
        rows = zip(codes, per_class(matrix), strict=True)
        print("   F1: " + " ".join(f"{code} {row.f1:.2f}" for code, row in rows))
        if name != last:
            paired = paired_difference(
                macro_f1, truth, guesses[last], guess, groups, classes=len(codes), rounds=ROUNDS
            )
            print(f"   {last} is better by {words(paired)} of macro-F1")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cells_csv", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--model", action="append", default=[], metavar="RECIPE=MODEL")
    parser.add_argument("--epochs", action="append", default=[], metavar="RECIPE=N")
    parser.add_argument("--set", action="append", default=[], metavar="[RECIPE:]NAME=VALUE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    found = {}
    for seed in given.seeds:
        for recipe in given.recipes:
            figures = trained(given, recipe, seed)
            seconds = (figures.parent / "seconds.txt").read_text().split()
            name = f"{recipe} (seed {seed}, {sum(map(int, seconds)) / 60:.0f} min)"
            found[name] = predictions(figures)
    compare(found)


if __name__ == "__main__":
    main()
