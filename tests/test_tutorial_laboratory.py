"""The tutorial of the laboratory, walked as its reader does."""

import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from tutorial_runner import walk


@pytest.mark.skipif(shutil.which("curl") is None, reason="left out: no curl on this machine")
def test_a_laboratory_comes_from_a_folder_to_reports_and_a_copy_to_keep(tmp_path: Path) -> None:
    walk(ROOT / "docs/tutorials/laboratory.md", tmp_path)
    for page in ("results/report.html", "results-fields/report.html", "report-117/report.html"):
        assert "Research use only" in (tmp_path / page).read_text()
    assert (tmp_path / "report-117/report.pdf").read_bytes().startswith(b"%PDF")
