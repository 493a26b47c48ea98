"""Open a field of any size as something that can be read piece by piece."""

import warnings
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from marrowscope.detection.file_pixel_size import scale_of_dpi
from marrowscope.detection.slides import SLIDES, LargeTiff, Slide
from marrowscope.errors import FieldError, ImageError, MissingExtraError, said_by
from marrowscope.io.images import FORMATS, check_colours, to_rgb
from marrowscope.locations import Location

SMALLEST = 64
"""Pixels of a field's shorter side."""
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LARGEST_PLAIN = 100_000_000
"""Pixels of a picture that is decoded as a whole; larger ones are read piece by piece."""


class Field(Protocol):
    """A whole field, or a slide, as far as it is needed here."""

    width: int
    """In pixels."""
    height: int
    """In pixels."""
    um_per_px: float | None
    """Side of a pixel on the slide in micrometres; None where the file does not say."""

    def read(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """Give a part as `(y1 - y0, x1 - x0, 3) uint8`, RGB; x1 and y1 exclusive, all inside.

        Raises:
            FieldError: it cannot be read.
        """
        ...


class PlainField:
    """A field that is in memory as a whole."""

    def __init__(self, pixels: np.ndarray, um_per_px: float | None = None) -> None:
        """Take `(H, W, 3) uint8`, RGB."""
        self.height, self.width = pixels.shape[:2]
        self.um_per_px = um_per_px
        self._pixels = pixels

    def read(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """Give a part as `(y1 - y0, x1 - x0, 3) uint8`, RGB."""
        return self._pixels[y0:y1, x0:x1]


def file_of(location: Location) -> Path:
    """Give the file of a field, which must be on this machine.

    Raises:
        FieldError: it is an object in a store.
    """
    if isinstance(location, Path):
        return location
    raise FieldError(f"{location}: whole fields are read from files; copy it to this machine")


def open_field(path: Path) -> Field:
    """Open a picture, a large TIFF or a slide; of a large one, only what is read is decoded.

    JPEG, PNG, TIFF, BMP and WEBP up to 100 million pixels need nothing else; larger TIFFs and
    slides need the extra `slides`.

    Raises:
        FieldError: it is missing, no picture, damaged, partly transparent, not RGB with 8 bits a
            channel, too small, or too large for its format.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
    """
    try:
        if path.suffix.lower() in SLIDES:
            return Slide(path)
        with path.open("rb") as file:
            return _open_picture(path, file)
    except ImageError as error:
        raise FieldError(f"{path}: {error}") from None
    except UnidentifiedImageError:
        raise FieldError(
            f"{path}: not a picture that can be read; {', '.join(FORMATS)} and slides are"
        ) from None
    except FileNotFoundError:
        raise FieldError(f"{path}: no such file") from None
    except (FieldError, MissingExtraError):
        raise
    except Exception as error:  # noqa: BLE001 - each format's decoder raises types of its own
        raise FieldError(
            f"{path}: the picture is damaged or cut short ({said_by(error)})"
        ) from None


def _open_picture(path: Path, file: BinaryIO) -> Field:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                if image.width * image.height <= LARGEST_PLAIN:
                    return _plain(image)
    except Image.DecompressionBombError:
        pass
    file.seek(0)
    if file.read(4) in TIFF_STARTS:
        return LargeTiff(path)
    raise FieldError(
        f"{path}: more than {LARGEST_PLAIN:,} pixels, which only a TIFF or a slide may have; "
        "save it as a tiled TIFF"
    )


def _plain(image: Image.Image) -> PlainField:
    if min(image.size) < SMALLEST:
        raise ImageError(
            f"too small: {image.width} x {image.height} pixels; a field needs at least "
            f"{SMALLEST} x {SMALLEST}"
        )
    check_colours(image)
    scale = scale_of_dpi(image.info.get("dpi", (0.0, 0.0))[0])
    return PlainField(np.asarray(to_rgb(image)), scale)
