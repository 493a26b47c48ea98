"""The finder learns, is exported as it is, and finds the cells of real and composed fields."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from PIL import Image
from scipy import ndimage
from test_classify import run

from marrowscope.detection.boxes import Box, read_boxes
from marrowscope.detection.detect import find_cells
from marrowscope.detection.detector import DEFAULT, load_finder, load_network
from marrowscope.detection.field import PlainField, open_field
from marrowscope.detection.pixel_size import red_cell_scale, samples
from marrowscope.detection.quality import FLAGS
from marrowscope.detection.stain import background, densities, shrunk
from marrowscope.errors import ExportError, FieldError, TrainingError
from marrowscope.train.detector.copy_paste import Cutout, cut_out
from marrowscope.train.detector.data import cut_cells, looks_scales, read_scene
from marrowscope.train.detector.export import export_finder
from marrowscope.train.detector.fit import FinderSettings, fit_finder
from marrowscope.train.detector.metrics import agree, together
from marrowscope.train.detector.network import KINDS, FinderNet, loss, targets
from marrowscope.train.detector.run import read_detector_data
from marrowscope.train.detector.scenes import SIDE, Scene, draw_scene, lay_cells

FIELDS = SAMPLES / "fields"
DRAWN = read_boxes(FIELDS / "boxes.csv")
LOOKS, SCALES = looks_scales(FIELDS, DRAWN)


@pytest.fixture(scope="module")
def cells() -> list[Cutout]:
    found, left_out = cut_cells(sorted((SAMPLES / "cells/mll").glob("*/*.jpg")), 0.086)
    assert len(found) >= 20
    assert left_out > 0, "smudges and neighbours are left out, and counted"
    return found


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [read_scene(FIELDS / name, DRAWN[name], SCALES[LOOKS[name]]) for name in DRAWN]


def pixels_of(name: str) -> np.ndarray:
    return np.asarray(Image.open(FIELDS / name).convert("RGB"))


def test_the_shipped_finder_holds_its_files_and_no_more() -> None:
    assert {file.name for file in DEFAULT.iterdir()} == {"model.onnx", "finder.json"}
    known = json.loads((DEFAULT / "finder.json").read_text())
    assert {"model_sha256", "least_score", "um_per_px", "licence", "trained_on"} <= set(known)


def test_a_changed_finder_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(DEFAULT, tmp_path / "finder")
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"0")
    with pytest.raises(FieldError, match="is not the model that"):
        load_finder(folder)
    with pytest.raises(FieldError, match="no finder that can be loaded"):
        load_finder(tmp_path)
    (tmp_path / "none.onnx").write_text("no model")
    with pytest.raises(FieldError, match="cannot be loaded"):
        load_network(tmp_path / "none.onnx")


def test_the_cells_of_every_look_are_found() -> None:
    fields = [agree(find_cells(open_field(FIELDS / name)).boxes, DRAWN[name]) for name in DRAWN]
    counted = together(fields)
    assert counted.taken == 0
    assert counted.recall > 0.8
    assert counted.precision > 0.9


def test_red_cells_tell_the_scale() -> None:
    network = load_finder().network
    for name, look in LOOKS.items():
        told = red_cell_scale(list(samples(open_field(FIELDS / name))), network)
        assert told == pytest.approx(SCALES[look], rel=0.25)


def test_a_given_scale_is_taken_as_it_is() -> None:
    name = next(iter(DRAWN))
    found = find_cells(open_field(FIELDS / name), SCALES[LOOKS[name]])
    assert (found.scale, found.um_per_px) == ("given", SCALES[LOOKS[name]])
    assert len(found.outlines) == len(found.boxes)


def test_a_field_of_several_tiles_has_each_cell_once() -> None:
    name = next(name for name in DRAWN if name.startswith("51eee969"))
    one = find_cells(PlainField(pixels_of(name)), 0.068)
    many = find_cells(PlainField(np.tile(pixels_of(name), (10, 10, 1))), 0.068)
    inside = [box for box in one.boxes if min(box.x0, box.y0) > 5 and box.x1 < 635 and box.y1 < 475]
    for box in inside:
        for row in range(10):
            for column in range(10):
                place = box.moved(640 * column, 480 * row)
                same = [box for box in many.boxes if agree([box], [place]).hits]
                assert len(same) == 1


def _dense(pixels: np.ndarray) -> np.ndarray:
    """Stain five times as dense, on the same background."""
    empty = background(pixels)
    return np.asarray(empty * np.exp(-5 * densities(pixels, empty)))


SPOILT: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "blurred": ("blurred", lambda pixels: ndimage.gaussian_filter(pixels, (16, 16, 0))),
    "grey": ("not a smear", lambda pixels: np.repeat(pixels.mean(2, keepdims=True), 3, 2)),
    "noise": (
        "not a smear",
        lambda pixels: np.random.default_rng(0).integers(0, 256, pixels.shape),
    ),
    "blank": (
        "empty",
        lambda pixels: background(pixels) + np.random.default_rng(0).normal(0, 2, pixels.shape),
    ),
    "dense": (
        "over-stained",
        _dense,
    ),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_spoilt_fields_are_flagged(kind: str) -> None:
    flag, spoil = SPOILT[kind]
    name = next(name for name in DRAWN if name.startswith("f25483d3"))
    assert find_cells(PlainField(pixels_of(name))).flags == ()
    spoilt = spoil(pixels_of(name)).clip(0, 255).astype(np.uint8)
    assert flag in find_cells(PlainField(spoilt)).flags
    assert flag in FLAGS


def test_dense_marrow_with_known_boxes_is_read(cells: list[Cutout], scenes: list[Scene]) -> None:
    base = scenes[4]
    tiled = Scene(
        np.tile(base.densities, (2, 2, 1)), np.empty((0, 4), np.float32), np.empty(0, int)
    )
    drawn = lay_cells(tiled, cells, np.random.default_rng(0), 30)
    pixels = (np.array([230, 224, 218]) * np.exp(-drawn.densities)).clip(0, 255).astype(np.uint8)
    boxes = [Box(x0, y0, x1, y1) for x0, y0, x1, y1 in drawn.boxes.tolist()]
    found = find_cells(PlainField(pixels, 0.25))
    assert len(boxes) >= 20
    assert agree(found.boxes, boxes).recall >= 0.9
    assert found.flags == ()


def test_a_cell_is_cut_out_without_its_surroundings() -> None:
    file = min((SAMPLES / "cells/mll/LYT").glob("*.jpg"))
    cell = cut_out(shrunk(np.asarray(Image.open(file).convert("RGB")), 0.086 / 0.25))
    assert cell is not None
    assert cell.mask.shape == cell.densities.shape[:2]
    assert 0.4 < cell.mask.mean() < 0.9
    assert not cell.mask[0].any()
    assert cut_out(np.full((86, 86, 3), 200, np.uint8)) is None


def test_a_laid_cell_has_the_box_that_it_is_given(cells: list[Cutout]) -> None:
    blank = Scene(
        np.zeros((160, 160, 3), np.float32), np.empty((0, 4), np.float32), np.empty(0, int)
    )
    drawn = lay_cells(blank, cells, np.random.default_rng(3), 1)
    rows, columns = np.nonzero(drawn.densities[..., 1] > 0.15)
    x0, y0, x1, y1 = drawn.boxes[0]
    assert drawn.kinds.tolist() == [0]
    assert (abs(columns.min() - x0), abs(columns.max() + 1 - x1)) <= (3, 3)
    assert (abs(rows.min() - y0), abs(rows.max() + 1 - y1)) <= (3, 3)


def test_scenes_vary_and_keep_their_boxes_inside(cells: list[Cutout], scenes: list[Scene]) -> None:
    random = np.random.default_rng(0)
    drawn = [draw_scene(scenes, cells, random) for _ in range(8)]
    for scene in drawn:
        assert scene.densities.shape == (SIDE, SIDE, 3)
        assert (scene.boxes >= 0).all()
        assert (scene.boxes <= SIDE).all()
        assert (scene.boxes[:, :2] < scene.boxes[:, 2:]).all()
    assert not np.array_equal(drawn[0].densities, drawn[1].densities)


def test_the_maps_that_a_scene_asks_for() -> None:
    middles, distances, weights = targets(np.array([[8, 4, 20, 16]], np.float32), [0], 8)
    assert np.argwhere(middles[0] == 1).tolist() == [[2, 3]]
    assert middles[1:].max() == 0
    assert distances[:, 2, 3].tolist() == [6, 6, 6, 6]
    assert weights[2, 3] == 1
    assert weights[7, 7] == 0


def test_the_right_maps_cost_next_to_nothing() -> None:
    drawn = targets(np.array([[8, 4, 20, 16], [0, 0, 8, 8]], np.float32), [0, 1], 8)
    middles, distances, weights = (torch.from_numpy(maps)[None] for maps in drawn)
    right = torch.cat([torch.where(middles == 1, 9.0, -9.0), distances], 1)
    wrong = torch.cat([-right[:, : len(KINDS)], distances * 3], 1)
    assert float(loss(right, middles, distances, weights)) < 0.01
    assert float(loss(wrong, middles, distances, weights)) > 5


def test_a_finder_learns_and_is_exported_as_it_is(
    cells: list[Cutout], scenes: list[Scene], tmp_path: Path
) -> None:
    heard: list[float] = []
    network = fit_finder(
        scenes, cells, FinderSettings(steps=12, batch=4), lambda _, wrong: heard.append(wrong)
    )
    assert np.mean(heard[-3:]) < 0.7 * np.mean(heard[:3])
    export_finder(network, tmp_path, {"least_score": 0.5})
    finder = load_finder(tmp_path, threads=1)
    seen = np.random.default_rng(0).uniform(0, 1, (3, 80, 48)).astype(np.float32)
    with torch.no_grad():
        ours = network(torch.from_numpy(seen)[None])[0].numpy()
    assert np.abs(finder.network(seen) - ours).max() < 1e-3


def test_an_export_that_differs_is_refused(tmp_path: Path) -> None:
    class Restless(FinderNet):
        """Gives other maps at each call."""

        calls = 0.0

        def forward(self, densities: torch.Tensor) -> torch.Tensor:
            self.calls += 1.0
            return super().forward(densities) + self.calls

    with pytest.raises(ExportError, match="ONNX Runtime and torch differ by"):
        export_finder(Restless(), tmp_path, {})


def test_the_command_writes_boxes_outlines_and_pictures(tmp_path: Path) -> None:
    fields = tmp_path / "fields"
    fields.mkdir()
    for name in list(DRAWN)[:2]:
        shutil.copy(FIELDS / name, fields)
    (fields / "words.txt").write_text("no field")
    out = tmp_path / "found"
    done = run("find-cells", str(fields), "--output", str(out), "--json", "--threads", "1")
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert (told["fields"], told["rejected"]) == (2, 1)
    boxes = read_boxes(out / "boxes.csv")
    assert sum(map(len, boxes.values())) == told["cells"]
    assert set(boxes) == {str(fields / name) for name in list(DRAWN)[:2]}
    assert len(list((out / "outlines").glob("*.geojson"))) == 2
    for file in (out / "pictures").glob("*.jpg"):
        with Image.open(file) as picture:
            assert max(picture.size) <= 2048
    again = run("find-cells", str(fields), "--output", str(out))
    assert again.returncode == 1
    assert "already holds something" in again.stderr
    none = run("find-cells", str(fields / "words.txt"), "--output", str(tmp_path / "none"))
    assert none.returncode == 1
    assert "1 inputs rejected" in none.stdout


def test_a_detector_is_trained_by_the_command_and_used(tmp_path: Path) -> None:
    out = tmp_path / "detector"
    cells = str(SAMPLES / "cells/mll/BLA")
    command = ["train-detector", str(FIELDS), "--output", str(out), "--steps", "3"]
    command += ["--batch-size", "2", "--threads", "1", "--json"]
    with_cells = [*command, "--cells", cells, "--cells-um-per-px", "0.086"]
    outcome = json.loads(run(*with_cells).stdout)
    assert outcome["trained_on"]["fields"] == len(DRAWN)
    assert outcome["trained_on"]["boxes"]["WBC"] == sum(
        box.label == "WBC" for boxes in DRAWN.values() for box in boxes
    )
    assert outcome["trained_on"]["cells"] > 0
    assert {file.name for file in out.iterdir()} == {"model.onnx", "finder.json"}
    about = json.loads((out / "finder.json").read_text())
    assert (about["steps"], about["seed"], about["least_score"]) == (3, 0, 0.5)
    detector = load_finder(out, 1)
    assert detector.network(np.zeros((3, 32, 48), np.float32)).shape == (7, 8, 12)
    field = str(FIELDS / next(iter(DRAWN)))
    used = run("find-cells", field, "--detector", str(out), "--output", str(tmp_path / "found"))
    assert used.returncode == 0, used.stderr
    again = run(*command)
    assert again.returncode == 1
    assert "already holds something" in again.stderr


def test_a_detector_is_not_trained_on_what_cannot_teach_it(tmp_path: Path) -> None:
    fields = shutil.copytree(FIELDS, tmp_path / "fields")
    with pytest.raises(FieldError, match=r"no field in .* has the size 1x1; their sizes are"):
        read_detector_data(fields, without="1x1")
    look, scale = next(iter(SCALES.items()))
    rest = read_detector_data(fields, without=look)
    assert len(rest.scenes) == sum(name != look for name in LOOKS.values())
    assert len(read_detector_data(fields, um_per_px=scale).scenes) == len(DRAWN)
    table = fields / "boxes.csv"
    table.write_text(table.read_text().replace(",WBC,", ",PLT,"))
    with pytest.raises(TrainingError, match="no box labelled WBC on the fields to train on"):
        read_detector_data(fields)
    alone = run("train-detector", str(FIELDS), "--output", str(tmp_path / "x"), "--cells", "a")
    assert "--cells and --cells-um-per-px go together" in alone.stderr
