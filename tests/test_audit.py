"""Planted overlaps, copies and damage are found, other cells left alone; a kill loses little."""

import io
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES, SIDE, Planted
from PIL import Image, ImageEnhance
from test_classify import rows_of, run

from marrowscope.data.audit.image_stats import LOOKS, look, summarise
from marrowscope.data.audit.near_duplicates import SIGNATURE_LENGTH, find_copies, signature
from marrowscope.data.audit.run import audit
from marrowscope.data.manifest import Manifest, read_manifest


@pytest.fixture
def cells(planted: Planted, tmp_path: Path) -> Path:
    """A folder of planted crops that tests may add to."""
    shutil.copytree(next(iter(planted))[0].parents[1], tmp_path / "data")
    return tmp_path / "data"


def test_an_audit_finds_what_was_planted(planted: Planted, cells: Path, tmp_path: Path) -> None:
    shutil.copy(cells / "LYT/0_a.jpg", cells / "MON/copy.jpg")
    Image.open(cells / "LYT/1_a.jpg").rotate(90).save(cells / "MON/turned.jpg", quality=90)
    Image.open(cells / "LYT/2_a.jpg").crop((0, 0, 200, 200)).save(cells / "LYT/small.png")
    Image.open(cells / "LYT/3_a.jpg").convert("L").save(cells / "LYT/grey.png")
    content = bytearray((cells / "LYT/4_a.jpg").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    (cells / "LYT/broken.jpg").write_bytes(content)
    done = run("data", "audit", cells, "--output", tmp_path / "audit", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary == json.loads((tmp_path / "audit/audit.json").read_text())
    assert (summary["duplicates"], summary["duplicates_of_two_classes"]) == (1, 1)
    assert (summary["unreadable"], summary["damaged"], summary["odd size"]) == (1, 1, 1)
    damaged = {Path(row["path"]).name: row for row in rows_of(tmp_path / "audit/damaged.csv")}
    assert damaged["grey.png"]["reason"].startswith("it is grey-scale")
    assert damaged["broken.jpg"]["kind"] == "damaged"
    assert damaged["small.png"]["reason"].startswith("200 x 200 pixels, where 9")
    copies = rows_of(tmp_path / "audit/duplicates.csv")
    assert [row["kind"] for row in copies[:2]] == ["same content", "same picture"]
    assert {copies[1]["path_a"], copies[1]["path_b"]} == {"LYT/1_a.jpg", "MON/turned.jpg"}
    assert float(copies[1]["angle"]) in {90, 270}
    listed = {
        (row["path_a"], row["path_b"]): (int(row["dx"]), int(row["dy"]))
        for row in rows_of(tmp_path / "audit/overlaps.csv")
    }
    true = {
        (f"LYT/{one.name}", f"MON/{other.name}"): shift for (one, other), shift in planted.items()
    }
    found = true.keys() & listed.keys()
    assert len(found) >= 0.95 * len(true)
    assert all(listed[pair] == true[pair] for pair in found)


def test_the_page_outlines_what_two_pictures_share(cells: Path, tmp_path: Path) -> None:
    result = audit(read_manifest(cells), tmp_path / "audit", workers=1)
    page = (tmp_path / "audit/audit.html").read_text(encoding="utf-8")
    assert page.count('class="pair across"') == min(60, len(result.overlaps))
    first = min(result.overlaps, key=lambda each: (each.a, each.b))
    left = 100 * max(0, first.dx) / SIDE
    assert f'class="shared" style="left:{left:.2f}%' in page
    assert not (tmp_path / "audit/survey").exists()


def test_sample_cells_share_no_pixels(manifest: Manifest, tmp_path: Path) -> None:
    result = audit(manifest, tmp_path / "audit", workers=2)
    assert (result.duplicates, result.copies, result.overlaps) == ((), (), ())
    assert {damage.kind for damage in result.damaged} <= {"odd size"}
    assert result.looks.keys() == {"mll", "pbc"}


DIE_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from marrowscope.data.audit.run import audit
from marrowscope.data.manifest import read_manifest

left = iter(range(50))

def each():
    if next(left, None) is None:
        os.kill(os.getpid(), signal.SIGKILL)

cells, folder = map(Path, sys.argv[1:])
audit(read_manifest(cells), folder, workers=1, advance=each)
"""


def test_a_killed_audit_is_not_taken_for_whole_and_is_gone_on_with(
    cells: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    died = subprocess.run([sys.executable, "-c", DIE_HALF_WAY, cells, folder], check=False)
    assert died.returncode == -signal.SIGKILL
    assert [file.name for file in folder.iterdir()] == ["survey"]
    assert json.loads((folder / "survey/journal.json").read_text())["items"] == 64
    split = run("data", "split", cells, "--audit", folder, "--output", tmp_path / "split")
    assert split.returncode == 1
    assert "damaged.csv" in split.stderr
    done = run("data", "audit", cells, "--output", folder, "--json")
    assert done.returncode == 0, done.stderr
    whole = audit(read_manifest(cells), tmp_path / "whole", workers=1)
    assert json.loads(done.stdout) == json.loads(json.dumps(whole.summary()))
    names = ("overlaps.csv", "duplicates.csv", "damaged.csv")
    assert all(
        (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in names
    )


def test_training_keeps_together_and_leaves_out_what_an_audit_names(
    cells: Path, tmp_path: Path, toy_network: Path
) -> None:
    (cells / "LYT/broken.jpg").write_bytes((cells / "LYT/4_a.jpg").read_bytes()[:2000])
    done = run("data", "audit", cells, "--output", tmp_path / "audit")
    assert done.returncode == 0, done.stderr
    trained = run(
        "train", "--data", cells, "--audit", tmp_path / "audit",
        "--output", tmp_path / "run", "--model", toy_network, "--epochs", 1,
        "--set", "min_images=2", "--set", "unfreeze_blocks=0", "--set", "size=56", "--threads", 1,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    parts = {row["path"]: row["part"] for row in rows_of(tmp_path / "run/split.csv")}
    assert "LYT/broken.jpg" not in parts
    for row in rows_of(tmp_path / "audit/overlaps.csv"):
        assert parts[row["path_a"]] == parts[row["path_b"]]


def copies_of(image: Image.Image) -> dict[str, Image.Image]:
    """Give what augmentation and re-saving make of a picture."""
    return {
        "mirrored": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "turned by 37": image.rotate(37, Image.Resampling.BICUBIC),
        "half the size": image.resize((image.width // 2, image.height // 2)),
        "brighter": ImageEnhance.Brightness(image).enhance(1.15),
    }


def test_copies_are_found_however_they_were_turned(manifest: Manifest) -> None:
    files = [manifest.root / cell.path for cell in manifest.cells]
    greys = [np.asarray(Image.open(file).convert("L")) for file in files]
    names = []
    for index in range(0, len(files), 10):
        for name, copy in copies_of(Image.open(files[index]).convert("RGB")).items():
            buffer = io.BytesIO()
            copy.save(buffer, "JPEG", quality=85)
            greys.append(np.asarray(Image.open(buffer).convert("L")))
            names.append((index, name))
    signatures = np.stack([signature(grey) for grey in greys])
    assert signatures.shape == (len(greys), SIGNATURE_LENGTH)
    found = {(copy.a, copy.b): copy for copy in find_copies(signatures, greys.__getitem__)}
    planted = {(index, len(files) + place): name for place, (index, name) in enumerate(names)}
    assert len(found.keys() & planted.keys()) >= 0.97 * len(planted)
    originals = {pair for pair in found if pair[1] < len(files)}
    assert originals == set()
    for pair in found.keys() & planted.keys():
        assert found[pair].mirrored == (planted[pair] == "mirrored") or found[pair].angle != 0
        if planted[pair] == "turned by 37":
            assert min(abs(found[pair].angle - angle) for angle in (37, 323)) < 1.5


def test_looks_of_a_picture_worked_by_hand() -> None:
    pixels = np.full((64, 64, 3), 200, np.uint8)
    pixels[:16] = 20
    values = dict(zip(LOOKS, look(pixels).tolist(), strict=True))
    assert values["background_red"] == 200
    assert values["density_green"] == pytest.approx(1)
    assert values["stained_area"] == pytest.approx(0.25)
    flat = look(np.full((30, 40, 3), 200, np.uint8))
    assert (flat[0], flat[1], flat[-1]) == (40, 30, 0)
    table = summarise(np.stack([look(pixels), flat, np.full(10, np.nan, np.float32)]), ["a"] * 3)
    assert table["a"]["width"] == {"p5": 41.2, "p50": 52, "p95": 62.8}


def test_an_audit_needs_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    done = run("data", "audit", SAMPLES / "cells.csv", "--output", tmp_path)
    assert done.returncode == 1
    assert "already holds something" in done.stderr
