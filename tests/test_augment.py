"""A view depends on seed, epoch and cell alone, and it is still the same cell."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SAMPLES
from PIL import Image

from marrowscope.data.manifest import Manifest
from marrowscope.io.images import read_image
from marrowscope.model.preprocess import Preprocessing
from marrowscope.train.augment import (
    Views,
    augment,
    blur,
    coarsen,
    draw,
    jpeg_noise,
    restain,
    warp,
)
from marrowscope.train.class_balance import (
    chances_of_draw,
    class_shares,
    focal,
    loss_of,
    sampling_weights,
)
from marrowscope.train.dataset import CellDataset, stack
from marrowscope.train.mixup import mix
from marrowscope.train.settings import TrainSettings
from marrowscope.train.style_transfer import BANDS, looks_of, palettes, repaint, sharpen, spectra

CELL = next((SAMPLES / "cells/mll/EOS").iterdir())
SETTINGS = TrainSettings(jpeg=1.0)
STILL = TrainSettings(
    rotation=0, flips=False, zoom=1, shift=0, stain_jitter=0, colour_jitter=0, blur=0
)


def a_cell() -> torch.Tensor:
    return torch.from_numpy(Preprocessing().resize(read_image(CELL)).copy())


def test_training_batches_vary_from_epoch_to_epoch_and_cell_to_cell(manifest: Manifest) -> None:
    cells = manifest.cells[:4]
    classes = sorted({cell.label for cell in cells})
    data = CellDataset(manifest.root, cells, classes, Preprocessing())
    batch, again = (stack([data[index] for index in range(4)]) for _ in range(2))
    assert torch.equal(batch["pixels"], again["pixels"])
    views = [augment(batch["pixels"], draw(SETTINGS, epoch, [0, 1, 2, 3])) for epoch in (0, 1)]
    for one, other, plain in zip(*views, batch["pixels"], strict=True):
        assert not torch.equal(one, other)
        assert not torch.equal(one, plain)
    same = augment(torch.stack([a_cell()] * 8), draw(SETTINGS, 0, range(8)))
    assert len({view.numpy().tobytes() for view in same}) == 8
    assert same.dtype == torch.uint8


def test_a_view_does_not_depend_on_the_batch_it_comes_in() -> None:
    pixels = torch.stack([a_cell()] * 6)
    together = augment(pixels, draw(SETTINGS, 3, range(6)))
    apart = [augment(pixels[n : n + 1], draw(SETTINGS, 3, [n])) for n in range(6)]
    difference = together.int() - torch.cat(apart).int()
    assert int(difference.abs().max()) <= 1


def test_settings_of_nothing_leave_the_picture_alone() -> None:
    pixels = a_cell()[None]
    left = augment(pixels, draw(STILL, 0, [7]))
    assert int((left.int() - pixels.int()).abs().max()) <= 1


def test_an_identity_map_leaves_the_picture_alone() -> None:
    images = a_cell()[None].float() / 255
    identity = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]])
    assert torch.allclose(warp(images, identity), images, atol=1e-5)
    same = restain(images, torch.eye(3)[None], torch.ones(1, 3))
    assert torch.allclose(same, images.clamp(min=1 / 255), atol=1e-5)


def test_scales_mirrors_angles_and_shifts_are_as_asked() -> None:
    views = draw(TrainSettings(rotation=10, zoom=1.5, shift=0.05), 0, range(4000))
    maps = views.geometry[:, :, :2]
    areas = torch.linalg.det(maps)
    scales = areas.abs().sqrt()
    assert scales.min() >= 1 / 1.5 - 1e-5
    assert scales.max() <= 1.5 + 1e-5
    assert abs(float(scales.log().mean())) < 0.02
    assert abs(float((areas > 0).float().mean()) - 0.5) < 0.05
    angles = torch.rad2deg(torch.asin(maps[:, 1, 0].abs() / scales))
    assert 9 < float(angles.max()) <= 10.01
    assert 0.095 < float(views.geometry[:, :, 2].abs().max()) <= 0.1


def test_stain_jitter_changes_colour_but_white_stays_white() -> None:
    views = draw(TrainSettings(colour_jitter=0), 0, range(16))
    white = torch.ones(16, 3, 8, 8)
    assert torch.allclose(restain(white, views.colour, views.gain), white, atol=1e-5)
    cells = a_cell()[None].float().repeat(16, 1, 1, 1) / 255
    means = restain(cells, views.colour, views.gain).mean(dim=(2, 3))
    assert float(means.std(dim=0).min()) > 0.005


def test_blur_is_gaussian_and_spares_the_others() -> None:
    images = torch.zeros(3, 3, 15, 15)
    images[:, :, 7, 7] = 1
    seen = blur(images, torch.tensor([0.0, 1.0, 0.5]))
    assert torch.equal(seen[0], images[0])
    assert float(seen[1, 0, 7, 8] / seen[1, 0, 7, 7]) == pytest.approx(np.exp(-0.5), abs=1e-4)
    assert torch.allclose(seen.sum(dim=(2, 3)), torch.ones(3, 3), atol=1e-5)


def test_jpeg_noise_is_that_of_the_luma_table() -> None:
    grey = read_image(CELL).convert("L").resize((224, 224))
    buffer = io.BytesIO()
    grey.save(buffer, "JPEG", quality=50)
    theirs = np.asarray(Image.open(buffer), dtype=np.float64)
    images = torch.from_numpy(np.asarray(grey).copy()).float()[None, None].repeat(1, 3, 1, 1) / 255
    ours = jpeg_noise(images, torch.ones(1))[0, 0].numpy() * 255
    assert np.abs(ours - theirs).mean() < 0.6
    assert torch.equal(
        jpeg_noise(images, torch.ones(1))[:, :1], jpeg_noise(images, torch.ones(1))[:, 1:2]
    )
    odd = torch.rand(2, 3, 30, 41)
    assert jpeg_noise(odd, torch.tensor([0.0, 1.0])).shape == odd.shape


def test_mixing_keeps_the_share_of_each_class() -> None:
    images = torch.stack([torch.full((3, 20, 20), float(n)) for n in range(4)])
    targets = torch.eye(4)
    random = np.random.default_rng(0)
    for settings in (
        TrainSettings(mixup=0.4),
        TrainSettings(cutmix=1.0),
        TrainSettings(mixup=1, cutmix=1),
    ):
        for _ in range(20):
            mixed, shares = mix(images, targets, settings, random)
            assert torch.allclose(shares.sum(dim=1), torch.ones(4))
            expected = shares @ torch.arange(4.0)
            assert torch.allclose(mixed.mean(dim=(1, 2, 3)), expected, atol=1e-5)
    assert mix(images, targets, TrainSettings(), random)[0] is images


def test_rare_classes_are_drawn_and_weighed_as_they_should_be() -> None:
    assert sampling_weights(np.array([0, 0, 0, 1])).tolist() == pytest.approx([1 / 6] * 3 + [0.5])
    logits, counts = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([3.0, 1.0])
    targets = torch.eye(2)
    plain = -torch.log_softmax(logits, dim=1).diagonal()

    def loss(balance: str) -> float:
        return float(loss_of(TrainSettings(balance=balance), counts)(logits, targets))

    assert loss("none") == loss("sampler") == pytest.approx(float(plain.mean()))
    assert loss("weights") == pytest.approx(float((plain * torch.tensor([4 / 6, 2.0])).mean()))
    assert loss("logit-adjustment") == pytest.approx(float(plain.mean()))  # shifted before
    assert loss("focal") == pytest.approx(
        float(((1 - torch.exp(-plain)) ** 2 * plain).mean()), rel=1e-5
    )
    assert float(focal(logits, targets, 0)) == pytest.approx(float(plain.mean()))


def test_small_classes_of_small_sources_are_drawn_by_the_roots_of_their_sizes() -> None:
    labels, sources = np.array([0, 0, 0, 0, 1]), ["a", "a", "a", "a", "b"]
    chances = chances_of_draw("source-sampler", labels, sources)
    assert chances is not None
    assert chances.tolist() == pytest.approx([1 / 8] * 4 + [1 / 2])  # 4 x 1 / (2 x 2) against 1
    assert chances_of_draw("none", labels, sources) is None
    drawn = chances_of_draw("sampler", labels, sources)
    assert drawn is not None
    assert drawn.tolist() == sampling_weights(labels).tolist()


def test_resolution_is_lost_where_it_should_be() -> None:
    image = a_cell()[None].float().repeat(2, 1, 1, 1) / 255
    coarse = coarsen(image, torch.tensor([1.0, 3.0]))
    assert torch.equal(coarse[0], image[0])
    steps = [float((view[:, :, 1:] - view[:, :, :-1]).abs().mean()) for view in coarse]
    assert steps[1] < 0.7 * steps[0]
    assert float(coarse[1].mean()) == pytest.approx(float(image[1].mean()), abs=0.01)
    views = draw(TrainSettings(coarsening=3), 0, range(400))
    assert 0.4 < float((views.coarsened > 1).float().mean()) < 0.6
    assert 2.5 < float(views.coarsened.max()) <= 3


def test_logits_are_shifted_by_the_shares_of_all_cells_or_of_a_source() -> None:
    labels, sources = np.array([0, 0, 1, 1]), ["a", "a", "a", "b"]
    assert class_shares("none", labels, sources, 2) is None
    everywhere = class_shares("logit-adjustment", labels, sources, 2)
    assert everywhere is not None
    assert everywhere.tolist() == [[0.5, 0.5]] * 4
    own = class_shares("source-adjustment", labels, sources, 2)
    assert own is not None
    assert own[:3].flatten().tolist() == pytest.approx([2 / 3, 1 / 3] * 3)
    assert own[3].tolist() == pytest.approx([0.01 / 1.01, 1 / 1.01])


def test_views_are_made_for_each_cell() -> None:
    views = draw(SETTINGS, 0, [3, 1, 2])
    assert isinstance(views, Views)
    assert [tuple(value.shape) for value in vars(views).values()] == [
        (3, 2, 3), (3, 3, 3), (3, 3), (3,), (3,), (3,), (3,), (3,), (3,),
    ]  # fmt: skip


def test_a_repainted_cell_has_the_palette_that_it_was_lent() -> None:
    pixels = torch.stack([a_cell(), a_cell().flip(0), a_cell() // 2])
    images = pixels.float() / 255
    lent = palettes(images[[1, 0, 0]])
    whole = repaint(images, lent, torch.tensor([1.0, 0.0, 0.5]))
    own = palettes(images)
    assert palettes(whole[:1]).flatten().tolist() == pytest.approx(
        lent[0].flatten().tolist(), abs=0.1
    )  # what would be brighter than white is white
    assert (whole[1] - images[1]).abs().max() < 0.01
    between = (own[2] + lent[2]) / 2
    assert palettes(whole[2:]).flatten().tolist() == pytest.approx(
        between.flatten().tolist(), abs=0.05
    )


def test_a_palette_is_mean_and_spread_of_the_optical_density() -> None:
    half = torch.ones(1, 3, 2, 2)
    half[:, :, 0] = 0
    assert palettes(half).tolist() == [[pytest.approx([math.log(255) / 2] * 3)] * 2]


def test_a_share_of_the_cells_is_shown_in_the_colours_of_others(manifest: Manifest) -> None:
    cells = manifest.cells[:6]
    data = CellDataset(manifest.root, cells, [cell.label for cell in cells], Preprocessing())
    lent = looks_of(data, seed=0)
    assert lent.palettes.shape == (6, 2, 3)
    assert lent.spectra.shape == (6, BANDS)
    settings = replace(STILL, stain_swap=0.5)
    views = draw(settings, 0, range(2000))
    assert float((views.repainted > 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    pixels = torch.stack([data[place][0] for place in range(6)])
    drawn = draw(settings, 0, range(6))
    changed = (augment(pixels, drawn, lent) != pixels).flatten(1).any(dim=1)
    assert changed.any()
    assert not (changed & (drawn.repainted == 0)).any()
    assert not (augment(pixels, drawn) != pixels).any()


def test_a_blurred_cell_and_a_sharp_one_lend_each_other_their_sharpness() -> None:
    sharp = a_cell()[None].float() / 255
    soft = blur(sharp, torch.tensor([2.0]))
    both, own = torch.cat([sharp, soft]), spectra(torch.cat([sharp, soft]))
    fine = slice(BANDS // 4, BANDS // 2)
    assert (own[0, fine] - own[1, fine]).min() > 0.5
    swapped = sharpen(both, own.flip(0), torch.ones(2))
    assert (spectra(swapped)[0, fine] - own[1, fine]).abs().max() < 0.5
    assert (swapped[0] - soft[0]).abs().mean() < (sharp - soft).abs().mean()
    assert (spectra(swapped)[1, fine] - own[0, fine]).abs().max() < 0.5
    assert (sharpen(both, own.flip(0), torch.zeros(2)) - both).abs().max() < 0.005


def test_sharpness_is_lent_to_a_share_of_the_cells() -> None:
    views = draw(replace(STILL, sharpness_swap=0.5), 0, range(2000))
    assert float((views.sharpened > 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert not draw(STILL, 0, range(10)).sharpened.any()
