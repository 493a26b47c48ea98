"""Cells cut out of whole fields as single pictures, at the scale that a classifier sees."""

import io
import math
import os
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from marrowscope.detection.boxes import Box
from marrowscope.detection.field import Field, open_field
from marrowscope.errors import FieldError, ImageError
from marrowscope.io.archives import Stamp
from marrowscope.io.images import LARGEST, read_image
from marrowscope.types import Picture, Place

USUAL_UM = 21.5
"""Side of a crop on the slide, in micrometres, where the bundle does not say: as the public bone
marrow set has it (250 pixels of 0.086)."""
OPEN_AT_ONCE = 2
"""Fields; batches that are read side by side seldom lie on more."""


def side_of(um_per_px: float, field_um: float) -> int:
    """Say how many pixels of a field a crop has a side; `field_um` 0 stands for the usual 21.5.

    21.5 micrometres at 0.1 a pixel are 215 pixels.

    Raises:
        FieldError: these are more pixels than a picture of a cell may have.
    """
    side = (field_um or USUAL_UM) / um_per_px
    if side > LARGEST:
        raise FieldError(
            f"a cell would have {side:,.0f} pixels a side at {um_per_px:g} micrometres a pixel; at "
            f"most {LARGEST:,} are cut out: check um_per_px"
        )
    return max(1, math.ceil(round(side, 6)))


def crop(field: Field, box: Box, side_px: int) -> NDArray[np.uint8]:
    """Cut a square of `side_px` pixels around the middle of a box: (S, S, 3) uint8, RGB.

    What lies outside the field is mirrored.

    Raises:
        FieldError: the field cannot be read there.
    """
    x, y = box.centre
    left, top = (math.floor(middle - side_px / 2 + 0.5) for middle in (x, y))
    x0, x1 = _within(left, side_px, field.width)
    y0, y1 = _within(top, side_px, field.height)
    pixels = field.read(x0, y0, x1, y1)
    margins = (y0 - top, top + side_px - y1), (x0 - left, left + side_px - x1), (0, 0)
    if not any(map(any, margins)):
        return pixels
    return np.pad(pixels, margins, "symmetric")


def _within(start: int, length: int, end: int) -> tuple[int, int]:
    """Give the part of a range that lies within 0 to `end`; at least one pixel."""
    first = min(max(start, 0), end - 1)
    return first, max(first + 1, min(start + length, end))


class OpenFields:
    """Keeps the fields open that were read last, for all threads."""

    def __init__(self, limit: int = OPEN_AT_ONCE) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._open: OrderedDict[Stamp, Field] = OrderedDict()

    def crop(self, file: Path, box: Box, side_px: int) -> NDArray[np.uint8]:
        """Cut a square out of a field's file, as `crop` does; one at a time.

        Raises:
            FieldError: the file cannot be read as a field.
            MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
            OSError: it is not there.
        """
        stamp = Stamp(file, file.stat().st_mtime_ns, os.getpid())
        with self._lock:
            if stamp not in self._open:
                while len(self._open) >= self._limit:
                    self._open.popitem(last=False)
                self._open[stamp] = open_field(file)
            self._open.move_to_end(stamp)
            return crop(self._open[stamp], box, side_px)


_OPEN = OpenFields()


def cut(place: Place, field_um: float) -> Image.Image:
    """Cut a cell out of its field, RGB; `field_um` is the side in micrometres, 0 for the usual one.

    Raises:
        ImageError: the field cannot be read.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
    """
    box = Box(place.x0, place.y0, place.x1, place.y1)
    try:
        side = side_of(place.um_per_px, field_um)
        return Image.fromarray(_OPEN.crop(Path(place.field), box, side))
    except OSError as error:
        raise ImageError(f"its field cannot be read ({error.strerror or error})") from None
    except FieldError as error:
        raise ImageError(f"its field cannot be read ({error})") from None


def read_cell(picture: Picture, field_um: float) -> Image.Image:
    """Read a picture of a single cell, or cut it out of its field, `field_um` as in `cut`.

    Raises:
        ImageError: it cannot be read.
        MissingExtraError: it cannot be opened without a library that is not installed.
    """
    if picture.place is None:
        return read_image(picture.path)
    return cut(picture.place, field_um)


def png_of(pixels: NDArray[np.uint8], sha256: str, place: Place) -> bytes:
    """Give a crop as a PNG that says which field (SHA-256 of its file), box and scale it is of.

    So crops of two boxes never are the same file, even where their pixels are.
    """
    about = PngInfo()
    about.add_text("field", sha256)
    about.add_text("box", f"{place.x0} {place.y0} {place.x1} {place.y1}")
    about.add_text("um_per_px", f"{place.um_per_px:.6g}")
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", pnginfo=about)
    return content.getvalue()
