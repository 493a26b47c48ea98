"""The package from Python: lazy, the same figures as the command, examples that run."""

import json
import re
import subprocess
import sys

import pytest
from conftest import ROOT, SAMPLES

import marrowscope as ms
from marrowscope.model.bundle import Bundle

PAGES = ("README.md", "docs/python.md")


def test_the_import_loads_neither_numpy_nor_a_part_of_the_package() -> None:
    script = "import sys, json, marrowscope; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    modules = json.loads(done.stdout)
    assert [name for name in modules if name.startswith("marrowscope")] == ["marrowscope"]
    assert {"numpy", "onnxruntime", "PIL", "scipy"}.isdisjoint(modules)


def test_every_public_name_is_there_and_no_other() -> None:
    assert all(getattr(ms, name) for name in ms.__all__)
    assert dir(ms) == sorted(ms.__all__)
    with pytest.raises(AttributeError, match="no attribute 'diagnose'"):
        _ = ms.diagnose


def test_cells_are_classified_and_counted_in_memory(toy_bundle: Bundle) -> None:
    folder = SAMPLES / "cells/mll/EOS"
    cells = ms.classify(
        [folder, folder / "none.jpg"],
        toy_bundle,
        um_per_px=0.086,
        inference=ms.InferenceOptions(threads=1),
    )
    assert len(cells.predictions) == len(list(folder.iterdir()))
    assert [reject.reason for reject in cells.rejects] == ["no such file or folder"]
    frame = cells.to_pandas()
    assert list(frame.columns)[4:] == list(toy_bundle.classes)
    assert frame["label"].tolist() == [cell.label for cell in cells.predictions]
    shares = cells.differential.to_pandas()
    assert shares["cells"].sum() == cells.differential.counted


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_the_pages_run(page: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        subprocess.run([sys.executable, "-c", block], check=True, cwd=ROOT)
