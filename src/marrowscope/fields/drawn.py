"""A picture of a field with what was found on it."""

from collections.abc import Sequence
from pathlib import Path

from PIL import ImageDraw

from marrowscope.fields.boxes import Box
from marrowscope.fields.field import Field
from marrowscope.fields.outlines import Outline
from marrowscope.fields.overview import overview, times_smaller
from marrowscope.files.results import whole_file

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
