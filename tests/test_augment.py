"""Training batches vary, validation batches do not, and a view is still the same cell."""

import torch
from conftest import SAMPLES

from marrowscope.data.manifest import Manifest
from marrowscope.images import read_image
from marrowscope.preprocess import Preprocessing
from marrowscope.train.augment import (
    augment,
    random_geometry,
    random_stain,
    restain,
    warp,
)
from marrowscope.train.dataset import AugmentingCollator, CellDataset, Collator

CELL = next((SAMPLES / "cells/mll/EOS").iterdir())


def a_cell() -> torch.Tensor:
    return torch.from_numpy(Preprocessing().resize(read_image(CELL)).copy())


def test_training_batches_vary_and_validation_batches_do_not(manifest: Manifest) -> None:
    cells = manifest.cells[:4]
    data = CellDataset(
        manifest.root, cells, sorted({cell.label for cell in cells}), Preprocessing()
    )
    items = [data[index] for index in range(4)]
    augmenting = AugmentingCollator(Preprocessing(), zoom=1.5, stain_jitter=0.2)
    plain = Collator(Preprocessing())
    first, second = augmenting(items), augmenting(items)
    for one, other in zip(first["pixel_values"], second["pixel_values"], strict=True):
        assert not torch.equal(one, other)
    assert torch.equal(first["labels"], second["labels"])
    assert torch.equal(plain(items)["pixel_values"], plain(items)["pixel_values"])
    assert plain(items)["pixel_values"].shape == (4, 3, 224, 224)


def test_pictures_of_one_batch_get_different_views() -> None:
    views = augment(torch.stack([a_cell()] * 8), zoom=1.5, stain_jitter=0.2)
    assert len({view.numpy().tobytes() for view in views}) == 8
    assert views.dtype == torch.uint8


def test_an_identity_map_leaves_the_picture_alone() -> None:
    images = a_cell()[None].float() / 255
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    assert torch.allclose(warp(images, identity), images, atol=1e-5)
    assert torch.allclose(restain(images, torch.eye(3)[None]), images.clamp(min=1 / 255), atol=1e-5)


def test_scales_and_mirrors_are_as_asked() -> None:
    maps = random_geometry(4000, zoom=1.5)[:, :, :2]
    areas = torch.linalg.det(maps)
    scales = areas.abs().sqrt()
    assert scales.min() >= 1 / 1.5 - 1e-5
    assert scales.max() <= 1.5 + 1e-5
    assert abs(float(scales.log().mean())) < 0.02
    assert abs(float((areas > 0).float().mean()) - 0.5) < 0.05


def test_stain_jitter_changes_colour_but_white_stays_white() -> None:
    white = torch.ones(16, 3, 8, 8)
    maps = random_stain(16, 0.2)
    assert torch.allclose(restain(white, maps), white, atol=1e-5)
    changed = restain(a_cell()[None].float().repeat(16, 1, 1, 1) / 255, maps)
    means = changed.mean(dim=(2, 3))
    assert float(means.std(dim=0).min()) > 0.005
    assert torch.allclose(random_stain(4, 0.0), torch.eye(3).expand(4, 3, 3), atol=1e-5)
