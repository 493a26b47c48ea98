"""The tutorial of the integrator, walked as its reader does."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from walks import walk


@pytest.mark.skipif(shutil.which("curl") is None, reason="left out: no curl on this machine")
def test_an_integrator_gets_the_same_by_rest_and_by_the_onnx_file_alone(tmp_path: Path) -> None:
    walk(ROOT / "docs/tutorials/integrator.md", tmp_path)
    counted = json.loads((tmp_path / "differential.json").read_text())
    assert counted["counted"] >= 20
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    with (tmp_path / "results/predictions.csv").open(newline="") as file:
        ours = {
            row["path"]: (row["label"], row["probability"], row["set"])
            for row in csv.DictReader(file)
        }
    alone = {}
    for line in (tmp_path / "alone.txt").read_text().splitlines():
        path, label, probability, *codes = line.split()
        alone[path] = label, float(probability), " ".join(codes)
    assert len(alone) == 14
    assert alone.keys() == ours.keys()
    for path, (label, probability, codes) in alone.items():
        assert ours[path][::2] == (label, codes)
        assert probability == pytest.approx(float(ours[path][1]), abs=2e-6)
