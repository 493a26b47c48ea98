from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from PIL import Image

from marrowscope.errors import BundleError, ImageError
from marrowscope.io.images import read_image
from marrowscope.model.preprocess import Preprocessing

CELL = next((SAMPLES / "cells/mll/BLA").iterdir())


def test_worked_example() -> None:
    pixels = np.full((3, 224, 224), 124, dtype=np.uint8)
    normalised = Preprocessing().normalise(pixels)
    assert normalised.dtype == np.float32
    assert normalised[:, 0, 0] == pytest.approx(
        [
            (124 / 255 - m) / s
            for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
        ],
        abs=1e-6,
    )
    assert normalised[0, 0, 0] == pytest.approx(0.0056, abs=1e-4)


def test_a_cell_becomes_a_square_of_the_input_size() -> None:
    pixels = Preprocessing(size=56).resize(read_image(CELL))
    assert pixels.shape == (3, 56, 56)
    assert pixels.dtype == np.uint8


def test_the_resize_agrees_with_that_of_torch() -> None:
    """Bicubic with antialiasing, as Hugging Face processors do it; one level is rounding."""
    image = read_image(CELL)
    whole = torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())[None]
    theirs = torch.nn.functional.interpolate(
        whole, size=(224, 224), mode="bicubic", antialias=True
    )[0]
    ours = Preprocessing().resize(image)
    assert np.abs(ours.astype(int) - theirs.numpy().astype(int)).max() <= 1


def test_it_is_read_as_it_was_written() -> None:
    preprocessing = Preprocessing(size=56, resample="bilinear")
    assert Preprocessing.from_dict(asdict(preprocessing)) == preprocessing


@pytest.mark.parametrize("change", [{"resample": "magic"}, {"surplus": 1}])
def test_an_unknown_preprocessing_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(
        BundleError, match="preprocessing must have the fields field_um, mean, resample"
    ):
        Preprocessing.from_dict(asdict(Preprocessing()) | change)


def test_a_field_is_cut_around_the_middle_by_the_size_of_a_pixel() -> None:
    picture = Image.fromarray((np.arange(40 * 40 * 3) % 251).reshape(40, 40, 3).astype(np.uint8))
    pixels = np.asarray(picture)
    shown = Preprocessing(size=20, field_um=10).resize(picture, um_per_px=0.5)
    assert (shown == pixels[10:30, 10:30].transpose(2, 0, 1)).all()
    beyond = Preprocessing(size=60, field_um=30).resize(picture, um_per_px=0.5)
    assert (beyond[:, 10:50, 10:50] == pixels.transpose(2, 0, 1)).all()
    assert (beyond[:, 10:50, 9] == pixels[:, 1].T).all()


def test_cells_of_two_scanners_meet_at_one_scale() -> None:
    """A disc of 8 micrometres is as wide in both, whatever the picture's size."""
    widths = []
    for side, um_per_px in ((250, 0.1), (360, 0.125)):
        y, x = np.indices((side, side)) - (side - 1) / 2
        disc = np.where(np.hypot(x, y) * um_per_px < 4, 0, 255).astype(np.uint8)
        picture = Image.fromarray(np.stack([disc] * 3, axis=2))
        shown = Preprocessing(size=200, field_um=20).resize(picture, um_per_px)
        widths.append(int((shown[0, 100] < 128).sum()))
    assert widths[0] == pytest.approx(80, abs=1)
    assert widths[1] == pytest.approx(80, abs=1)


def test_a_field_needs_the_size_of_a_pixel() -> None:
    with pytest.raises(ImageError, match="give um_per_px in the manifest, or --um-per-px"):
        Preprocessing(field_um=25).resize(read_image(CELL))


def test_a_field_of_more_pixels_than_a_cell_may_have_is_refused() -> None:
    with pytest.raises(ImageError) as caught:
        Preprocessing(field_um=25).resize(read_image(CELL), um_per_px=1e-5)
    assert str(caught.value) == (
        "the network sees 25 micrometres around a cell, which are 2,500,000 pixels at 1e-05 "
        "micrometres a pixel; at most 4,096 are cut out: check um_per_px"
    )


def test_descriptions_from_before_fields_show_the_whole_picture() -> None:
    values = asdict(Preprocessing())
    del values["field_um"]
    assert Preprocessing.from_dict(values) == Preprocessing()
