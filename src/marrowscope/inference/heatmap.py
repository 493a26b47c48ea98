"""Where a network sees a class: a see-through heatmap to lay over the picture that it saw."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VIRIDIS = (
    *((68, 1, 84), (72, 24, 106), (71, 45, 123), (66, 64, 134), (59, 82, 139), (51, 99, 141)),
    *((44, 114, 142), (38, 130, 142), (33, 145, 140), (31, 160, 136), (40, 174, 128)),
    *((63, 188, 115), (94, 201, 98), (132, 212, 75), (173, 220, 48), (216, 226, 25)),
    (253, 231, 37),
)
"""Red, green and blue at even steps from weak to strong; equal steps look equally far apart.

Source: viridis by Smith, van der Walt and Firing, 2015, CC0.
"""

DENSEST = 0.75
"""Opacity, 0..1, of the strongest evidence; the weakest is fully transparent."""


def evidence(activation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give what each place says for each class (C, H, W) beyond what it says for all of them.

    What a place adds to all logits alike changes no probability. Of the values 3, 1 and -1 of
    three classes at one place, 2, 0 and -2 are left.
    """
    return np.asarray(activation - activation.mean(axis=0, keepdims=True))


def heat_layer(strength: NDArray[np.float32], full: float, size: int) -> bytes:
    """Draw evidence (H, W) as a PNG of `size` x `size` pixels that is laid over the picture.

    Only evidence for the class is drawn: 0 and less is fully transparent, `full` and more has the
    strongest colour, `full / 2` the middle one at half the opacity. With `full` 0 or less,
    nothing is drawn.
    """
    shares = np.clip(strength / full, 0, 1) if full > 0 else np.zeros_like(strength)
    field = Image.fromarray(shares.astype(np.float32))
    smooth = np.asarray(field.resize((size, size), Image.Resampling.BILINEAR))
    layer = Image.fromarray(np.round(255 * smooth).astype(np.uint8), "L")
    layer.putpalette(_colours().tobytes())
    buffer = io.BytesIO()
    layer.save(buffer, "PNG", transparency=_opacities().tobytes(), optimize=True)
    return buffer.getvalue()


def gradient() -> str:
    """Give the colours from weak to strong as a CSS gradient, for a legend."""
    stops = (
        f"rgb({red} {green} {blue} / {DENSEST * step / (len(VIRIDIS) - 1):.2f})"
        for step, (red, green, blue) in enumerate(VIRIDIS)
    )
    return f"linear-gradient(to right, {', '.join(stops)})"


def _colours() -> NDArray[np.uint8]:
    """Give the colours of 256 strengths (256, 3)."""
    steps = np.linspace(0, 1, len(VIRIDIS))
    table = np.array(VIRIDIS, dtype=np.float64)
    shares = np.linspace(0, 1, 256)
    channels = [np.interp(shares, steps, table[:, channel]) for channel in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


def _opacities() -> NDArray[np.uint8]:
    """Give the opacities of 256 strengths (256,)."""
    return np.round(DENSEST * np.arange(256)).astype(np.uint8)
