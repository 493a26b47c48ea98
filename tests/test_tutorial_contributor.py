"""The tutorial of the contributor, walked in a copy of the working tree."""

import shutil
from pathlib import Path

from conftest import ROOT
from tutorial_runner import walk

CLONED = (
    "benchmarks",
    "samples",
    "src",
    "tests",
    "tools",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
GATE = ("ruff format --check", "ruff check", "mypy", "python -m pytest")
"""The steps of `make test`; the layers are checked by a test."""


def test_a_contributor_checks_a_change(tmp_path: Path) -> None:
    clone = tmp_path / "marrowscope"
    clone.mkdir()
    for name in CLONED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, clone / name)
    typed = [
        node.line for node in walk(ROOT / "docs/tutorials/contributor.md", clone, clone / "src")
    ]
    makefile = (ROOT / "Makefile").read_text()
    for step in GATE:
        assert any(line.startswith(step) for line in typed), step
        assert f".venv-test/bin/{step}" in makefile
