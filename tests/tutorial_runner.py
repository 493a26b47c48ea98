"""Walks a tutorial as its reader does: saves its files, types its commands, compares what comes.

A page is walked by what its blocks are:

- `console`: commands, each on one line, all in one shell. Each must end well, unless its line ends
  with a comment such as `# exit code 3`.
- `text` right after it: lines that these commands print, in this order, perhaps with others between
  them; `...` stands for anything.
- any other block after a file's name (a line such as "`case.toml`:"): that file.
- `sh`: what changes the reader's machine (installing); it is not run.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

BLOCK = re.compile(r"(?:`([\w./-]+)`:\n\n)?```(\w+)\n(.*?)```", re.DOTALL)
CODE = re.compile(r"# exit code (\d+)$")
PORT = "8017"
"""Port of the pages; a free one takes its place."""
SCRIPT, PRINTED = ".walk.sh", ".printed"
SECONDS = 1200
"""That a walk may take on a busy machine."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    file: str
    """Name of the file that it is; empty for none."""
    language: str
    text: str


@dataclass(frozen=True)
class Typed:
    """A command of a page, and what came of it."""

    line: str
    code: int
    printed: str


def blocks_of(page: Path) -> list[Block]:
    """Give the blocks of a page, in order."""
    return [Block(*found) for found in BLOCK.findall(page.read_text(encoding="utf-8"))]


def walk(page: Path, folder: Path, source: Path = ROOT / "src") -> list[Typed]:
    """Do what a page says in a folder that has the samples, and check what it says comes out.

    `source` is the folder of the package that the commands are of.
    """
    if not (folder / "samples").exists():
        (folder / "samples").symlink_to(ROOT / "samples")
    blocks = blocks_of(page)
    script = "\n".join(_script(blocks)).replace(PORT, str(_free_port()))
    (folder / SCRIPT).write_text(script)
    printed = _type(folder, source)
    lines = [line for block in blocks for line in _commands(block)]
    answers = re.split(r"\n@@(\d+)\n", printed)
    typed = [
        Typed(line, int(code), text)
        for line, text, code in zip(lines, answers[::2], answers[1::2], strict=False)
    ]
    for each in typed:
        assert each.code == _wanted(each.line), (
            f"exit code {each.code}: {each.line}\n{each.printed}"
        )
    assert len(typed) == len(lines), f"stopped at: {lines[len(typed)]}"
    _compare(blocks, typed)
    return typed


def _commands(block: Block) -> list[str]:
    """Give the lines that are typed."""
    return block.text.splitlines() if block.language == "console" else []


def _wanted(line: str) -> int:
    """Say with which exit code a command is to end."""
    found = CODE.search(line)
    return int(found[1]) if found else 0


def _script(blocks: list[Block]) -> Iterator[str]:
    """Write files where the page names them; stop at the first command that does not end well."""
    for block in blocks:
        if block.file:
            yield f"cat > {shlex.quote(block.file)} <<'@@end'\n{block.text}@@end"
        for line in _commands(block):
            yield f"{line}\ncode=$?; printf '\\n@@%d\\n' $code; [ $code = {_wanted(line)} ] || exit"


def _type(folder: Path, source: Path) -> str:
    """Run the script in a shell of its own, and end all that it leaves; give what it printed."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(source),
        "COLUMNS": "100",
    }
    with (folder / PRINTED).open("w+") as printed:
        shell = subprocess.Popen(
            ["bash", SCRIPT],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
        printed.seek(0)
        return printed.read()


def _compare(blocks: list[Block], typed: list[Typed]) -> None:
    """Check that what stands after commands is what they printed."""
    rest = iter(typed)
    last = ""
    for block in blocks:
        if block.language == "console":
            last = "".join(next(rest).printed for _ in _commands(block))
        elif block.language == "text":
            _check_printed(block.text, last)


def _check_printed(told: str, printed: str) -> None:
    """Check that the told lines are among the printed ones, in order."""
    lines = iter(" ".join(line.split()) for line in printed.splitlines())
    for line in filter(None, (" ".join(line.split()) for line in told.splitlines())):
        pattern = re.compile(".*".join(map(re.escape, line.split("..."))))
        assert any(pattern.fullmatch(line) for line in lines), f"not printed: {line}\n{printed}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
