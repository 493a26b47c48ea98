"""Planted overlaps are found with their shift and area; searching in slices changes nothing."""

from pathlib import Path

import numpy as np
import pytest
from conftest import SIDE, Planted

from marrowscope.data.audit import overlaps
from marrowscope.data.audit.keypoints import CornerFinder, Corners
from marrowscope.data.audit.overlaps import check, find_overlaps, grey, overlapping


def test_planted_overlaps_are_found_with_their_shift_and_area(
    planted: Planted,
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
    planted: Planted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = [grey(file) for file in sorted({file for pair in planted for file in pair})]
    finder = CornerFinder()
    points, words = zip(*map(finder, pictures), strict=True)
    counts = [len(point) for point in points]
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
