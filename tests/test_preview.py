"""The page of random views shows cells of every class and source first, and views that differ."""

from pathlib import Path

from conftest import SAMPLES
from test_classify import run

from marrowscope.data.manifest import Manifest
from marrowscope.train.preview import preview
from marrowscope.train.settings import TrainSettings


def test_views_differ_and_cells_are_of_many_kinds(manifest: Manifest, tmp_path: Path) -> None:
    rows = preview(manifest, TrainSettings(size=64), tmp_path / "v.html", cells=31, views=3)
    assert len({(row.cell.label, row.cell.source) for row in rows}) == 31
    for row in rows:
        assert len({row.plain, *row.views}) == 4
    page = (tmp_path / "v.html").read_text()
    assert page.count("<img") == 31 * 4


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    file = tmp_path / "views.html"
    done = run("preview", SAMPLES / "cells.csv", "--output", file, "--set", "blur=2", "--cells", 2)
    assert done.returncode == 0, done.stderr
    assert "<code>blur 2.0</code>" in file.read_text()
