"""Train several recipes on one sealed split and compare them on its test part, cell by cell.

python benchmarks/recipes.py CELLS_CSV SPLIT OUTPUT report-resnet50 report-vit dinov2-small \
    --model report-vit=path/to/vit --set size=112 --epochs report-resnet50=10

Interrupted, the same command goes on. Each run is exported and its test part is read once, at the
end. Differences are against the last recipe named, as `marrowscope compare` gives them; they are in
OUTPUT/comparison too.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from marrowscope.commands.evaluate_output import show_comparison
from marrowscope.evaluation.compare import compare
from marrowscope.evaluation.compare_page import write_comparison
from marrowscope.evaluation.load import read_evaluation


def pairs(texts: list[str]) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


def trained(given: argparse.Namespace, recipe: str, seed: int) -> Path:
    """Train, export and evaluate a recipe where that was not done before; give its figures."""
    folder = given.output / f"{recipe}-{seed}"
    figures: Path = folder / "figures"
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
    parser.add_argument("--least-support", type=int, default=10)
    given = parser.parse_args()
    found = []
    for seed in given.seeds:
        for recipe in given.recipes:
            figures = trained(given, recipe, seed)
            seconds = (figures.parent / "seconds.txt").read_text().split()
            name = f"{recipe} (seed {seed}, {sum(map(int, seconds)) / 60:.0f} min)"
            found.append(read_evaluation(figures, name))
    if len(found) == 1:
        print("one training: nothing to compare it with")
        return
    comparison = compare([found[-1], *found[:-1]], common=True, least_support=given.least_support)
    folder = given.output / "comparison"
    folder.mkdir(exist_ok=True)
    write_comparison(comparison, folder)
    show_comparison(comparison, as_json=False)


if __name__ == "__main__":
    main()
