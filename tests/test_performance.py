"""What makes training faster changes nothing else."""

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_train import resumed_like_whole
from torch import nn
from transformers import ResNetConfig, ResNetForImageClassification

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split
from marrowscope.train.fit import resolved
from marrowscope.train.models import freeze_below, load_network
from marrowscope.train.performance import choose_attention, order_channels
from marrowscope.train.settings import TrainSettings

FAULTS = """
import resource
import torch
from marrowscope.train.performance import keep_memory

torch.set_num_threads(1)
kept = keep_memory()

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(10 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults(12)
print(kept, faults(6))
"""
"""Tells whether memory is kept, and the page faults of taking and freeing 40 MiB six times."""

on_a_processor = pytest.mark.skipif(
    torch.accelerator.is_available(), reason="channels last is for processors"
)


def convolutional() -> ResNetForImageClassification:
    torch.manual_seed(0)
    return ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1])
    )


def faults(**variables: str) -> tuple[str, int]:
    command = [sys.executable, "-c", FAULTS]
    own = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=own | variables)
    kept, count = done.stdout.split()
    return kept, int(count)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone")
def test_memory_is_kept_from_step_to_step_unless_the_user_chose_otherwise() -> None:
    kept, few = faults()
    left_alone, many = faults(MALLOC_ARENA_MAX="2")
    assert (kept, left_alone) == ("True", "False")
    assert few < many / 10


@on_a_processor
def test_convolutional_networks_see_the_same_with_channels_last() -> None:
    plain, fast = convolutional(), convolutional()
    pixels = torch.rand(4, 3, 64, 64)
    layout = order_channels(fast)
    assert layout == torch.channels_last
    theirs, ours = (
        plain(pixel_values=pixels).logits,
        fast(pixel_values=pixels.contiguous(memory_format=layout)).logits,
    )
    assert torch.allclose(ours, theirs, atol=1e-5)
    theirs.square().sum().backward()
    ours.square().sum().backward()
    for own, other in zip(fast.parameters(), plain.parameters(), strict=True):
        assert own.grad is not None
        assert other.grad is not None
        assert torch.allclose(own.grad, other.grad, atol=1e-3)


def test_transformers_keep_their_layout(toy_network: Path) -> None:
    assert order_channels(load_network(str(toy_network), ["BLA", "NGS"])) == torch.contiguous_format


def test_frozen_blocks_build_no_graph(toy_network: Path) -> None:
    network = load_network(str(toy_network), ["BLA", "NGS"]).train()
    freeze_below(network, 1)
    learns = []

    def note(_: nn.Module, __: object, output: torch.Tensor) -> None:
        learns.append(output.requires_grad)

    for block in network.get_submodule("dinov2.encoder.layer").children():
        block.register_forward_hook(note)
    network(pixel_values=torch.rand(1, 3, 56, 56))
    assert learns == [False, True]


def test_a_convolutional_network_resumes_to_the_same_end(
    manifest: Manifest, split: Split, toy_settings: TrainSettings, tmp_path: Path
) -> None:
    convolutional().save_pretrained(tmp_path / "network")
    settings = replace(
        toy_settings, model=str(tmp_path / "network"), unfreeze_blocks=-1, average=0.9
    )
    resumed_like_whole(manifest, split, settings, tmp_path, 8)


def test_the_arithmetic_is_chosen_for_the_device_and_written_down(
    toy_settings: TrainSettings,
) -> None:
    has_amx = torch.cpu.get_capabilities().get("amx_bf16", False)
    chosen = resolved(replace(toy_settings, precision="auto"))[0].precision
    if not torch.accelerator.is_available():
        assert chosen == ("bf16" if has_amx else "fp32")
    assert resolved(replace(toy_settings, precision="fp32"))[0].precision == "fp32"


def test_attention_written_out_gives_what_the_fused_kernel_gives(toy_network: Path) -> None:
    pixels = torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    network = load_network(str(toy_network), ["NGS", "EOS"], pretrained=True)
    network.eval()
    with torch.inference_mode():
        fused = network(pixel_values=pixels).logits
        choose_attention(network, "bf16")
        written_out = network(pixel_values=pixels).logits
    assert torch.allclose(fused, written_out, atol=1e-5)
