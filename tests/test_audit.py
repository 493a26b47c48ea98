"""Planted crops of one picture are found with their shift; other cells are left alone."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image
from test_classify import run

from marrowscope.data import overlaps
from marrowscope.data.audit import audit
from marrowscope.data.corners import CornerFinder, Corners
from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.overlaps import check, find_overlaps, grey, overlapping

SIDE = 220


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Path, Path], tuple[int, int]]:
    """Two crops of each blood cell picture, shifted at random and encoded anew, in class folders.

    The second crop shares 30% to 70% of the first one's pixels.
    """
    folder = tmp_path_factory.mktemp("planted")
    random = np.random.default_rng(0)
    pairs = {}
    for number, file in enumerate(sorted((SAMPLES / "cells/pbc").rglob("*.jpg"))):
        whole = Image.open(file)
        room = min(whole.size) - SIDE
        dx, dy = (int(step) for step in random.integers(30, min(room, 90), 2))
        left, top = (int(random.integers(0, room - step + 1)) for step in (dx, dy))
        names = folder / "LYT" / f"{number}_a.jpg", folder / "MON" / f"{number}_b.jpg"
        for name, (x, y) in zip(names, ((left, top), (left + dx, top + dy)), strict=True):
            name.parent.mkdir(exist_ok=True)
            crop = whole.crop((x, y, x + SIDE, y + SIDE))
            crop.save(name, quality=int(random.integers(85, 96)), subsampling=0)
        pairs[names] = (dx, dy)
    return pairs


def test_planted_overlaps_are_found_with_their_shift_and_area(
    planted: dict[tuple[Path, Path], tuple[int, int]],
) -> None:
    files = sorted({file for pair in planted for file in pair})
    seen: list[int] = []
    search = find_overlaps(len(files), lambda index: grey(files[index]), lambda: seen.append(1))
    found = {(files[o.a], files[o.b]): o for o in search}
    assert len(seen) == len(files)
    assert len(found.keys() & planted.keys()) >= 0.95 * len(planted)
    assert found.keys() <= planted.keys()
    for pair, overlap in found.items():
        dx, dy = planted[pair]
        assert (overlap.dx, overlap.dy) == (dx, dy)
        assert overlap.shared_area == pytest.approx((SIDE - dx) * (SIDE - dy) / SIDE**2)
        assert overlap.correlation > 0.98


def test_corners_on_disk_searched_in_slices_give_the_same_pairs(
    planted: dict[tuple[Path, Path], tuple[int, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = [grey(file) for file in sorted({file for pair in planted for file in pair})]
    finder = CornerFinder()
    points, words = zip(*map(finder, pictures), strict=True)
    counts = [len(each) for each in points]
    np.save(tmp_path / "points.npy", np.concatenate(points))
    np.save(tmp_path / "words.npy", np.concatenate(words))
    np.save(tmp_path / "picture.npy", np.repeat(np.arange(len(counts), dtype=np.int32), counts))
    stored = Corners(
        *(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in Corners._fields)
    )
    assert stored.words.shape == (sum(counts), 4)
    at_once = list(overlapping(stored, pictures.__getitem__))
    assert at_once == list(find_overlaps(len(pictures), pictures.__getitem__))
    monkeypatch.setattr(overlaps, "ROWS_AT_ONCE", 1000)
    monkeypatch.setattr(overlaps, "ROWS_READ", 777)
    assert list(overlapping(stored, pictures.__getitem__)) == at_once
    assert len(at_once) >= 0.95 * len(planted)


def test_a_flat_or_tiny_picture_has_no_corners() -> None:
    finder = CornerFinder()
    for shape in ((24, 24), (24, 300), (250, 250)):
        points, words = finder(np.full(shape, 9, dtype=np.uint8))
        assert (points.shape, words.shape) == ((0, 2), (0, 4))
        assert (points.dtype.name, words.dtype.name) == ("int16", "uint64")
    assert list(find_overlaps(2, lambda _: np.full((50, 50), 9, dtype=np.uint8))) == []
    assert list(find_overlaps(0, lambda _: np.full((50, 50), 9, dtype=np.uint8))) == []


def test_the_check_of_a_shift_is_exact() -> None:
    field = np.random.default_rng(0).integers(0, 256, (100, 120)).astype(np.uint8)
    a, b = field[:80, :90], field[20:, 30:]
    right, wrong = check(a, b, 30, 20), check(a, b, 31, 20)
    assert right is not None
    assert right == pytest.approx((60 * 60 / (80 * 90), 1))
    assert wrong is not None
    assert abs(wrong[1]) < 0.1
    assert check(a, b, 75, 20) is None
    disc = np.clip(np.hypot(*(np.indices((80, 90)) - 40)) / 30, 0, 1) ** 2
    noise = np.random.default_rng(1).integers(0, 24, (2, 80, 90))
    one, other = (20 + 200 * disc + noise).astype(np.uint8)
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.98
    assert check(one, one, 0, 0) == pytest.approx((1, 1))
    assert check(one, other, 0, 0) is None
    assert check(np.full_like(a, 7), b, 30, 20) is None


def test_the_audit_lists_duplicates_and_overlaps_of_two_classes(
    planted: dict[tuple[Path, Path], tuple[int, int]], tmp_path: Path
) -> None:
    root = next(iter(planted))[0].parents[1]
    shutil.copytree(root, tmp_path / "data")
    shutil.copy(tmp_path / "data/LYT/0_a.jpg", tmp_path / "data/MON/copy.jpg")
    result = audit(read_manifest(tmp_path / "data"), tmp_path / "audit")
    summary = json.loads((tmp_path / "audit/audit.json").read_text())
    assert summary == result.summary()
    assert (summary["duplicates"], summary["duplicates_of_two_classes"]) == (1, 1)
    assert summary["overlaps"] == summary["overlaps_of_two_classes"] >= 0.95 * len(planted)
    with (tmp_path / "audit/duplicates.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["path_a"], row["path_b"]) == ("LYT/0_a.jpg", "MON/copy.jpg")


def test_sample_cells_share_no_pixels(manifest: Manifest, tmp_path: Path) -> None:
    result = audit(manifest, tmp_path / "audit")
    assert (result.duplicates, result.overlaps) == ((), ())


def test_the_list_of_an_audit_is_what_training_takes(
    planted: dict[tuple[Path, Path], tuple[int, int]], tmp_path: Path, toy_backbone: Path
) -> None:
    root = next(iter(planted))[0].parents[1]
    done = run("data", "audit", root, "--output", tmp_path / "audit", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["cells"] == 2 * len(planted)
    trained = run(
        "train", "--data", root, "--overlaps", tmp_path / "audit/overlaps.csv",
        "--output", tmp_path / "run", "--backbone", toy_backbone, "--min-images", 2,
        "--epochs", 1, "--unfreeze-blocks", 0, "--threads", 1,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    with (tmp_path / "run/split.csv").open(newline="") as file:
        parts = {row["path"]: row["part"] for row in csv.DictReader(file)}
    with (tmp_path / "audit/overlaps.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert parts[row["path_a"]] == parts[row["path_b"]]
