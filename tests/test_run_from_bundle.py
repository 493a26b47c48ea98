"""Bundles turned back into networks that can be trained on."""

import run_from_bundle
import torch
from conftest import ROOT, SAMPLES

from marrowscope.data.manifest import read_manifest
from marrowscope.model.bundle import load_bundle


def test_the_rebuilt_network_names_cells_as_the_bundle_does() -> None:
    bundle = load_bundle(str(ROOT / "bundles/vit-1.0"))
    network = run_from_bundle.network_of(bundle)
    assert network.config.id2label == dict(enumerate(bundle.classes))
    manifest = read_manifest(SAMPLES / "cells.csv")
    share, cells = run_from_bundle.agreement(network, bundle, manifest, 24)
    assert cells >= 24
    assert share >= run_from_bundle.LEAST_AGREEMENT
    with torch.no_grad():
        network.get_parameter("dinov2.layernorm.bias").add_(1)
    assert run_from_bundle.agreement(network, bundle, manifest, 24)[0] < share
    with torch.no_grad():
        network.get_parameter("dinov2.layernorm.bias").sub_(1)
        last = network.get_parameter("classifier.weight")
        last.copy_(last.roll(1, dims=0))
    assert run_from_bundle.agreement(network, bundle, manifest, 24)[0] < 0.5


def test_a_mobilenet_is_rebuilt_from_its_floats() -> None:
    bundle = load_bundle("fast")
    network = run_from_bundle.network_of(bundle)
    manifest = read_manifest(SAMPLES / "cells.csv")
    assert run_from_bundle.agreement(network, bundle, manifest, 24)[0] == 1
    with torch.no_grad():
        last = network.get_parameter("classifier.weight")
        last.copy_(last.roll(1, dims=0))
    assert run_from_bundle.agreement(network, bundle, manifest, 24)[0] < 0.5
