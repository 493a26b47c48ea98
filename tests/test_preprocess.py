from dataclasses import asdict

import numpy as np
import pytest
import torch
from conftest import SAMPLES

from marrowscope.errors import BundleError
from marrowscope.images import read_image
from marrowscope.preprocess import Preprocessing

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
    with pytest.raises(BundleError, match="preprocessing must have the fields mean, resample"):
        Preprocessing.from_dict(asdict(Preprocessing()) | change)
