"""The tutorial of the integrator, walked as its reader does."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from tutorial_runner import walk


@pytest.mark.skipif(shutil.which("curl") is None, reason="left out: no curl on this machine")
def test_an_integrator_gets_the_same_by_rest_and_by_the_onnx_file_alone(tmp_path: Path) -> None:
    walk(ROOT / "docs/tutorials/integrator.md", tmp_path)
    counted = json.loads((tmp_path / "differential.json").read_text())
    assert counted["counted"] >= 20
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    with (tmp_path / "results/predictions.csv").open(newline="") as file:
        ours = {row["path"]: row for row in csv.DictReader(file)}
    alone = [line.split() for line in (tmp_path / "alone.txt").read_text().splitlines()]
    assert sorted(path for path, *_ in alone) == sorted(ours)
    assert len(ours) == 14
    for path, label, probability, *codes in alone:
        assert (ours[path]["label"], ours[path]["set"]) == (label, " ".join(codes))
        assert float(ours[path]["probability"]) == pytest.approx(float(probability), abs=2e-6)
