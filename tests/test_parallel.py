"""Training as it is started from outside: on several processes, and killed without warning."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import s3fs
from conftest import ROOT, SAMPLES
from safetensors.torch import load_file
from test_classify import run

OPTIONS = (
    *("--set", "min_images=9", "--set", "size=56", "--set", "log=none", "--set", "precision=fp32"),
    *("--set", "unfreeze_blocks=1", "--epochs", "2", "--threads", "1"),
)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split whose 80 training cells make whole batches of 10."""
    folder = tmp_path_factory.mktemp("split")
    data = SAMPLES / "cells.csv"
    done = run("data", "split", data, "--min-stratum", 10, "--output", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def in_store(s3: s3fs.S3FileSystem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of the sample cells, which lie in an object store."""
    s3.put(str(SAMPLES / "cells"), "smears/training/", recursive=True)
    file = tmp_path_factory.mktemp("manifest") / "cells.csv"
    text = (SAMPLES / "cells.csv").read_text()
    file.write_text(text.replace("\ncells/", "\ns3://smears/training/cells/"))
    return file


def command(
    split: Path, network: Path, folder: Path, batch_size: int, data: Path = SAMPLES / "cells.csv"
) -> list[str]:
    given = {
        "--data": data,
        "--split": split,
        "--model": network,
        "--output": folder,
        "--batch-size": batch_size,
    }
    words = [str(word) for pair in given.items() for word in pair]
    return ["-m", "marrowscope", "train", *words, *OPTIONS]


def best(folder: Path) -> float:
    with (folder / "history.csv").open(newline="") as file:
        scores = [row["eval_macro_f1"] for row in csv.DictReader(file)]
    return max(float(score) for score in scores if score)


def largest_difference(one: Path, other: Path) -> float:
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def test_two_processes_with_cells_of_a_store_train_as_one_with_the_same_global_batch(
    split: Path, toy_network: Path, in_store: Path, tmp_path: Path
) -> None:
    one = subprocess.run(
        [sys.executable, *command(split, toy_network, tmp_path / "one", 10)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert one.returncode == 0, one.stderr
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    two = subprocess.run(
        [*launch, *command(split, toy_network, tmp_path / "two", 5, in_store)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert two.returncode == 0, two.stderr
    assert two.stdout.count("best validation macro-F1") == 1
    assert '"processes": 2' in (tmp_path / "two/environment.json").read_text()
    assert largest_difference(tmp_path / "one", tmp_path / "two") < 1e-5
    assert best(tmp_path / "one") == best(tmp_path / "two")


DIE = """
import os, signal
from marrowscope.train import fit as module

told = module._Watcher.on_step_end

def on_step_end(self, args, state, control, **named):
    told(self, args, state, control, **named)
    if state.global_step == 13:
        os.kill(os.getpid(), signal.SIGKILL)

module._Watcher.on_step_end = on_step_end
from marrowscope.cli import app
app(prog_name="marrowscope")
"""


def test_a_killed_training_is_continued_to_the_same_end(
    split: Path, toy_network: Path, tmp_path: Path
) -> None:
    whole, killed = (command(split, toy_network, tmp_path / name, 10) for name in ("a", "b"))
    done = subprocess.run(
        [sys.executable, *whole], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    died = subprocess.run(
        [sys.executable, "-c", DIE, *killed[2:]],
        cwd=ROOT, check=False, env=os.environ | {"PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "b/model.safetensors").exists()
    resumed = subprocess.run(
        [sys.executable, *killed, "--resume"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    assert largest_difference(tmp_path / "a", tmp_path / "b") == 0
    assert best(tmp_path / "a") == best(tmp_path / "b")
