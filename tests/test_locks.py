"""Two commands that write to one place: one does, the other is told to wait."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from faults import Commands, commands
from test_faults import HELD, WRITING, failed
from typer.core import TyperGroup

from marrowscope.cli import app
from marrowscope.errors import OutputError
from marrowscope.io.locks import LOCK, alone_at, alone_in
from marrowscope.io.tables import prepare_folder

SIDES = 4
MORE = {
    "train": "train --data cells.csv --output out",
    "train, resumed": "train --data cells.csv --resume --output out",
    "tune": "tune --data cells.csv --split split --range size=56,98 --output out",
    "train-detector": "train-detector fields --output out",
    "case export": "case export --output out.csv",
    "audit-log export": "audit-log export --output out.jsonl",
}
"""Commands that write and are not in `WRITING`."""
WORDS = {name: each.words for name, each in WRITING.items()} | MORE
TURNS = """
import os, sys
from pathlib import Path
from marrowscope.errors import OutputError
from marrowscope.io.locks import alone_in
place, turns, lost = Path(sys.argv[1]), 0, 0
sys.stdin.read(1)
while turns < 25:
    try:
        with alone_in(place / "out"):
            if os.fork() == 0:
                os._exit(0)
            os.wait()
            os.close(os.open(place / "here", os.O_CREAT | os.O_EXCL))
            (place / "here").unlink()
            turns += 1
    except OutputError as error:
        lost += 1
print(turns, lost)
"""
"""Takes turns in a folder, forking there; dies if it ever meets another there."""
KILLED = """
import os, signal, sys
from pathlib import Path
from marrowscope.io.locks import alone_in
with alone_in(Path(sys.argv[1])):
    if os.fork() == 0:
        sys.stdin.read(1)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""Is killed in a folder; what it forked lives until its input ends."""


@pytest.fixture(scope="module")
def command() -> Iterator[Commands]:
    with commands(["marrowscope.cli", "marrowscope.io.locks"]) as running:
        yield running


def with_output(group: TyperGroup, *names: str) -> set[str]:
    """Name the commands that have the option `--output`."""
    found = set()
    for name, each in group.commands.items():
        if isinstance(each, TyperGroup):
            found |= with_output(each, *names, name)
        elif any(option.name == "output" for option in each.params):
            found.add(" ".join((*names, name)))
    return found


def test_every_command_that_writes_is_tried_here() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    names = with_output(group)
    assert names == {name for name in names if any(w.startswith(name) for w in WORDS.values())}


@pytest.mark.parametrize("name", WORDS)
def test_a_command_is_refused_where_another_writes(
    name: str, command: Commands, tmp_path: Path
) -> None:
    words = WORDS[name].split()
    place = tmp_path / words[words.index("--output") + 1]
    holding = alone_at(place) if place.suffix else alone_in(place)
    with holding:
        there = sorted(tmp_path.rglob("*"))
        for more in ("", *WRITING[name].again.split()) if name in WRITING else ("",):
            outcome = command.run(tmp_path, *words, *more.split())
            failed(outcome, f"{place.name}: {HELD}")
        assert sorted(tmp_path.rglob("*")) == there
    assert list(tmp_path.iterdir()) == []


def test_processes_take_turns_in_a_folder_that_comes_and_goes(tmp_path: Path) -> None:
    sides = [
        subprocess.Popen(
            [sys.executable, "-c", TURNS, str(tmp_path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(SIDES)
    ]  # fmt: skip
    said = [side.communicate("\n")[0].split() for side in sides]
    assert [side.returncode for side in sides] == [0] * SIDES
    assert [turns for turns, _ in said] == ["25"] * SIDES
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, text=True
    )
    assert killed.wait() == -signal.SIGKILL
    assert (tmp_path / LOCK).is_file()
    with (
        alone_in(tmp_path),
        pytest.raises(OutputError, match=f"process {os.getpid()} on"),
        alone_in(tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    assert killed.stdin is not None
    killed.stdin.close()


def test_a_folder_with_nothing_but_a_lock_is_empty(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    prepare_folder(tmp_path, overwrite=False)
    (tmp_path / "more").touch()
    with pytest.raises(OutputError, match="already holds something"):
        prepare_folder(tmp_path, overwrite=False)
