"""Blobs: written whole or not at all, checked when read, swept without touching what is new."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marrowscope.errors import FieldError, NotThereError, StoreError
from marrowscope.store.blobs import Blobs, read_chunks

HANG = """
import sys
from pathlib import Path
from marrowscope.store.blobs import Blobs
def pieces():
    yield b"half"
    print("hangs", flush=True)
    sys.stdin.read()
Blobs(Path(sys.argv[1])).put_chunks(pieces())
"""


def test_a_content_is_kept_under_its_hash_once(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    name = blobs.put(b"cell")
    assert name == hashlib.sha256(b"cell").hexdigest()
    assert blobs.path(name) == tmp_path / "blobs" / name[:2] / name
    assert blobs.put_chunks([b"ce", b"", b"ll"]) == name
    assert (blobs.read(name), name in blobs, list(blobs.names())) == (b"cell", True, [name])
    assert b"".join(read_chunks(blobs.path(name))) == b"cell"
    assert [file.name for file in (tmp_path / "blobs").iterdir()] == [name[:2]]


def test_what_is_not_there_or_was_changed_is_said(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    name = blobs.put(b"cell")
    with pytest.raises(NotThereError, match=f"there is no picture {'0' * 64}"):
        blobs.read("0" * 64)
    blobs.path(name).write_bytes(b"other")
    with pytest.raises(StoreError, match="the file was changed; restore it from a copy"):
        blobs.read(name)


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", ""])
def test_no_other_name_leads_anywhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="is no SHA-256 in small hexadecimal digits"):
        Blobs(tmp_path).path(name)


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"half"
        raise FieldError("it cannot be read")

    with pytest.raises(FieldError):
        Blobs(tmp_path).put_chunks(pieces())
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_no_content_and_is_swept_away(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HANG, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"hangs\n"
        process.kill()
    blobs = Blobs(tmp_path)
    assert list(blobs.names()) == []
    assert len(list(tmp_path.iterdir())) == 1
    assert blobs.sweep((), older_than=time.time() + 60) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_removes_old_contents_that_nobody_wants(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    wanted, other = blobs.put(b"wanted"), blobs.put(b"other")
    assert blobs.sweep({wanted}, older_than=0) == 0
    assert other in blobs
    assert blobs.sweep({wanted}, older_than=time.time() + 60) == 1
    assert list(blobs.names()) == [wanted]


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"file/blobs: cannot hold pictures [(]Not a directory"):
        Blobs(tmp_path / "file" / "blobs")
