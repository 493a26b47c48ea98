"""Whatever goes wrong while a command writes: an error in words, nothing half-written, no loss."""

import re
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import SAMPLES
from faults import Commands, Outcome, commands

from marrowscope.io.locks import LOCK
from marrowscope.train.fit import Trained

TOO_LARGE, LOCKED = "File too large", "Permission denied"
HELD = r"another marrowscope command writes to it \(process \d+ on .*, since .*\)\nhint: wait until"
EARLIER = "of an earlier day"
TOY = "--set min_images=9 --set size=56 --set log=none --epochs 1 --threads 1 --output out"
TRAIN = f"train --data cells.csv --split run --model run {TOY}"
RANGE = "--range learning_rate=1e-5:1e-3 --trials 1"
TUNE = f"tune --data cells.csv --split run --set model=run {TOY} {RANGE}"


@dataclass(frozen=True)
class Writing:
    """A command that writes."""

    words: str
    """As it is given, in a folder that holds what `ground` made."""
    output: str
    """The file or folder that it writes."""
    again: str = ""
    """What is added to go on after a fault."""
    largest: int = 600
    """Bytes of a file at which the disk is full; some of its files are larger."""
    grows: tuple[str, ...] = ()
    """Files that are filled in place, and taken for nothing until the last one stands."""


CLASSIFY = "classify cells --bundle bundle --threads 1 --engine onnxruntime --output out"
WRITING = {
    "data read": Writing("data read cells --output out.csv", "out.csv"),
    "data read, Parquet": Writing("data read cells --output out.parquet", "out.parquet"),
    "data audit": Writing("data audit cells --workers 1 --output out", "out", "--overwrite"),
    "data split": Writing("data split cells.csv --output out", "out", "--overwrite"),
    "data pack": Writing(
        "data pack cells --size 32 --workers 1 --output out",
        "out",
        grows=("out/pixels", "out/index"),
    ),
    "data show": Writing("data show cells --output out.html", "out.html"),
    "data doubts": Writing(
        "data doubts figures --data cells.csv --output out", "out", "--overwrite", 100
    ),
    "classify": Writing(CLASSIFY, "out", "--resume"),
    "classify, Parquet": Writing(f"{CLASSIFY} --parquet", "out", "--overwrite"),
    "classify, parts": Writing(f"{CLASSIFY} --parquet-to parts", "parts", "--resume", 3000),
    "classify, fields": Writing(CLASSIFY.replace("cells", "field.jpg --fields"), "out", "--resume"),
    "find-cells": Writing(
        "find-cells field.jpg --threads 1 --crops --output out", "out", "--overwrite"
    ),
    "report": Writing(
        "report cells --bundle bundle --threads 1 --engine onnxruntime --output out",
        "out",
        "--resume",
    ),
    "explain": Writing("explain cells --bundle bundle --output out", "out", "--overwrite"),
    "agree": Writing("agree read/a read/b --output out", "out", "--overwrite"),
    "compare": Writing(
        "compare figures others --least-support 1 --rounds 100 --output out", "out", "--overwrite"
    ),
    "evaluate": Writing(
        "evaluate bundle --data cells.csv --split run --rounds 100 --output out",
        "out",
        "--overwrite",
    ),
    "export": Writing(
        "export run --data cells.csv --precision fp32 --output out", "out", "--overwrite"
    ),
    "preview": Writing("preview cells.csv --cells 1 --views 1 --output out.html", "out.html"),
}
"""Commands by name."""
AT_ONCE = {
    "classify, resumed": f"{CLASSIFY} --resume",
    "read": WRITING["data read"].words,
}
"""What two processes do at one instant."""
KILLED_ELSEWHERE = (
    *("data audit", "data pack", "export", "data read, Parquet", "classify, Parquet"),
    "classify, parts",
)
"""Killed in tests of their own, writing nothing before they are sure, or as their neighbour."""


@pytest.fixture(scope="module")
def command() -> Iterator[Commands]:
    with commands() as running:
        yield running


@pytest.fixture(scope="module")
def ground(
    command: Commands, exported: Path, toy_run: Trained, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What commands read: cells, a field, a run, its bundle, two readings and two evaluations."""
    folder = tmp_path_factory.mktemp("ground")
    for code in ("NGS", "LYT"):
        (folder / "cells" / code).mkdir(parents=True)
        for file in sorted((SAMPLES / "cells/mll" / code).iterdir())[:4]:
            shutil.copy(file, folder / "cells" / code)
    shutil.copy(min((SAMPLES / "fields").glob("*.jpg")), folder / "field.jpg")
    shutil.copytree(exported, folder / "bundle")
    shutil.copytree(toy_run.folder, folder / "run")
    table = (SAMPLES / "cells.csv").read_text().splitlines()
    within = [table[0], *(f"{SAMPLES}/{line}" for line in table[1:])]
    (folder / "cells.csv").write_text("\n".join(within))
    for name in ("a", "b"):
        done = command.run(folder, *f"{CLASSIFY[:-3]}read/{name}".split())
        assert done.code == 0, done.text
    evaluate = WRITING["evaluate"].words
    for name in ("figures", "others"):
        done = command.run(folder, *f"{evaluate[:-3]}{name}".split())
        assert done.code == 0, done.text
    return folder


@pytest.fixture
def desk(ground: Path, tmp_path: Path) -> Path:
    """A folder of its own to work in; what is there is shared, but for the bundle."""
    return a_desk(ground, tmp_path / "desk")


def a_desk(ground: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in ground.iterdir():
        if path.name == "bundle":
            shutil.copytree(path, folder / path.name)
        else:
            (folder / path.name).symlink_to(path)
    return folder


def sizes(folder: Path, output: str) -> dict[str, int]:
    """What stands under its final name, with its bytes."""
    place = folder / output
    files = [place] if place.is_file() else place.rglob("*")
    return {
        file.relative_to(folder).as_posix(): file.stat().st_size
        for file in files
        if file.is_file() and ".partial" not in file.name and not file.name.endswith(LOCK)
    }


def failed(outcome: Outcome, why: str) -> None:
    """Check that a command ended with one sentence."""
    assert outcome.code == 1, outcome.text
    assert re.search(rf"^error: .*{why}", outcome.text, re.MULTILINE), outcome.text
    assert "Traceback" not in outcome.text


@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_leaves_nothing_half_written(name: str, command: Commands, desk: Path) -> None:
    writing = WRITING[name]
    single = "." in writing.output
    if single:
        (desk / writing.output).write_text(EARLIER)
    failed(command.run(desk, *writing.words.split(), largest=writing.largest), TOO_LARGE)
    if single:
        assert (desk / writing.output).read_text() == EARLIER
    left = sizes(desk, writing.output)
    if name == "export":
        assert not left
        return
    again = command.run(desk, *writing.words.split(), *writing.again.split())
    assert again.code == 0, again.text
    whole = sizes(desk, writing.output)
    assert whole
    if not single:
        kept = {file: left[file] for file in left.keys() & whole.keys() - {*writing.grows}}
        assert kept == {file: whole[file] for file in kept}


def test_a_sweep_on_a_full_disk_goes_on_when_there_is_room(command: Commands, desk: Path) -> None:
    for largest, file in ((600, "sweep.json"), (20_000, "study.db")):
        outcome = command.run(desk, *TUNE.split(), largest=largest)
        failed(outcome, f"out/{file}.*({TOO_LARGE}|disk I/O error)$")
    again = command.run(desk, *TUNE.split())
    assert again.code == 0, again.text
    assert "out/best.toml" in sizes(desk, "out")


@pytest.mark.parametrize("name", [*WRITING, "train", "tune"])
def test_a_folder_that_may_not_be_written_to_is_named(
    name: str, command: Commands, desk: Path
) -> None:
    writing = WRITING.get(name) or Writing(TRAIN if name == "train" else TUNE, "out")
    if name == "classify, parts":
        writing = Writing(writing.words.replace("--output out", "--output ../elsewhere"), "parts")
    if "." in writing.output:
        (desk / writing.output).write_text(EARLIER)
    before = sizes(desk, ".")
    failed(command.run(desk, *writing.words.split(), locked="."), f"{writing.output}.*{LOCKED}")
    desk.chmod(0o755)
    assert sizes(desk, ".") == before


@pytest.mark.parametrize("name", [name for name in WRITING if name not in KILLED_ELSEWHERE])
def test_a_killed_command_is_gone_on_with(
    name: str, command: Commands, ground: Path, tmp_path: Path
) -> None:
    """It is killed half-way; then it ends as if nothing had been."""
    writing = WRITING[name]
    desk = a_desk(ground, tmp_path / "whole")
    done = command.run(desk, *writing.words.split())
    assert done.code == 0, done.text
    whole = sizes(desk, writing.output)
    desk = a_desk(ground, tmp_path / "killed")
    died = command.run(desk, *writing.words.split(), dies_at=max(1, done.steps // 2))
    assert died.code == -signal.SIGKILL, died.text
    left = sizes(desk, writing.output)
    assert left == {file: whole.get(file) for file in left}
    again = command.run(desk, *writing.words.split(), *writing.again.split())
    assert again.code == 0, again.text
    assert sizes(desk, writing.output) == whole


@pytest.fixture(scope="module")
def other() -> Iterator[Commands]:
    with commands(["marrowscope.cli", "marrowscope.inference.classify"]) as running:
        yield running


@pytest.mark.parametrize("name", AT_ONCE)
def test_of_two_that_start_at_one_instant_none_spoils_the_others_results(
    name: str, command: Commands, other: Commands, desk: Path
) -> None:
    words = AT_ONCE[name]
    done = command.run(desk, *words.replace("--output out", "--output alone").split())
    assert done.code == 0, done.text
    outcomes = at_one_instant(desk, words, command, other)
    assert 0 in {outcome.code for outcome in outcomes}
    for outcome in outcomes:
        if outcome.code:
            failed(outcome, f"out.*({HELD}|already holds something)")
    assert results(desk, "out") == results(desk, "alone")


def at_one_instant(desk: Path, words: str, *sides: Commands) -> list[Outcome]:
    outcomes: list[Outcome] = []
    instant = threading.Barrier(len(sides))

    def run(side: Commands) -> None:
        instant.wait()
        outcomes.append(side.run(desk, *words.split()))

    threads = [threading.Thread(target=run, args=[side]) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def results(desk: Path, output: str) -> list[tuple[str, str]]:
    """Give the files of an output, hidden ones too, and what is in its tables."""
    files = sorted([*desk.glob(f"{output}/*"), *desk.glob(f"{output}*.*"), *desk.glob(".*")])
    return [
        (file.name.replace(output, ""), file.read_text() if file.suffix == ".csv" else "")
        for file in files
    ]
