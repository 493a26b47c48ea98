"""Heatmaps: drawn as said, and the same places as Grad-CAM finds by gradients."""

import io

import matplotlib as mpl
import numpy as np
import pytest
from captum.attr import LayerGradCam
from PIL import Image
from test_onnx_export import explained, resnet
from torch import Tensor, nn
from transformers import PreTrainedModel

from marrowscope.inference.heatmap import DENSEST, VIRIDIS, evidence, gradient, heat_layer

DENSE = round(255 * DENSEST)


def drawn(strength: list[list[float]], full: float, size: int = 8) -> Image.Image:
    """The layer with a colour and an opacity for each pixel."""
    content = heat_layer(np.array(strength, dtype=np.float32), full, size)
    return Image.open(io.BytesIO(content)).convert("RGBA")


def test_the_colours_are_those_of_viridis() -> None:
    theirs = mpl.colormaps["viridis"](np.linspace(0, 1, len(VIRIDIS)))[:, :3]
    assert np.round(255 * theirs).astype(int).tolist() == [list(colour) for colour in VIRIDIS]
    assert gradient().startswith("linear-gradient(to right, rgb(68 1 84 / 0.00), ")
    assert gradient().endswith(f"rgb(253 231 37 / {DENSEST}))")


def test_nothing_is_seen_where_nothing_speaks_for_the_class() -> None:
    assert drawn([[0.0, -5.0], [-1.0, 0.0]], 2.0).getchannel("A").getextrema() == (0, 0)
    assert drawn([[-3.0]], -3.0).getchannel("A").getextrema() == (0, 0)


def test_strength_is_colour_and_opacity() -> None:
    """Half of the full strength is the middle colour at half the opacity."""
    for value, colour in ((2.0, VIRIDIS[-1]), (9.0, VIRIDIS[-1]), (1.0, VIRIDIS[8])):
        pixel = drawn([[value]], 2.0).getpixel((3, 3))
        assert isinstance(pixel, tuple)
        assert pixel[:3] == pytest.approx(colour, abs=2)
        assert pixel[3] == pytest.approx(DENSE * min(1, value / 2), abs=1)


def test_places_are_where_they_belong_and_fade_into_each_other() -> None:
    opacity = np.asarray(drawn([[0, 1], [0, 0]], 1.0, 64).getchannel("A"))
    assert opacity.shape == (64, 64)
    assert opacity[4, 60] == DENSE
    assert opacity[60, 60] == opacity[4, 4] == 0
    assert (np.diff(opacity[4].astype(int)) >= 0).all()
    assert len(np.unique(opacity[4])) > 20


def test_what_speaks_for_all_classes_speaks_for_none() -> None:
    one_place = np.array([3.0, 1.0, -1.0], dtype=np.float32).reshape(3, 1, 1)
    assert evidence(one_place).ravel().tolist() == [2.0, 0.0, -2.0]
    random = np.random.default_rng(0).normal(size=(5, 4, 4)).astype(np.float32)
    common = np.random.default_rng(1).normal(size=(1, 4, 4)).astype(np.float32)
    assert np.allclose(evidence(random + common), evidence(random), atol=1e-6)


class Logits(nn.Module):
    """A network whose logits add up to 0 for each picture."""

    def __init__(self, network: PreTrainedModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=pixels).logits
        return logits - logits.mean(dim=1, keepdim=True)


def test_the_map_is_that_of_grad_cam_where_places_are_averaged() -> None:
    """Grad-CAM weighs the last feature map by mean gradients, here the weights of the last layer.

    Its values are ours divided by the number of places.
    """
    network, (_, _, activation), pixels = explained(resnet)
    stages = network.get_submodule("resnet.encoder.stages")
    assert isinstance(stages, nn.ModuleList)
    by_gradients = LayerGradCam(Logits(network), stages[-1])
    for target in range(activation.shape[1]):
        theirs = by_gradients.attribute(pixels, target=target).detach().numpy()[:, 0]
        ours = np.stack([evidence(each)[target] for each in activation.numpy()])
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
        assert ours / ours[0].size == pytest.approx(theirs, abs=1e-6)
        positive = (np.maximum(each, 0) for each in (ours / ours[0].size, theirs))
        assert next(positive) == pytest.approx(next(positive), abs=1e-6)
