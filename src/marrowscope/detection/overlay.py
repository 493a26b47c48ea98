"""A picture of a field with what was found on it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from marrowscope.detection.boxes import Box
from marrowscope.detection.field import Field
from marrowscope.detection.segmentation import Outline
from marrowscope.io.tables import whole_file

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


LONGEST = 2048
"""Side of the picture in pixels; a larger field is drawn smaller."""
BOX_COLOUR, OUTLINE_COLOUR = (0, 110, 60), (255, 200, 0)
"""Boxes are dark, outlines bright, so that one of them is seen on any stain."""


def draw_found(field: Field, boxes: Sequence[Box], outlines: Sequence[Outline], file: Path) -> None:
    """Write a JPEG of the field, at most 2048 pixels a side, with boxes and outlines.

    Raises:
        FieldError: a part of the field cannot be read.
    """
    picture = overview(field, LONGEST)
    shrink = times_smaller(field, LONGEST)
    pen = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 400))
    for box, outline in zip(boxes, outlines, strict=True):
        sides = box.moved(0, 0, 1 / shrink)
        corners = [(x / shrink, y / shrink) for x, y in (*outline, outline[0])]
        pen.line(corners, fill=OUTLINE_COLOUR, width=width)
        pen.rectangle((sides.x0, sides.y0, sides.x1, sides.y1), outline=BOX_COLOUR, width=width)
    with whole_file(file) as partial:
        picture.save(partial, "JPEG", quality=90)
