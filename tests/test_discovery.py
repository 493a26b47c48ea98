"""Files are found in one order, each once, and their number costs little memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from marrowscope.io.discovery import HASHES_AT_ONCE, Seen, find_files
from marrowscope.types import Picture, Reject

WATCHED = """
import sys, tracemalloc
from marrowscope.io.discovery import find_files
tracemalloc.start()
found = sum(1 for _ in find_files([sys.argv[1]]))
print(found, tracemalloc.get_traced_memory()[1])
"""
"""In a process of its own: threads of other tests would be counted too."""


def names(folder: Path, *inputs: str, besides: tuple[Path, ...] = ()) -> list[str]:
    """Name what is found below a folder; rejects by their reason."""
    found = find_files(inputs or [str(folder)], besides=besides)
    return [
        Path(each.path).relative_to(folder).as_posix() if isinstance(each, Picture) else each.reason
        for each in found
    ]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.jpg", "a/2.jpg", "a/1.jpg", "a/.git/x", ".z/y.jpg", "B/Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_folders_and_patterns_are_in_the_order_of_paths(tree: Path) -> None:
    as_paths = ["a/1.jpg", "a/2.jpg", "a.jpg", "b.jpg"]
    assert names(tree) == as_paths
    assert sorted(map(Path, as_paths)) == list(map(Path, as_paths))
    assert names(tree, f"{tree}/**/*.jpg") == as_paths
    assert names(tree, f"{tree}/*") == as_paths
    assert names(tree, f"{tree}/b.jpg", str(tree)) == ["b.jpg", "a/1.jpg", "a/2.jpg", "a.jpg"]


def test_each_file_comes_once_however_it_is_named(tree: Path) -> None:
    (tree / "again.jpg").symlink_to(tree / "a.jpg")
    (tree / "broken.jpg").symlink_to(tree / "gone.jpg")
    (tree / "round").symlink_to(tree)
    assert names(tree) == ["a/1.jpg", "a/2.jpg", "a.jpg", "b.jpg"]
    assert names(tree, str(tree), f"{tree}/a/../b.jpg", str(tree / "round")) == names(tree)


def test_inputs_that_lead_to_nothing_are_named(tree: Path) -> None:
    assert names(tree, str(tree / "B"), str(tree / "no"), f"{tree}/*.png") == [
        "the folder holds no files",
        "no such file or folder",
        "no file matches this pattern",
    ]
    every = tuple(tree / name for name in ("a.jpg", "b.jpg", "a/1.jpg", "a/2.jpg"))
    assert names(tree, besides=every[:3]) == ["a/2.jpg"]
    own = "it leads to nothing but files that marrowscope itself reads or writes here, such as "
    own += (
        "case.toml, reviews.csv and results; give pictures, or a folder, archive or pattern of them"
    )
    assert names(tree, besides=every) == [own]
    assert names(tree, str(every[0]), besides=every[:1]) == [own]
    assert names(tree, f"{tree}/*/*.jpg", besides=every) == [own]


def test_a_folder_that_cannot_be_listed_is_a_reject(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders in folders, until the path is longer than systems allow."""
    monkeypatch.chdir(tmp_path)
    deep = "d" * 200
    for _ in range(25):
        Path(deep).mkdir()
        os.chdir(deep)
    os.chdir(tmp_path)
    (tmp_path / "z.jpg").touch()
    found = list(find_files([str(tmp_path)]))
    assert isinstance(found[0], Reject)
    assert found[0].reason == "the folder cannot be listed (File name too long)"
    assert found[1:] == [Picture(tmp_path / "z.jpg")]


def test_a_name_that_no_table_can_hold_is_a_reject(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.jpg")).touch()
    assert list(find_files([str(tmp_path)])) == [
        Reject(f"{tmp_path}/\ufffd.jpg", "the name is no text in UTF-8; rename the file")
    ]


def test_memory_is_a_fraction_of_what_a_list_of_paths_takes(tmp_path: Path) -> None:
    files = 20_000
    for number in range(files):
        (tmp_path / f"{number:08}.jpg").touch()
    watched = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)], capture_output=True, text=True, check=True
    )
    found, peak = map(int, watched.stdout.split())
    assert found == files
    assert peak / files < 200


def test_more_is_remembered_than_is_kept_as_a_set() -> None:
    seen = Seen()
    texts = [str(number) for number in range(3 * HASHES_AT_ONCE + 5)]
    assert all(seen.add(text) for text in texts)
    assert not any(seen.add(text) for text in texts)
    assert seen.add("more")
