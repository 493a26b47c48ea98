"""Read pictures piece by piece that are too large to be in memory: tiled TIFFs and slides."""

import math
import weakref
from collections import OrderedDict
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope.detection.file_pixel_size import UM_PER_INCH, scale_of_dpi
from marrowscope.errors import FieldError, MissingExtraError

SLIDES = (".bif", ".mrxs", ".ndpi", ".scn", ".svs", ".svslide", ".vms", ".vmu")
"""Endings of the files that OpenSlide reads and Pillow does not, or only in part."""
KEPT_BYTES = 192 * 2**20
"""Of decoded pieces of a TIFF."""
LARGEST_PIECE = 256 * 2**20
"""Bytes of one piece of a TIFF, decoded; a larger one would not fit the memory promised."""
DOTS_UNITS = {2: 1.0, 3: 2.54}
"""Of a TIFF: what to multiply its resolution by for dots an inch."""


class Slide:
    """A slide that OpenSlide reads, at its full resolution."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            FieldError: OpenSlide cannot read it.
            MissingExtraError: the extra `slides` is not installed.
        """
        openslide = _library("openslide")
        self._path, self._failure = path, openslide.OpenSlideError
        try:
            self._slide = openslide.OpenSlide(path)
        except openslide.OpenSlideError as error:
            raise FieldError(f"{path}: not a slide that OpenSlide can read ({error})") from None
        weakref.finalize(self, self._slide.close)
        self.width, self.height = self._slide.dimensions
        said = self._slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
        self.um_per_px = scale_of_dpi(UM_PER_INCH / float(said)) if said else None

    def read(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """Give a part as `(y1 - y0, x1 - x0, 3) uint8`, RGB; what was not scanned is white.

        Raises:
            FieldError: OpenSlide cannot read it.
        """
        try:
            region = self._slide.read_region((x0, y0), 0, (x1 - x0, y1 - y0))
        except (OSError, self._failure) as error:
            raise FieldError(f"{self._path}: cannot be read at {x0}, {y0} ({error})") from None
        part = np.asarray(region)
        alpha = part[..., 3:].astype(np.uint16)
        return ((part[..., :3] * alpha + 255 * (255 - alpha)) // 255).astype(np.uint8)


class LargeTiff:
    """A TIFF of tiles or strips, of which only those that are looked at are decoded."""

    def __init__(self, path: Path) -> None:
        """Open its first picture.

        Raises:
            FieldError: it is damaged or not RGB with 8 bits a channel, or its pieces are too large.
            MissingExtraError: the extra `slides` is not installed.
        """
        self._path = path
        self._file = _library("tifffile").TiffFile(path)
        weakref.finalize(self, self._file.close)
        self._page = self._file.pages[0]
        self._check()
        self.height, self.width = self._page.shape[:2]
        self.um_per_px = self._scale()
        self._plain = self._mapped() if self._page.is_memmappable else None
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def _check(self) -> None:
        page = self._page
        sides = (*page.shape[:2], *page.chunks[:2])
        if not all(isinstance(side, int) and side > 0 for side in sides):
            raise FieldError(f"{self._path}: the picture is damaged (its sides are {sides})")
        if page.dtype != np.uint8 or page.axes != "YXS" or page.shape[2] not in {3, 4}:
            raise FieldError(
                f"{self._path}: its pixels are {page.dtype} {page.axes} {page.shape}; "
                "RGB with 8 bits a channel, interleaved, is read"
            )
        if not page.is_memmappable and math.prod(page.chunks) > LARGEST_PIECE:
            raise FieldError(
                f"{self._path}: it is packed in pieces of {page.chunks} pixels, too large to be "
                "read one by one; save it as a tiled TIFF"
            )

    def _mapped(self) -> np.ndarray:
        """Give the pixels of a TIFF that is not packed, as they lie in the file."""
        pixels = np.asarray(self._page.asarray(out="memmap"))
        if pixels.shape != self._page.shape:
            raise FieldError(f"{self._path}: the picture is damaged or cut short")
        return pixels

    def _scale(self) -> float | None:
        tags = self._page.tags
        across, unit = tags.valueof("XResolution"), tags.valueof("ResolutionUnit")
        if not across or not across[1] or unit not in DOTS_UNITS:
            return None
        return scale_of_dpi(across[0] / across[1] * DOTS_UNITS[unit])

    def read(self, x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
        """Give a part as `(y1 - y0, x1 - x0, 3) uint8`, RGB; a piece that was left out is white.

        Raises:
            FieldError: a piece is damaged.
        """
        if self._plain is not None:
            return np.array(self._plain[y0:y1, x0:x1, :3])
        tall, wide = self._page.chunks[:2]
        across = -(-self.width // wide)
        part = np.full((y1 - y0, x1 - x0, 3), 255, np.uint8)
        for row in range(y0 // tall, -(-y1 // tall)):
            for column in range(x0 // wide, -(-x1 // wide)):
                piece = self._piece(row * across + column)
                _put(part, piece, column * wide - x0, row * tall - y0)
        return part

    def _piece(self, index: int) -> np.ndarray:
        """Decode a tile or strip, or take it from those kept: `(h, w, 3) uint8`."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        piece = self._kept[index] = self._decoded(index)
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > KEPT_BYTES:
            self._kept.popitem(last=False)
        return piece

    def _decoded(self, index: int) -> np.ndarray:
        page, file = self._page, self._file.filehandle
        try:
            file.seek(page.dataoffsets[index])
            packed = file.read(page.databytecounts[index])
            piece, _, _ = page.decode(packed, index, jpegtables=page.jpegtables)
        except Exception as error:  # noqa: BLE001 - each codec raises types of its own
            raise FieldError(f"{self._path}: piece {index} is damaged ({error})") from None
        return _white(page.chunks) if piece is None else np.asarray(piece[0, ..., :3])


def _bytes(piece: np.ndarray) -> int:
    return piece.nbytes


def _white(shape: tuple[int, ...]) -> np.ndarray:
    return np.full((*shape[:2], 3), 255, np.uint8)


def _put(part: np.ndarray, piece: np.ndarray, x: int, y: int) -> None:
    """Copy a piece to its place, of which it may stick out."""
    top, left = max(y, 0), max(x, 0)
    bottom = min(y + piece.shape[0], part.shape[0])
    right = min(x + piece.shape[1], part.shape[1])
    part[top:bottom, left:right] = piece[top - y : bottom - y, left - x : right - x]


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise MissingExtraError(
            f"slides and TIFFs over 100 million pixels need {name}; install it with: "
            "pip install 'marrowscope[slides]'"
        ) from None
