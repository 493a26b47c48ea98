"""Pictures of known cells: what is written, what is refused, and that each shows its own cell."""

import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image

from marrowscope.data.manifest import Manifest
from marrowscope.errors import BundleError
from marrowscope.evaluation.artifacts import write_card
from marrowscope.inference.predictor import Predictor
from marrowscope.io.images import read_image
from marrowscope.model.bundle import (
    Bundle,
    load_bundle,
    load_pictures,
    load_references,
    write_description,
)
from marrowscope.model.metadata import FILES
from marrowscope.model.reference_images import LARGEST, read_pictures, write_pictures
from marrowscope.taxonomy import CLASSES
from marrowscope.train.export import export
from marrowscope.train.fit import Trained
from marrowscope.train.run import read_run

RED, GREEN = (np.full((3, 90, 90), 10, dtype=np.uint8) for _ in range(2))
RED[0], GREEN[1] = 220, 220


def small(side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side)).save(buffer, "JPEG")
    return buffer.getvalue()


def zip_of(folder: Path, **files: bytes) -> Path:
    """A zip of files whose names have a dot for the first `_`."""
    file = folder / "known-cells.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.lstrip("n").replace("_", ".", 1), content)
    return file


def test_pictures_come_back_in_their_order_and_size(tmp_path: Path) -> None:
    told = write_pictures([(RED, "mll"), (GREEN, "pbc")], tmp_path, "whose")
    assert (told.cells, told.credit) == (2, "whose")
    red, green = read_pictures(tmp_path / "known-cells.zip", 2)
    assert (red.source, green.source) == ("mll", "pbc")
    for picture, strongest in ((red, 0), (green, 1)):
        with Image.open(io.BytesIO(picture.jpeg)) as image:
            assert (image.format, image.size) == ("JPEG", (72, 72))
            assert int(np.asarray(image).mean(axis=(0, 1)).argmax()) == strongest


def test_the_same_cells_make_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first = write_pictures([(RED, "mll")], tmp_path, "")
    assert write_pictures([(RED, "mll")], tmp_path / "again", "") == first


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"n0_jpg": small(), "sources_json": b'["a"]', "more_txt": b""}, "it holds 3 files, not 2"),
        ({"sources_json": b'["a"]'}, "no item named '0.jpg'"),
        ({"n0_jpg": small()}, "no item named 'sources.json'"),
        ({"n0_jpg": small(), "sources_json": b"[1]"}, "is not a list of 1 texts"),
        ({"n0_jpg": small(), "sources_json": b'{"a": "b"}'}, "is not a list of 1 texts"),
        ({"n0_jpg": small(), "sources_json": b"["}, "Expecting value"),
        ({"n0_jpg": b"<svg/>", "sources_json": b'["a"]'}, "cannot identify image file"),
        ({"n0_jpg": small(90), "sources_json": b'["a"]'}, "a picture of 90 x 90 pixels"),
        ({"n0_jpg": bytes(LARGEST + 1), "sources_json": b'["a"]'}, "has 16,385 bytes, 16,384 are"),
    ],
)
def test_anything_else_is_refused(files: dict[str, bytes], message: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError) as refused:
        read_pictures(zip_of(tmp_path, **files), 1)
    assert "cannot be read as pictures of 1 known cells" in str(refused.value)
    assert message in str(refused.value)


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "known-cells.zip").write_text("hello")
    with pytest.raises(BundleError, match="File is not a zip file"):
        read_pictures(tmp_path / "known-cells.zip", 1)


def test_export_keeps_each_known_cell_as_the_network_sees_it(toy_bundle: Bundle) -> None:
    known, pictures = load_references(toy_bundle), load_pictures(toy_bundle)
    assert len(pictures) == len(known.paths)
    for path, picture in zip(known.paths, pictures, strict=True):
        seen = toy_bundle.preprocessing.resize(read_image(SAMPLES / path))
        with Image.open(io.BytesIO(picture.jpeg)) as image:
            assert image.size == seen.shape[1:]
            assert (
                np.abs(
                    np.asarray(image.convert("RGB")).transpose(2, 0, 1) - seen.astype(int)
                ).mean()
                < 8
            )
    assert {picture.source for picture in pictures} == {"mll"}
    card = (toy_bundle.folder / "MODEL_CARD.md").read_text()
    assert f"`known-cells.zip` has small pictures of {len(pictures)} training cells" in card
    assert "Shown with: sample cells\n" in card


def test_export_leaves_them_out_or_shows_them_with_another_credit(
    toy_run: Trained, manifest: Manifest, tmp_path: Path
) -> None:
    run = read_run(toy_run.folder)
    bundle = export(run, manifest, tmp_path / "none", "toy", pictures=False).bundle
    assert bundle.novelty
    assert bundle.novelty.pictures is None
    assert {file.name for file in bundle.folder.iterdir()} == {*FILES, "references.npz"}
    bundle = export(
        run, manifest, tmp_path / "own", "toy", attribution=["a long one"], credit="short"
    ).bundle
    assert bundle.novelty
    assert bundle.novelty.pictures
    assert bundle.novelty.pictures.credit == "short"


def test_each_picture_of_the_shipped_bundle_shows_its_own_cell() -> None:
    """Enlarged to what the network saw, a picture is near the embedding of its own row."""
    bundle = load_bundle("default")
    pictures = load_pictures(bundle)
    assert len(pictures) == 1367
    assert {picture.source for picture in pictures} == {
        "mll", "mll_nb", "ammd", "pbc", "apl", "lmu", "chula",
    }  # fmt: skip
    sources = [path.partition("/")[0] for path in load_references(bundle).paths]
    assert [picture.source for picture in pictures] == sources
    assert (bundle.folder / "known-cells.zip").stat().st_size < 4_000_000
    rows = range(7, 1367, 170)
    large = [Image.open(io.BytesIO(pictures[row].jpeg)).resize((160, 160)) for row in rows]
    pixels = np.stack([np.asarray(each).transpose(2, 0, 1) for each in large])
    alike = load_references(bundle).similarities(Predictor(bundle, 1).embeddings(pixels))
    assert alike[range(len(rows)), rows].min() > 0.85
    assert np.median(alike) < 0.6
    assert bundle.novelty
    assert bundle.novelty.pictures
    assert bundle.novelty.pictures.credit.count("CC BY 4.0") == 1
    assert bundle.novelty.pictures.credit in (bundle.folder / "MODEL_CARD.md").read_text()


def test_changed_or_missing_pictures_are_refused(toy_bundle: Bundle) -> None:
    file = toy_bundle.folder / "known-cells.zip"
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(BundleError, match=r"is not what bundle\.json describes"):
        load_bundle(str(toy_bundle.folder))
    file.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(str(toy_bundle.folder))


def test_pictures_of_fewer_cells_than_the_references_are_refused(toy_bundle: Bundle) -> None:
    assert toy_bundle.novelty
    told = write_pictures([(RED, "mll")], toy_bundle.folder, "")
    write_description(replace(toy_bundle, novelty=replace(toy_bundle.novelty, pictures=told)))
    with pytest.raises(BundleError, match="tells of pictures of 1: fetch or export"):
        load_references(load_bundle(str(toy_bundle.folder)))


def without_pictures(bundle: Bundle) -> Bundle:
    """The bundle as it was written before there were pictures."""
    file = bundle.folder / "bundle.json"
    values = json.loads(file.read_text())
    del values["novelty"]["pictures"]
    file.write_text(json.dumps(values))
    (bundle.folder / "known-cells.zip").unlink()
    old = load_bundle(str(bundle.folder))
    write_card(old)
    return old


def test_an_older_bundle_loads_and_has_none(toy_bundle: Bundle) -> None:
    old = without_pictures(toy_bundle)
    assert "known-cells.zip" not in old.files
    assert load_pictures(old) == ()
    assert "known-cells.zip" not in (old.folder / "MODEL_CARD.md").read_text()


def test_known_cells_do_not_name_the_folders_that_lead_to_them(
    toy_run: Trained, manifest: Manifest, tmp_path: Path
) -> None:
    cells = tmp_path / "far" / "away"
    cells.parent.mkdir()
    shutil.copytree(SAMPLES / "cells", cells)
    elsewhere = tmp_path / "here" / "there"
    elsewhere.mkdir(parents=True)
    moved = [replace(c, path=c.path.replace("cells/", "../../far/away/")) for c in manifest.cells]
    outside = replace(manifest, root=elsewhere, cells=tuple(moved))
    made = export(read_run(toy_run.folder), outside, tmp_path / "b", "b", pictures=False)
    paths = load_references(made.bundle).paths
    assert {path.split("/")[0] for path in paths} <= {"mll", "pbc"} | set(CLASSES)
    assert not any("away" in path for path in paths)
