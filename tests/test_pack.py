"""A pack holds the pixels that decoding gives, survives a kill, and is never read half-written."""

import json
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from test_classify import run

from marrowscope.data.append_store import GrowingFiles
from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.pack import PIXELS, Pack, open_pack, pack
from marrowscope.data.split import Split
from marrowscope.errors import PackError
from marrowscope.io.images import read_image
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.dataset import CellDataset, Item, PackedDataset
from marrowscope.train.fit import Trained, fit
from marrowscope.train.run import read_run

SMALL = Preprocessing(size=56)


@pytest.fixture(scope="module")
def packed(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return pack(manifest, tmp_path_factory.mktemp("pack"), SMALL, workers=1)


def test_a_pack_has_the_pixels_of_the_files(manifest: Manifest, packed: Pack) -> None:
    assert packed.pixels.shape == (201, 3, 56, 56)
    classes = sorted({cell.label for cell in manifest.cells})
    plain = CellDataset(manifest.root, manifest.cells, classes, SMALL)
    fast = PackedDataset(packed, manifest.cells, classes, SMALL)
    assert len(fast) == len(plain)
    for one, other in zip(_all(plain), _all(fast), strict=True):
        assert one[1:] == other[1:]
        assert torch.equal(one[0], other[0])


def _all(data: CellDataset | PackedDataset) -> Iterator[Item]:
    return (data[index] for index in range(len(data)))


def test_a_pack_travels_to_a_process_by_name(packed: Pack) -> None:
    sent = pickle.dumps(packed)
    assert len(sent) < 500
    assert np.array_equal(pickle.loads(sent).pixels, packed.pixels)  # noqa: S301 - made here


def test_training_from_a_pack_is_training_from_the_files(
    manifest: Manifest, split: Split, toy_run: Trained, packed: Pack, tmp_path: Path
) -> None:
    settings = read_run(toy_run.folder).settings
    from_pack = fit(manifest, split, settings, tmp_path / "run", pack=packed)
    assert from_pack.best_macro_f1 == toy_run.best_macro_f1
    weights = (folder / "model.safetensors" for folder in (from_pack.folder, toy_run.folder))
    assert len({file.read_bytes() for file in weights}) == 1


def test_what_cannot_be_read_is_told_and_asked_for_in_vain(
    manifest: Manifest, tmp_path: Path
) -> None:
    shutil.copytree(SAMPLES / "cells/mll/PMO", tmp_path / "data/PMO")
    broken = tmp_path / "data/PMO/broken.jpg"
    broken.write_bytes(b"no picture")
    data = read_manifest(tmp_path / "data")
    made = pack(data, tmp_path / "pack", SMALL, workers=1)
    assert [reject.path for reject in made.rejects] == ["PMO/broken.jpg"]
    assert len(made.pixels) == len(data.cells) - 1
    with pytest.raises(PackError, match=r"1 of 15 cells are not in it \(the first: PMO/broken"):
        made.rows(data.cells, SMALL)
    with pytest.raises(PackError, match="its cells are 56 pixels wide"):
        made.rows(data.cells, Preprocessing())
    with pytest.raises(PackError, match="no whole pack there"):
        open_pack(tmp_path / "data")
    with (tmp_path / "pack" / PIXELS).open("ab") as file:
        file.write(b"x")
    with pytest.raises(PackError, match="its files are not as long as they were"):
        open_pack(tmp_path / "pack")
    assert len(pack(manifest, tmp_path / "pack", SMALL, workers=1).pixels) == 201


DIE_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from marrowscope.data.manifest import read_manifest
from marrowscope.data.pack import pack
from marrowscope.model.preprocess import Preprocessing

left = iter(range(100))

def each():
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)

cells, folder = map(Path, sys.argv[1:])
pack(read_manifest(cells), folder, Preprocessing(size=56), workers=1, advance=each)
"""


def test_a_killed_packing_is_no_pack_and_is_gone_on_with(packed: Pack, tmp_path: Path) -> None:
    cells = SAMPLES / "cells.csv"
    died = subprocess.run([sys.executable, "-c", DIE_HALF_WAY, cells, tmp_path], check=False)
    assert died.returncode == -signal.SIGKILL
    assert json.loads((tmp_path / "journal.json").read_text())["items"] == 128
    with pytest.raises(PackError, match="no whole pack there"):
        open_pack(tmp_path)
    with (tmp_path / PIXELS).open("ab") as file:
        file.write(b"half a cell")
    finished = run("data", "pack", cells, "--output", tmp_path, "--size", 56, "--json")
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout)["cells"] == 201
    again = open_pack(tmp_path)
    assert again.row_of == packed.row_of
    assert np.array_equal(again.pixels, packed.pixels)


@pytest.mark.parametrize(
    "journal",
    [
        "[]",
        "{}",
        '{"key": "k", "items": 2, "bytes": {"a": "7"}}',
        '{"key": "k", "items": 2, "bytes": [1]}',
        '{"key": "k", "items": 2, "bytes": {"a": 7}}',
    ],
)
def test_files_that_do_not_fit_their_journal_are_begun_anew(journal: str, tmp_path: Path) -> None:
    """The last journal names a byte more than there is."""
    kept = GrowingFiles(tmp_path, "k", ["a"])
    kept.append(2, {"a": b"123456"})
    assert GrowingFiles(tmp_path, "k", ["a"]).items == 2
    (tmp_path / "journal.json").write_text(journal)
    assert GrowingFiles(tmp_path, "k", ["a"]).items == 0
    assert not (tmp_path / "a").read_bytes()


def test_workers_give_the_same_pack(manifest: Manifest, packed: Pack, tmp_path: Path) -> None:
    spread = pack(manifest, tmp_path, SMALL, workers=2)
    assert np.array_equal(spread.pixels, packed.pixels)
    cell = manifest.cells[7]
    whole = SMALL.resize(read_image(manifest.root / cell.path))
    assert np.array_equal(spread.pixels[spread.row_of[cell.sha256]], whole)


def test_a_pack_shows_cells_at_their_own_scale(manifest: Manifest, tmp_path: Path) -> None:
    scales = {"mll": 0.09, "pbc": 0.12}
    cells = tuple(replace(cell, um_per_px=scales[cell.source]) for cell in manifest.cells[::20])
    scaled, field = replace(manifest, cells=cells), Preprocessing(size=56, field_um=20)
    made = pack(scaled, tmp_path, field, workers=1)
    for cell in cells:
        expected = field.resize(read_image(manifest.root / cell.path), cell.um_per_px)
        assert np.array_equal(made.pixels[made.row_of[cell.sha256]], expected)
    with pytest.raises(PackError, match="bicubic, 20 micrometres"):
        made.rows(cells, SMALL)
