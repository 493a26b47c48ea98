"""Cells are read from containers and from an object store as from folders."""

import io
import tarfile
import zipfile
from pathlib import Path

import pyarrow.dataset
import pyarrow.parquet
import pytest
import s3fs
from conftest import SAMPLES
from PIL import Image

from marrowscope.errors import OutputError
from marrowscope.inference.classify import classify
from marrowscope.inference.options import OutputOptions
from marrowscope.inference.parquet import write_parts
from marrowscope.io.archives import pictures_of, read_content
from marrowscope.io.discovery import find_files
from marrowscope.io.images import decode_image
from marrowscope.io.tables import read_predictions
from marrowscope.locations import COPIES_KEPT, Copies, is_url, location_of, name_of
from marrowscope.model.bundle import Bundle
from marrowscope.types import Picture, Reject

CELLS = sorted((SAMPLES / "cells/pbc/EO").iterdir())[:5]


def zipped(file: Path) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for cell in CELLS:
            archive.write(cell, f"EOS/{cell.name}")
        archive.writestr("__MACOSX/EOS/._a.jpg", b"x")
        archive.writestr("EOS/.hidden", b"x")
    return file


def tarred(file: Path) -> Path:
    with tarfile.open(file, "w") as archive:
        for cell in CELLS:
            archive.add(cell, f"EOS/{cell.name}")
    return file


def rows(file: Path) -> Path:
    held = [{"image": {"bytes": cell.read_bytes(), "path": cell.name}} for cell in CELLS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(held), file, row_group_size=2)
    return file


CONTAINERS = {"set.zip": zipped, "set.tar": tarred, "set.parquet": rows}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_gives_its_pictures_in_order(name: str, tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    CONTAINERS[name](tmp_path / "scan" / name)
    found = list(find_files([str(tmp_path)], 0.1))
    assert [read_content(each.path) for each in found if isinstance(each, Picture)] == [
        cell.read_bytes() for cell in CELLS
    ]
    assert {each.um_per_px for each in found if isinstance(each, Picture)} == {0.1}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_damaged_container_is_a_reject(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind" * 100)
    (reject,) = find_files([str(tmp_path)])
    assert isinstance(reject, Reject)
    assert reject.path == str(tmp_path / name)
    assert "it is no whole" in reject.reason


def test_an_empty_or_packed_archive_and_a_table_without_pictures_are_rejects(
    tmp_path: Path,
) -> None:
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.add(CELLS[0])
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "table.parquet")
    reasons = [file.reason for file in find_files([str(tmp_path)]) if isinstance(file, Reject)]
    assert reasons[0] == "it holds no files"
    assert reasons[1].startswith("it is no whole tar archive without compression")
    assert reasons[2] == "the Parquet file has no column of pictures"


def test_links_in_a_tar_are_not_followed(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("passwords.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        archive.add(CELLS[0], "cell.jpg")
    assert [name_of(place) for place in pictures_of(tmp_path / "a.tar")] == ["cell.jpg"]
    with pytest.raises(FileNotFoundError, match="no such file in the tar archive"):
        read_content(tmp_path / "a.tar/passwords.jpg")


def test_urls_are_told_from_paths() -> None:
    assert is_url("s3://bucket/a.jpg")
    assert not any(map(is_url, ("s3:/bucket", "a/b.jpg", "C:\\cells", "://x", "s3://")))
    assert location_of("a/b.jpg") == Path("a/b.jpg")
    assert name_of("s3://bucket/a/b.jpg") == "b.jpg"


def test_a_store_is_walked_and_read_like_a_folder(s3: s3fs.S3FileSystem, tmp_path: Path) -> None:
    for number, cell in enumerate(CELLS[:3]):
        s3.put_file(str(cell), f"smears/walk/{number % 2}/{cell.name}")
    s3.put_file(str(CELLS[0]), "smears/walk/.hidden")
    s3.put_file(str(zipped(tmp_path / "set.zip")), "smears/walk/set.zip")
    found = [file for file in find_files(["s3://smears/walk"]) if isinstance(file, Picture)]
    assert [str(each.path) for each in found] == [
        f"s3://smears/walk/0/{CELLS[0].name}",
        f"s3://smears/walk/0/{CELLS[2].name}",
        f"s3://smears/walk/1/{CELLS[1].name}",
        *(f"s3://smears/walk/set.zip/EOS/{cell.name}" for cell in CELLS),
    ]
    wanted = [CELLS[number].read_bytes() for number in (0, 2, 1)]
    assert [read_content(each.path) for each in found] == wanted + [
        cell.read_bytes() for cell in CELLS
    ]


def test_what_a_store_does_not_hold_is_a_reject(s3: s3fs.S3FileSystem) -> None:
    s3.put_file(str(CELLS[0]), "smears/one/a.jpg")
    (one,) = find_files(["s3://smears/one/a.jpg"])
    (nothing,) = find_files(["s3://smears/none"])
    (no_store,) = find_files(["nostore://smears"])
    assert isinstance(one, Picture)
    assert nothing == Reject("s3://smears/none", "no object has this URL, or lies below it")
    assert isinstance(no_store, Reject)
    assert "no such kind of store" in no_store.reason


def test_copies_of_containers_do_not_fill_the_disk(s3: s3fs.S3FileSystem) -> None:
    copies = Copies()
    for number in range(COPIES_KEPT + 2):
        s3.pipe_file(f"smears/copies/{number}.zip", bytes([number]))
    files = [copies.of(f"s3://smears/copies/{n}.zip") for n in range(COPIES_KEPT + 2)]
    assert [file.is_file() for file in files] == [False, False, *[True] * COPIES_KEPT]
    again = copies.of("s3://smears/copies/0.zip")
    assert again.read_bytes() == b"\0"
    assert copies.of("s3://smears/copies/0.zip") == again
    del copies
    assert not again.parent.exists()


def test_a_store_is_classified_as_a_folder_is(
    s3: s3fs.S3FileSystem, toy_bundle: Bundle, tmp_path: Path
) -> None:
    for cell in CELLS:
        s3.put_file(str(cell), f"smears/cells/{cell.name}")
    (tmp_path / "cells").mkdir()
    for cell in CELLS:
        (tmp_path / "cells" / cell.name).write_bytes(cell.read_bytes())
    here = classify(find_files([str(tmp_path / "cells")]), toy_bundle, tmp_path / "here")
    there = classify(find_files(["s3://smears/cells"]), toy_bundle, tmp_path / "there")
    assert there.cells == len(CELLS)
    assert there.differential == here.differential
    assert "data:image" in (tmp_path / "there/report.html").read_text()


def test_predictions_go_into_a_store_in_parts(
    s3: s3fs.S3FileSystem, toy_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marrowscope.inference.parquet.ROWS_A_PART", 2)
    classify(find_files(map(str, CELLS)), toy_bundle, tmp_path / "out")
    file, place = tmp_path / "out/predictions.csv", "s3://smears/results"
    write_parts(file, place, overwrite=False)
    parts = sorted(s3.ls("smears/results"))
    assert [name_of(part) for part in parts] == [f"part-{n}.parquet" for n in range(3)]
    table = pyarrow.dataset.dataset("smears/results", filesystem=s3).to_table()
    assert table["path"].to_pylist() == [prediction.path for prediction in read_predictions(file)]
    with pytest.raises(OutputError, match="already holds something; give another place"):
        write_parts(file, place, overwrite=False)
    write_parts(file, place, overwrite=True)
    write_parts(file, tmp_path / "parts", overwrite=False)
    assert pyarrow.dataset.dataset(tmp_path / "parts").to_table() == table
    with pytest.raises(OutputError, match=r"http://a/b cannot be written \(no such kind of sto"):
        classify([], toy_bundle, tmp_path / "none", output=OutputOptions(parquet_to="http://a/b"))
    assert not (tmp_path / "none").exists()


def test_a_picture_of_a_store_is_shown(s3: s3fs.S3FileSystem) -> None:
    content = io.BytesIO()
    Image.new("RGB", (40, 40), "purple").save(content, "PNG")
    s3.pipe_file("smears/a.png", content.getvalue())
    assert decode_image(read_content("s3://smears/a.png")).size == (40, 40)
