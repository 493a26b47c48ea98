"""What makes training faster: memory, layout, arithmetic that suits the device."""

import ctypes
import os
import platform

import torch
from torch import nn
from transformers import PreTrainedModel

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Names of glibc's `mallopt`. Source: malloc.h."""
NEVER = -1
"""As a trim threshold: memory is never handed back before the process ends."""
GROWTH = 256 * 2**20
"""Bytes by which the heap grows at a time."""


def keep_memory() -> bool:
    """Let the process keep the memory that a step frees, for the next step; tell whether it does.

    glibc hands large blocks back at once, so that each step pays for fresh pages. Other C
    libraries, and `MALLOC_...` variables that the user set, are left alone.
    """
    by_user = any(name.startswith("MALLOC_") for name in os.environ)
    if by_user or platform.libc_ver()[0] != "glibc":
        return False
    choices = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_TOP_PAD: GROWTH}
    glibc = ctypes.CDLL(None)
    return all(glibc.mallopt(name, value) for name, value in choices.items())


def order_channels(network: nn.Module) -> torch.memory_format:
    """Lay convolutional networks out with channels last, in place; give the layout for pictures.

    A network with more than one convolution counts as one; a ViT has one, which cuts patches.
    Only on processors: it was not measured elsewhere.
    """
    convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
    if convolutions <= 1 or torch.accelerator.is_available():
        return torch.contiguous_format
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return torch.channels_last


def fast_precision() -> str:
    """Give bf16 where the device multiplies it much faster than fp32, else fp32.

    On processors that is where they have AMX; without it bf16 is slower than fp32.
    """
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu.get_capabilities().get("amx_bf16") else "fp32"


def choose_attention(network: PreTrainedModel, precision: str) -> None:
    """Write attention out as products where the fused kernel is the slower: bf16 on processors."""
    if precision == "bf16" and not torch.accelerator.is_available():
        network.set_attn_implementation("eager")
