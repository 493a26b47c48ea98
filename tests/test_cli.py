"""The command line as a whole: help, start-up, errors, and the long way from cells to figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SAMPLES
from test_classify import run

from marrowscope import __version__

COMMANDS = ("classify", "train", "tune", "export", "evaluate", "compare", "data audit")
HEAVY = (
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "optuna",
    "scipy",
    "numpy",
    "PIL",
    "jinja2",
)


def test_help_imports_nothing_heavy() -> None:
    """What makes start-up slow is imports; the benchmark measures the seconds."""
    script = (
        "import sys\n"
        "from marrowscope.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("LOADED []")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"marrowscope {command}" in done.stdout


def test_version() -> None:
    assert run("--version").stdout == f"marrowscope {__version__}\n"


def test_wrong_usage_has_an_exit_code_of_its_own() -> None:
    assert run("classify").returncode == 2
    assert run("clasify").returncode == 2


def test_an_error_is_one_sentence_without_a_traceback(tmp_path: Path) -> None:
    done = run("classify", SAMPLES / "cells", "--bundle", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}: not a bundle (no MODEL_CARD.md")
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]


def test_from_cells_to_figures_by_the_commands(toy_network: Path, tmp_path: Path) -> None:
    """Six steps of a tiny network on real cells: split, pack, train, export, evaluate, classify."""
    data = SAMPLES / "cells.csv"
    split = run("data", "split", data, "--output", tmp_path / "split", "--min-stratum", 10)
    assert split.returncode == 0, split.stderr
    packed = run("data", "pack", data, "--output", tmp_path / "pack")
    assert packed.returncode == 0, packed.stderr
    trained = run(
        "train", "--data", data, "--output", tmp_path / "run", "--model", toy_network,
        "--split", tmp_path / "split", "--pack", tmp_path / "pack", "--epochs", 2,
        "--batch-size", 32, "--set", "min_images=9", "--set", "unfreeze_blocks=1",
        "--threads", 1, "--json",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert json.loads(trained.stdout)["classes"][0] == "BLA"

    exported = run("export", tmp_path / "run", "--data", data, "--output", tmp_path / "toy")
    assert exported.returncode == 0, exported.stderr
    assert "same class for all" in exported.stdout

    mix = tmp_path / "ours.csv"
    mix.write_text("label,percent\nBLA,5\nNGS,75\nHAC,20\n")
    evaluate = (
        "evaluate", tmp_path / "toy", "--data", data, "--split", tmp_path / "run",
        "--prevalence", mix, "--least-support", 1, "--rounds", 100, "--output",
    )  # fmt: skip
    evaluated = run(*evaluate, tmp_path / "figures", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    figures = json.loads(evaluated.stdout)["sets"]
    shown = run(*evaluate, tmp_path / "validation", "--part", "val")
    assert shown.returncode == 0, shown.stderr
    assert "Tolerant: confusions of PMO/MYB, " in shown.stdout
    assert "Marrow mix: ours.csv" in shown.stdout
    assert "of the marrow's mix, " in shown.stdout

    classified = run(
        "classify", SAMPLES / "cells/pbc", "--bundle", tmp_path / "toy",
        "--output", tmp_path / "out", "--json",
    )  # fmt: skip
    assert classified.returncode == 0, classified.stderr
    outcome = json.loads(classified.stdout)
    assert f"{figures['pbc']['accuracy']['value']:.3f}" in outcome["warning"]

    again = run(
        "train", "--data", data, "--output", tmp_path / "run", "--model", toy_network,
        "--set", "min_images=9",
    )  # fmt: skip
    assert again.returncode == 1
    assert "already holds something\nhint: give another folder, or --resume" in again.stderr


def test_held_out_cells_are_in_no_part(tmp_path: Path) -> None:
    held_out = tmp_path / "held.csv"
    lines = (SAMPLES / "cells.csv").read_text().splitlines()
    rows = [line for line in lines[1:] if "mll/BLA" in line][:2]
    held_out.write_text("\n".join([lines[0], *(f"{SAMPLES}/{row}" for row in rows)]))
    data, folder = SAMPLES / "cells.csv", tmp_path / "split"
    done = run("data", "split", data, "--output", folder, "--hold-out", held_out, "--json")
    assert done.returncode == 0, done.stderr
    seal = json.loads((folder / "split.json").read_text())
    assert seal["cells"]["held-out"] == 2
    assert json.loads(done.stdout)["hash"] == {"": seal["hash"]}


def test_the_base_install_says_what_the_training_commands_need(tmp_path: Path) -> None:
    """Torch is hidden from the import system, as on a machine that never had it."""
    script = (
        "import sys, importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
        "from marrowscope.cli import app\n"
        f"app(['train', '--data', 'x', '--output', {str(tmp_path / 'run')!r}])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: this command needs torch\nhint: install it with: pip install 'marrowscope[train]'\n"
    )
