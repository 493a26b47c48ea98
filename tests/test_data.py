"""Cells are read from wherever they lie, with what is known of them, and rejects with reasons."""

import csv
import hashlib
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SAMPLES
from test_classify import run

from marrowscope.data.manifest import Manifest, read_manifest
from marrowscope.data.read import read, read_class_map
from marrowscope.errors import ImageError, ManifestError
from marrowscope.io.archives import read_content
from marrowscope.io.images import read_image


def test_the_samples_carry_every_class_of_both_sources(manifest: Manifest) -> None:
    assert not manifest.rejects
    classes = Counter((cell.source, cell.label) for cell in manifest.cells)
    assert len({code for source, code in classes if source == "mll"}) == 20
    assert len({code for source, code in classes if source == "pbc"}) == 11


def test_class_folders_give_the_cells_of_the_csv(manifest: Manifest) -> None:
    by_folder = read_manifest(SAMPLES / "cells" / "pbc")
    in_csv = {(c.sha256, c.label) for c in manifest.cells if c.source == "pbc"}
    assert {(cell.sha256, cell.label) for cell in by_folder.cells} == in_csv
    assert {cell.source for cell in by_folder.cells} == {"pbc"}


def test_files_that_are_no_cells_of_a_class_become_rejects(tmp_path: Path) -> None:
    for folder in ("LYT", "XYZ"):
        (tmp_path / folder).mkdir()
        shutil.copy(next((SAMPLES / "cells/pbc/LY").iterdir()), tmp_path / folder / "a.jpg")
    (tmp_path / "LYT/notes.txt").touch()
    (tmp_path / "readme.jpg").touch()
    manifest = read_manifest(tmp_path)
    assert [cell.path for cell in manifest.cells] == ["LYT/a.jpg"]
    reasons = {reject.path: reject.reason for reject in manifest.rejects}
    assert reasons["LYT/notes.txt"].startswith("no picture by its name (.jpg, .jpeg,")
    assert reasons["readme.jpg"] == "it lies in no class folder"
    assert reasons["XYZ/a.jpg"].startswith("unknown class 'XYZ'")


def test_rows_that_cannot_be_used_become_rejects_with_reasons(tmp_path: Path) -> None:
    shutil.copy(next((SAMPLES / "cells/pbc/LY").iterdir()), tmp_path / "a.jpg")
    (tmp_path / "m.csv").write_text(
        "path,label,sha256\na.jpg,LYT,\na.jpg,XYZ,\ngone.jpg,LYT,\na.jpg,LYT,0123\n"
    )
    manifest = read_manifest(tmp_path / "m.csv")
    assert [cell.label for cell in manifest.cells] == ["LYT"]
    reasons = [reject.reason for reject in manifest.rejects]
    assert reasons[0].startswith("unknown class 'XYZ'; known classes are BLA,")
    assert reasons[1:] == [
        "cannot be read: No such file or directory",
        "its content is not what the manifest's sha256 says",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\n", "no column path; it has file, label"),
        ("", "no column path or label; it has nothing"),
        ("path,label\n", "no labelled cell found; a folder needs one folder for each class"),
    ],
)
def test_a_csv_without_its_columns_or_cells(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    with pytest.raises(ManifestError) as caught:
        read_manifest(tmp_path / "m.csv")
    assert message in str(caught.value)


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or folder; give class folders, a zip"):
        read_manifest(tmp_path / "gone")


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sample cells as TCIA lays them out, in a zip, as the Barcelona set, and in Parquet."""
    folder = tmp_path_factory.mktemp("layouts")
    for file in sorted((SAMPLES / "cells/mll").rglob("*.jpg"))[:40]:
        code = file.parent.name
        target = folder / "BM_cytomorphology_data" / code / "0001-1000" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    for prefix, name in (("BNE", "neutrophil"), ("ERB", "erythroblast"), ("PMY", "ig")):
        for file in (SAMPLES / "cells/pbc" / prefix).iterdir():
            target = folder / "PBC_dataset_normal_DIB" / name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    shutil.copy(file, folder / "PBC_dataset_normal_DIB/ig/IG_1.jpg")
    with zipfile.ZipFile(folder / "archive.zip", "w") as archive:
        for file in sorted((folder / "BM_cytomorphology_data").rglob("*.jpg")):
            archive.write(file, f"bone_marrow_cell_dataset/{file.parent.parent.name}/{file.name}")
        archive.writestr("abbreviations.csv", "a,b\n")
        archive.writestr("__MACOSX/._x.jpg", "x")
    write_hugging_face(folder / "BM_cytomorphology_data", folder / "train-00000-of-00001.parquet")
    return folder


def write_hugging_face(cells: Path, file: Path) -> None:
    """Write pictures as the Hugging Face library `datasets` writes them: bytes, numbered labels."""
    files = sorted(cells.rglob("*.jpg"))
    names = sorted({file.parent.parent.name for file in files})
    rows = [
        {
            "image": {"bytes": file.read_bytes(), "path": file.name},
            "label": names.index(file.parent.parent.name),
            "patient": f"p{number % 7}",
        }
        for number, file in enumerate(files)
    ]
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pa.Table.from_pylist(rows).replace_schema_metadata(metadata)
    pq.write_table(table, file, row_group_size=7)


def contents(manifest: Manifest) -> set[tuple[str, str]]:
    return {(cell.sha256, cell.label) for cell in manifest.cells}


@pytest.mark.parametrize("name", ["archive.zip", "train-00000-of-00001.parquet"])
def test_archives_give_the_cells_of_the_folder_and_their_pictures(layouts: Path, name: str) -> None:
    folder = read_manifest(layouts / "BM_cytomorphology_data")
    inside = read_manifest(layouts / name)
    assert len(inside.cells) == len(folder.cells) == 40
    assert contents(inside) == contents(folder)
    for cell in inside.cells:
        content = read_content(inside.root / cell.path)
        assert hashlib.sha256(content).hexdigest() == cell.sha256
        assert read_image(inside.root / cell.path).mode == "RGB"


def test_what_an_archive_holds_besides_becomes_rejects(layouts: Path) -> None:
    rejects = read_manifest(layouts / "archive.zip").rejects
    assert [reject.path for reject in rejects] == ["archive.zip/abbreviations.csv"]


def test_parquet_gives_what_else_it_knows(layouts: Path) -> None:
    manifest = read_manifest(layouts / "train-00000-of-00001.parquet")
    assert {cell.patient for cell in manifest.cells} == {f"p{number}" for number in range(7)}
    assert {cell.source for cell in manifest.cells} == {"train-00000-of-00001"}


def test_each_source_has_its_own_scale(layouts: Path, tmp_path: Path) -> None:
    sources = (f"mll={layouts / 'archive.zip'}", f"pbc={layouts / 'PBC_dataset_normal_DIB'}")
    command = ("data", "read", *sources, "--output", tmp_path / "cells.csv", "--um-per-px")
    done = run(*command, "0.09", "--um-per-px", "mll=0.086")
    assert done.returncode == 3, done.stderr
    cells = read_manifest(tmp_path / "cells.csv").cells
    assert {(cell.source, cell.um_per_px) for cell in cells} == {("mll", 0.086), ("pbc", 0.09)}
    wrong = run(*command, "mill=0.086")
    assert wrong.returncode == 1
    assert wrong.stderr.endswith(
        "error: --um-per-px names mill, and no cell comes from there; the sources are mll, pbc\n"
    )
    nothing = run(*command, "mll=0")
    assert nothing.stderr == (
        "error: --um-per-px must be micrometres above 0, or NAME=0.1, got 'mll=0'\n"
    )


def test_the_barcelona_set_as_published(layouts: Path) -> None:
    manifest = read_manifest(layouts / "PBC_dataset_normal_DIB")
    assert {cell.label for cell in manifest.cells} == {"NGB", "EBO", "PMO"}
    assert [reject.path for reject in manifest.rejects] == ["ig/IG_1.jpg"]
    assert manifest.rejects[0].reason.startswith("unknown class 'IG'")


@pytest.mark.parametrize("name", ["cells.csv", "sub/cells.parquet"])
def test_data_read_merges_sources_in_place(layouts: Path, tmp_path: Path, name: str) -> None:
    done = run(
        "data", "read", f"mll={layouts / 'archive.zip'}", layouts / "PBC_dataset_normal_DIB",
        "--output", tmp_path / name, "--um-per-px", 0.1, "--json",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)["sources"]
    assert [sum(source["cells"].values()) for source in told] == [40, 15]
    assert [source["rejects"] for source in told] == [1, 1]
    manifest = read_manifest(tmp_path / name)
    assert not manifest.rejects
    assert Counter(cell.source for cell in manifest.cells) == {
        "mll": 40,
        "PBC_dataset_normal_DIB": 15,
    }
    assert {cell.um_per_px for cell in manifest.cells} == {0.1}
    with (tmp_path / name).with_name("cells-rejects.csv").open(newline="") as file:
        reasons = {Path(row["path"]).name: row["reason"] for row in csv.DictReader(file)}
    assert reasons.keys() == {"abbreviations.csv", "IG_1.jpg"}


def test_labels_of_other_data_are_translated(tmp_path: Path) -> None:
    (tmp_path / "Promielocito").mkdir()
    shutil.copy(next((SAMPLES / "cells/mll/PMO").iterdir()), tmp_path / "Promielocito/1.jpg")
    (tmp_path / "names.csv").write_text("label,code\nPromielocito,PMO\n")
    assert read_class_map(tmp_path / "names.csv") == {"Promielocito": "PMO"}
    found = read(
        [("", tmp_path)], tmp_path / "m.csv", code_of=read_class_map(tmp_path / "names.csv")
    )
    assert found.sources[0].cells == {"PMO": 1}
    (tmp_path / "names.csv").write_text("label,code\nPromielocito,XYZ\n")
    with pytest.raises(ManifestError, match="unknown class 'XYZ'"):
        read_class_map(tmp_path / "names.csv")


def test_nothing_stands_under_the_name_of_a_manifest_that_failed(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="no labelled cell found"):
        read([("", tmp_path / "empty")], tmp_path / "m.csv")
    assert not (tmp_path / "m.csv").exists()
    with pytest.raises(ManifestError, match=r"a manifest is written as .csv or .parquet"):
        read([("", SAMPLES / "cells.csv")], tmp_path / "m.txt")


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.zip", b"PK no zip", "it is no whole zip archive"),
        ("a.parquet", b"no parquet", "it is no whole Parquet file"),
    ],
)
def test_archives_that_are_damaged(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ManifestError, match=reason):
        read_manifest(tmp_path / name)
    with pytest.raises(ImageError, match="it cannot be read"):
        read_image(tmp_path / name / "0")


def test_pictures_that_archives_do_not_hold(layouts: Path) -> None:
    for inside in ("archive.zip/gone.jpg", "train-00000-of-00001.parquet/40"):
        with pytest.raises(ImageError, match="no such file"):
            read_image(layouts / inside)


def test_micrometres_that_make_no_sense_are_rejected(tmp_path: Path) -> None:
    shutil.copy(next((SAMPLES / "cells/mll/PMO").iterdir()), tmp_path / "a.jpg")
    (tmp_path / "m.csv").write_text("path,label,um_per_px\na.jpg,PMO,0.1\na.jpg,PMO,-1\n")
    manifest = read_manifest(tmp_path / "m.csv")
    assert [cell.um_per_px for cell in manifest.cells] == [0.1]
    assert manifest.rejects[0].reason == (
        "um_per_px must be a number of micrometres above 0, got '-1'"
    )
