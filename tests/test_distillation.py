"""A bundle as teacher: what it says of each cell, what the student learns, who may not teach."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split, located
from marrowscope.errors import SettingsError
from marrowscope.inference.predictor import Predictor
from marrowscope.io.images import read_image
from marrowscope.locations import within
from marrowscope.model.bundle import Bundle
from marrowscope.train.distillation import taught
from marrowscope.train.export import export
from marrowscope.train.fit import fit
from marrowscope.train.run import WEIGHTS, read_run
from marrowscope.train.settings import TrainSettings
from marrowscope.types import Cell


@pytest.fixture
def cells(manifest: Manifest, split: Split, toy_bundle: Bundle) -> list[Cell]:
    rows = [row for row in split.part("train") if row.cell.label in toy_bundle.classes]
    return [row.cell for row in located(rows, manifest.cells, "train")]


def test_the_teacher_says_what_the_bundle_says(
    toy_bundle: Bundle, manifest: Manifest, split: Split, cells: list[Cell]
) -> None:
    seen: list[tuple[int, int]] = []
    said = taught(
        str(toy_bundle.folder),
        manifest.root,
        cells,
        toy_bundle.classes,
        split.hash,
        advance=lambda done, in_all: seen.append((done, in_all)),
    )
    pixels = np.stack(
        [
            toy_bundle.preprocessing.resize(read_image(within(manifest.root, cell.path)))
            for cell in cells
        ]
    )
    given = Predictor(toy_bundle, threads=1).probabilities(pixels)
    assert said.shape == given.shape
    assert np.abs(said.numpy() - given).max() < 1e-5
    assert seen[-1] == (len(cells), len(cells))


def test_classes_that_the_student_does_not_learn_are_left_out(
    toy_bundle: Bundle, manifest: Manifest, split: Split, cells: list[Cell]
) -> None:
    few = [cell for cell in cells if cell.label in ("EOS", "NGS")][:4]
    whole = taught(str(toy_bundle.folder), manifest.root, few, toy_bundle.classes, split.hash)
    two = taught(str(toy_bundle.folder), manifest.root, few, ("EOS", "NGS"), split.hash)
    at = [toy_bundle.classes.index(code) for code in ("EOS", "NGS")]
    assert torch.allclose(two.sum(dim=1), torch.ones(4))
    assert torch.allclose(two[:, 0] / two[:, 1], whole[:, at[0]] / whole[:, at[1]], rtol=1e-4)


def test_a_teacher_that_may_know_other_cells_is_refused(
    toy_bundle: Bundle, manifest: Manifest, cells: list[Cell]
) -> None:
    with pytest.raises(SettingsError, match="learnt from another split"):
        taught(str(toy_bundle.folder), manifest.root, cells, toy_bundle.classes, "0" * 64)


def test_a_teacher_that_lacks_a_class_is_refused(
    toy_bundle: Bundle, manifest: Manifest, split: Split, cells: list[Cell]
) -> None:
    with pytest.raises(SettingsError, match="does not know PLM"):
        taught(str(toy_bundle.folder), manifest.root, cells, ("NGS", "PLM"), split.hash)


def test_a_refused_teacher_leaves_no_run(
    toy_bundle: Bundle,
    manifest: Manifest,
    split: Split,
    toy_settings: TrainSettings,
    tmp_path: Path,
) -> None:
    other = replace(split, rows=split.rows[1:])
    settings = replace(toy_settings, teacher=str(toy_bundle.folder))
    with pytest.raises(SettingsError, match="another split"):
        fit(manifest, other, settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_student_learns_from_the_teacher_by_its_share(
    toy_bundle: Bundle,
    manifest: Manifest,
    split: Split,
    toy_settings: TrainSettings,
    tmp_path: Path,
) -> None:
    one = replace(toy_settings, epochs=1)
    of_teacher = replace(one, teacher=str(toy_bundle.folder))
    weights = {}
    for name, settings in {
        "alone": one,
        "no share": replace(of_teacher, teacher_share=0.0),
        "all": replace(of_teacher, teacher_share=1.0),
    }.items():
        fit(manifest, split, settings, tmp_path / name)
        weights[name] = load_file(tmp_path / name / WEIGHTS)["classifier.weight"]
    assert torch.equal(weights["alone"], weights["no share"])
    assert not torch.allclose(weights["alone"], weights["all"], atol=1e-3)


def test_a_bundle_names_its_teacher_without_a_path(
    toy_bundle: Bundle,
    manifest: Manifest,
    split: Split,
    toy_settings: TrainSettings,
    tmp_path: Path,
) -> None:
    settings = replace(toy_settings, epochs=1, teacher=str(toy_bundle.folder))
    fit(manifest, split, settings, tmp_path / "run")
    export(read_run(tmp_path / "run"), manifest, tmp_path / "b", "b", pictures=False)
    origin = json.loads((tmp_path / "b/bundle.json").read_text(encoding="utf-8"))["origin"]
    assert origin["settings"]["teacher"] == "toy"
    assert str(tmp_path) not in json.dumps(origin)
