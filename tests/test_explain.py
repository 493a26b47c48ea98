"""The command `explain`: what the page shows is what the network gives."""

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image
from test_classify import run

from marrowscope.errors import OutputError, SettingsError
from marrowscope.inference.explain import MOST_PICTURES, explain
from marrowscope.inference.heatmap import evidence
from marrowscope.inference.predictor import Predictor
from marrowscope.io.discovery import find_files
from marrowscope.model.bundle import Bundle, load_bundle, load_pictures, write_description
from marrowscope.types import Picture

CELLS = SAMPLES / "cells/mll/NGS"


def layers(page: str) -> list[Image.Image]:
    found = re.findall(r'class="heat"[^>]*base64,([^"]+)"', page)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]


def test_the_page_has_the_likeliest_classes_and_two_heatmaps(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    files = sorted(CELLS.iterdir())[:3]
    done = run(
        "explain", *files, tmp_path / "gone.jpg", "--bundle", toy_bundle.folder,
        "--output", tmp_path / "seen", "--json",
    )  # fmt: skip
    assert done.returncode == 3
    assert "no such file or folder" in done.stderr
    outcome = json.loads(done.stdout)
    assert outcome == json.loads((tmp_path / "seen/explain.json").read_text())
    prepare = toy_bundle.preprocessing
    pixels = np.stack([prepare.resize(Image.open(file).convert("RGB")) for file in files])
    probabilities = Predictor(toy_bundle, 1).probabilities(pixels)
    for row, scores in zip(outcome["pictures"], probabilities, strict=True):
        best = np.argsort(-scores)[:3]
        codes = [toy_bundle.classes[index] for index in best]
        assert [each["code"] for each in row["classes"]] == codes
        values = [each["probability"] for each in row["classes"]]
        assert values == pytest.approx(scores[best].tolist(), abs=1e-6)
    known = Predictor(toy_bundle, 1).similar(pixels)
    for row, alike in zip(outcome["pictures"], known, strict=True):
        assert [each["path"] for each in row["similar"]] == [each.path for each in alike]
        assert [each["label"] for each in row["similar"]] == [each.label for each in alike]
    page = (tmp_path / "seen/explain.html").read_text()
    assert len(layers(page)) == 2 * len(files)
    assert page.count("data:image/jpeg;base64,") == (3 + 5) * len(files)
    assert page.count("<h3>Known cells most alike</h3>") == len(files)
    assert "Their pictures: sample cells" in page
    assert "Rejected files: 1" in page
    assert "Research use only" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_the_known_cells_are_shown_in_their_order(toy_bundle: Bundle, tmp_path: Path) -> None:
    file = min(CELLS.iterdir())
    explain([Picture(file)], toy_bundle, tmp_path / "seen", threads=1)
    page = (tmp_path / "seen/explain.html").read_text()
    shown = page.split('<ul class="alike">')[1].split("</ul>")[0]
    pixels = toy_bundle.preprocessing.resize(Image.open(file).convert("RGB"))[None]
    known = load_pictures(toy_bundle)
    jpegs = re.findall(r'base64,([^"]+)" alt="Known [a-z ]+ of mll"', shown)
    alike = Predictor(toy_bundle, 1).similar(pixels)[0]
    assert [base64.b64decode(jpeg) for jpeg in jpegs] == [known[each.row].jpeg for each in alike]
    assert re.findall(r"<strong>(\w+)</strong> (\d+)%", shown) == [
        (each.label, f"{100 * each.similarity:.0f}") for each in alike
    ]


def test_known_cells_without_pictures_are_shown_by_class(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    assert toy_bundle.novelty
    old = replace(toy_bundle, novelty=replace(toy_bundle.novelty, pictures=None))
    write_description(old)
    old = load_bundle(str(old.folder))
    explain([Picture(min(CELLS.iterdir()))], old, tmp_path / "seen", threads=1)
    page = (tmp_path / "seen/explain.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 3
    assert len(re.findall(r'class="whole" title="[^"]+"><strong>', page)) == 5


def test_both_heatmaps_of_a_picture_have_one_scale(toy_bundle: Bundle, tmp_path: Path) -> None:
    """The strongest place of the two is drawn in full; each layer is densest where it should be."""
    file = min(CELLS.iterdir())
    explain([Picture(file)], toy_bundle, tmp_path / "seen", threads=1)
    pixels = toy_bundle.preprocessing.resize(Image.open(file).convert("RGB"))[None]
    predictor = Predictor(toy_bundle, 1)
    best = np.argsort(-predictor.probabilities(pixels)[0])[:2]
    strengths = evidence(predictor.explain(pixels).activation[0])[best]
    drawn = layers((tmp_path / "seen/explain.html").read_text())
    full = strengths.max()
    for strength, layer in zip(strengths, drawn, strict=True):
        assert layer.size == (56, 56)
        levels = np.asarray(layer.resize((4, 4), Image.Resampling.NEAREST))
        assert levels / 255 == pytest.approx(np.clip(strength / full, 0, 1), abs=0.15)


def test_a_pixel_size_is_asked_for_where_the_bundle_needs_it(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    file = toy_bundle.folder / "bundle.json"
    file.write_text(file.read_text().replace('"field_um": 0.0', '"field_um": 20.0'))
    command = ("explain", min(CELLS.iterdir()), "--bundle", toy_bundle.folder)
    without = run(*command, "--output", tmp_path / "a")
    assert without.returncode == 1
    assert "--um-per-px" in without.stderr
    assert run(*command, "--output", tmp_path / "b", "--um-per-px", "0.1").returncode == 0


def test_a_bundle_without_the_output_says_so_and_leaves_nothing(
    bare_bundle: Bundle, tmp_path: Path
) -> None:
    done = run("explain", CELLS, "--bundle", bare_bundle.folder, "--output", tmp_path / "seen")
    assert done.returncode == 1
    assert "export the bundle again for embedding and activation" in done.stderr
    assert not (tmp_path / "seen").exists()


def test_more_pictures_than_a_page_holds_are_refused(toy_bundle: Bundle, tmp_path: Path) -> None:
    file = min(CELLS.iterdir())
    with pytest.raises(SettingsError, match=r"^more than 500 pictures for one page; give fewer"):
        explain([Picture(file)] * (MOST_PICTURES + 1), toy_bundle, tmp_path / "seen")


def test_a_folder_with_results_is_not_overwritten(toy_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OutputError, match="already holds something"):
        explain(find_files([str(CELLS)]), toy_bundle, tmp_path)
