"""Fields are opened whole or in parts, boxes compared and kept, stain measured, outlines drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import SAMPLES
from PIL import Image

from marrowscope.detection.boxes import Box, iou, merge, read_boxes, write_boxes
from marrowscope.detection.detector import boxes_of, maps_of
from marrowscope.detection.field import PlainField, open_field
from marrowscope.detection.file_pixel_size import scale_of_dpi
from marrowscope.detection.nuclei import Limits, cells_and_nuclei, find_nucleated
from marrowscope.detection.overlay import overview
from marrowscope.detection.segmentation import outlines_of, write_outlines
from marrowscope.detection.slides import LargeTiff, Slide
from marrowscope.detection.stain import background, densities, is_blank, purple, shrunk, split
from marrowscope.errors import FieldError
from marrowscope.train.detector.metrics import Agreement, agree, interval, together

FIELDS = SAMPLES / "fields"
SAMPLE = next(FIELDS.glob("51eee969*.jpg"))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.asarray(Image.open(SAMPLE).convert("RGB"))


def test_overlap_of_boxes() -> None:
    one = Box(0, 0, 2, 2)
    assert iou(one, Box(1, 0, 3, 2)) == pytest.approx(2 / 6)
    assert iou(one, one) == 1
    assert iou(one, Box(5, 5, 6, 6)) == 0
    assert iou(Box(1, 1, 1, 1), Box(1, 1, 1, 1)) == 0


def test_a_box_is_scaled_and_then_shifted() -> None:
    box = Box(10, 10, 20, 30, 0.5, "RBC").moved(5, 0, 2)
    assert box == Box(25, 20, 45, 60, 0.5, "RBC")
    assert box.centre == (35, 40)


def test_of_boxes_that_overlap_the_surest_stays() -> None:
    sure, less = Box(0, 0, 10, 10, 0.9), Box(0, 0, 10, 8, 0.8)
    part, other = Box(1, 1, 4, 4, 0.7), Box(8, 0, 20, 10, 0.6)
    assert merge([other, part, less, sure]) == (sure, other)


def test_boxes_come_back_as_they_were_written(tmp_path: Path) -> None:
    boxes = {"a.jpg": (Box(1, 2, 3.5, 4, 0.25),), "b, c.jpg": (Box(0, 0, 9, 9, 1, "RBC"),)}
    write_boxes(tmp_path / "boxes.csv", boxes)
    assert read_boxes(tmp_path / "boxes.csv") == boxes


def test_boxes_without_a_score_are_sure() -> None:
    assert {box.score for boxes in read_boxes(FIELDS / "boxes.csv").values() for box in boxes} == {
        1.0
    }


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.jpg,WBC,1,2,x,4", "x1 is 'x'; a number is needed"),
        ("a.jpg,WBC,1,2,nan,4", "x1 is nan; a finite number is needed"),
        ("a.jpg,WBC,5,2,3,4", "x0 and y0 must be below x1 and y1; they are 5, 2, 3, 4"),
        (",WBC,1,2,3,4", "file and label must not be empty"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: str, said: str) -> None:
    file = tmp_path / "boxes.csv"
    file.write_text(f"file,label,x0,y0,x1,y1\na.jpg,WBC,1,2,3,4\n{row}\n")
    with pytest.raises(FieldError) as raised:
        read_boxes(file)
    assert str(raised.value) == f"{file}, line 3: {said}"


def test_found_and_drawn_boxes_are_matched_once() -> None:
    drawn = [Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(50, 50, 60, 60, label="RBC")]
    found = [Box(0, 0, 10, 9, 0.9), Box(0, 0, 9, 10, 0.8), Box(50, 50, 60, 58, 0.7)]
    counted = agree(found, drawn)
    assert counted == Agreement(hits=1, found=3, drawn=2, taken=1, others=1)
    assert counted.precision == pytest.approx(1 / 3)
    assert counted.recall == 0.5
    assert counted.f1 == pytest.approx(2 / 5)
    assert together([counted, counted]).f1 == counted.f1
    assert interval([counted, counted]) == (counted.f1, counted.f1)


def test_an_empty_field_agrees_with_finding_nothing() -> None:
    nothing = agree([], [])
    assert (nothing.precision, nothing.recall, nothing.f1) == (1, 1, 1)


def test_the_resolution_of_a_screen_is_no_scale() -> None:
    assert scale_of_dpi(254_000) == pytest.approx(0.1)
    assert scale_of_dpi(96) is None
    assert scale_of_dpi(0) is None


def test_a_field_is_read_in_parts(pixels: np.ndarray) -> None:
    field = open_field(SAMPLE)
    assert (field.width, field.height, field.um_per_px) == (640, 480, None)
    assert np.array_equal(field.read(100, 50, 180, 90), pixels[50:90, 100:180])


@pytest.mark.parametrize("packing", ["none", "deflate", "jpeg"])
@pytest.mark.parametrize("tile", [(64, 48), None])
def test_a_large_tiff_is_the_same_in_parts(
    tmp_path: Path, pixels: np.ndarray, packing: str, tile: tuple[int, int] | None
) -> None:
    file, dots = tmp_path / "field.tif", 25_400 / 0.068
    tifffile.imwrite(
        file,
        pixels,
        tile=tile,
        photometric="rgb",
        rowsperstrip=None if tile else 32,
        compression=None if packing == "none" else packing,
        resolution=(dots, dots),
        resolutionunit="INCH",
    )
    large, whole = LargeTiff(file), open_field(file)
    assert (large.width, large.height) == (640, 480)
    assert large.um_per_px == pytest.approx(0.068, rel=1e-4)
    assert whole.um_per_px == pytest.approx(0.068, rel=1e-4)
    for part in ((0, 0, 640, 480), (60, 40, 70, 50), (600, 470, 640, 480)):
        ours, theirs = large.read(*part).astype(int), whole.read(*part).astype(int)
        assert np.abs(ours - theirs).max() <= (2 if packing == "jpeg" else 0)


def test_openslide_gives_the_same_pixels(tmp_path: Path, pixels: np.ndarray) -> None:
    file = tmp_path / "field.tif"
    tifffile.imwrite(file, pixels, tile=(256, 256), photometric="rgb")
    slide = Slide(file)
    assert (slide.width, slide.height, slide.um_per_px) == (640, 480, None)
    assert np.array_equal(slide.read(100, 50, 180, 90), pixels[50:90, 100:180])


def test_a_damaged_tile_is_an_error_with_its_place(tmp_path: Path, pixels: np.ndarray) -> None:
    file = tmp_path / "field.tif"
    tifffile.imwrite(file, pixels, tile=(256, 256), photometric="rgb", compression="deflate")
    with tifffile.TiffFile(file) as tiff:
        place = tiff.pages[0].dataoffsets[1]
    content = bytearray(file.read_bytes())
    content[place : place + 40] = bytes(40)
    file.write_bytes(content)
    field = LargeTiff(file)
    assert np.array_equal(field.read(0, 0, 100, 100), pixels[:100, :100])
    with pytest.raises(FieldError, match="piece 1 is damaged"):
        field.read(0, 0, 300, 100)


def test_a_tiff_of_16_bits_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "deep.tif"
    tifffile.imwrite(file, np.zeros((128, 128, 3), np.uint16), photometric="rgb")
    with pytest.raises(FieldError, match="its pixels are uint16 YXS"):
        LargeTiff(file)


def test_what_is_no_field_is_refused_with_the_reason(tmp_path: Path) -> None:
    words, tiny, grey = (tmp_path / name for name in ("a.jpg", "b.png", "c.png"))
    words.write_text("no picture")
    Image.new("RGB", (63, 100)).save(tiny)
    Image.new("L", (100, 100)).save(grey)
    svs = tmp_path / "d.svs"
    svs.write_text("no slide")
    reasons = {
        tmp_path / "none.jpg": "no such file",
        words: "not a picture that can be read",
        tiny: "too small: 63 x 100 pixels; a field needs at least 64 x 64",
        grey: "it is grey-scale",
        svs: "not a slide that OpenSlide can read",
    }
    for file, reason in reasons.items():
        with pytest.raises(FieldError) as raised:
            open_field(file)
        assert str(raised.value).startswith(f"{file}: {reason}")


def test_the_background_is_the_brightest_peak() -> None:
    pixels = np.full((100, 100, 3), (220, 200, 190), np.uint8)
    pixels[:60] = (150, 80, 160)
    assert background(pixels).tolist() == [220, 200, 190]


def test_density_is_the_logarithm_of_the_light_taken_away() -> None:
    seen = densities(np.array([[[49, 99, 199]]], np.uint8), np.array([199.0, 199.0, 199.0]))
    assert seen[0, 0] == pytest.approx([np.log(4), np.log(2), 0], abs=1e-6)
    assert purple(seen)[0, 0] == pytest.approx(np.log(2), abs=1e-6)


def test_values_are_split_between_their_two_hills() -> None:
    values = np.concatenate([np.full(90, 0.2), np.full(10, 1.5)])
    assert 0.2 < split(values, 0, 2) < 1.5


def test_an_empty_part_is_blank() -> None:
    nothing = np.zeros((50, 50, 3), np.float32)
    assert is_blank(nothing)
    nothing[:5, :5] = 1
    assert not is_blank(nothing)


def test_nuclei_are_found_without_a_model(pixels: np.ndarray) -> None:
    density = densities(shrunk(pixels, 0.068 / 0.25), background(pixels))
    cells, nuclei = cells_and_nuclei(density, Limits())
    assert cells.max() == 2
    assert set(np.unique(cells[nuclei > 0])) >= {1, 2}
    drawn = read_boxes(FIELDS / "boxes.csv")[SAMPLE.name]
    found = [box.moved(0, 0, 0.25 / 0.068) for box in find_nucleated(density, Limits())]
    assert agree(found, drawn).taken == 0


def test_an_outline_lies_in_its_box_and_comes_as_geojson(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    density = densities(shrunk(pixels, 0.068 / 0.25), background(pixels))
    boxes = [*find_nucleated(density, Limits()), Box(2, 60, 22, 90)]
    outlines = outlines_of(density, boxes)
    for box, outline in zip(boxes, outlines, strict=True):
        xs, ys = zip(*outline, strict=True)
        assert min(xs) >= box.x0 - 2
        assert max(xs) <= box.x1 + 2
        assert min(ys) >= box.y0 - 2
        assert max(ys) <= box.y1 + 2
    assert outlines[-1][0] == (22, 75), "no body in the box: the ellipse"
    write_outlines(tmp_path / "a.geojson", boxes, outlines)
    kept = json.loads((tmp_path / "a.geojson").read_text())
    ring = kept["features"][0]["geometry"]["coordinates"][0]
    assert kept["type"] == "FeatureCollection"
    assert ring[0] == ring[-1]
    assert kept["features"][0]["properties"]["classification"] == {"name": "WBC"}


def test_maps_become_boxes_as_in_the_worked_example() -> None:
    maps = np.zeros((7, 8, 8), np.float32)
    maps[0, 2, 3], maps[1, 6, 6] = 0.9, 0.8
    maps[3:] = 6
    assert [round(side) for side in _sides(boxes_of(maps, "WBC", 0.5, (32, 32))[0])] == [
        8,
        4,
        20,
        16,
    ]
    red = boxes_of(maps, "RBC", 0.5, (30, 28))
    assert _sides(red[0]) == (20, 20, 28, 30), "cut at the edge"
    assert boxes_of(maps, "PLT", 0.5, (32, 32)) == ()


def _sides(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1


def test_a_picture_of_any_size_is_filled_up_for_the_network() -> None:
    shapes = []

    def network(seen: np.ndarray) -> np.ndarray:
        shapes.append(seen.shape)
        return np.zeros((7, seen.shape[1] // 4, seen.shape[2] // 4), np.float32)

    maps = maps_of(network, np.ones((50, 33, 3), np.float32))
    assert shapes == [(3, 64, 48)]
    assert maps.shape == (7, 13, 9)
    assert maps[0, 0, 0] == 0.5, "a logit of 0 is an even chance"


def test_a_field_in_memory_knows_its_size(pixels: np.ndarray) -> None:
    field = PlainField(pixels, 0.1)
    assert (field.width, field.height, field.um_per_px) == (640, 480, 0.1)


@pytest.mark.parametrize(("width", "height"), [(14_000, 6), (6, 14_000), (9, 9)])
def test_a_field_is_shown_however_narrow_it_is(width: int, height: int) -> None:
    """Of 14,000 pixels in 100, the field is made 140 times smaller."""
    field = PlainField(np.full((height, width, 3), 7, dtype=np.uint8))
    small = overview(field, 100)
    assert small.size == ((9, 9) if width == 9 else (100, 1) if width > height else (1, 100))
    assert np.all(np.asarray(small) == 7)
