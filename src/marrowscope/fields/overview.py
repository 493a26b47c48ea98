"""A whole field as one picture to look at, made small strip by strip where it is large."""

import numpy as np
from PIL import Image

from marrowscope.fields.field import Field

STRIP = 512
"""Rows of the field that are in memory at a time."""


def times_smaller(field: Field, most: int) -> int:
    """Say how many times smaller a field is shown, to have at most `most` pixels a side.

    A side of 20,000 pixels is shown 5 times smaller in 4,096.
    """
    return -(-max(field.width, field.height) // most)


def overview(field: Field, most: int) -> Image.Image:
    """Give a field as an RGB picture of at most `most` pixels a side; memory holds a strip of it.

    A field of 20,000 x 10,000 pixels shown in 4,096 is made five times smaller: 4,000 x 2,000. One
    that is narrower than that keeps a pixel.

    Raises:
        FieldError: a part of the field cannot be read.
    """
    times = times_smaller(field, most)
    width, height = max(1, field.width // times), max(1, field.height // times)
    right = min(width * times, field.width)
    small = Image.new("RGB", (width, height))
    rows = max(1, STRIP // times)
    for top in range(0, height, rows):
        tall = min(rows, height - top)
        bottom = min((top + tall) * times, field.height)
        pixels = field.read(0, top * times, right, bottom)
        strip = Image.fromarray(np.ascontiguousarray(pixels))
        small.paste(strip.resize((width, tall), Image.Resampling.BOX), (0, top))
    return small
