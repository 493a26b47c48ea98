"""Describe pictures by corners: places that stand out, each with bits that survive re-encoding.

Pictures that were cut from one field differ by a shift of whole pixels and by re-encoding, never
by an angle or a scale. So the square around a corner is described upright: by the signs of 256
fixed random mixtures of its low frequencies. Two squares that correlate share most of the bits.
"""

from functools import lru_cache
from types import ModuleType
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import MissingExtraError


def opencv() -> ModuleType:
    """Give the module `cv2`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise MissingExtraError(
            "looking into pictures needs OpenCV; install it with: pip install 'marrowscope[data]'"
        ) from None
    return cv2


Grey = NDArray[np.uint8]
"""Grey values of a picture, (H, W)."""


class View(NamedTuple):
    """One way to look at a picture."""

    blur: float
    """Standard deviation of the blur, pixels: how large a corner is."""
    stride: int
    """Pixels between the samples of the described square."""
    apart: int
    """Pixels within which only the strongest corner counts."""
    contrast: float
    """Grey values (0..255) by which a corner stands out from its surroundings."""


VIEWS = (View(1.5, 1, 4, 2.0), View(2.0, 2, 5, 0.7), View(4.0, 3, 7, 0.7))
"""Squares of 15 pixels reach into narrow strips, squares of 29 tell more about a place, and squares
of 43 serve pictures out of focus."""
SAMPLES = 15
"""Samples on each side of the described square."""
FREQUENCIES = 80
"""How many of the lowest frequencies of the square are mixed; the mean is none of them."""
EMPHASIS = 2.0
"""Power of its frequency that a frequency is multiplied by: they are weak where they are high."""
BITS = 256
CORNERS_AT_MOST = 2000
"""Corners of a picture in one view; single cells have some hundred."""
SURROUNDINGS = 1.6
"""Blur of the surroundings that a corner stands out from, by the blur of the view."""


class Corners(NamedTuple):
    """Described corners, one row each, in the order of pictures; the arrays may lie on disk."""

    words: NDArray[np.uint64]
    """(M, 4): the 256 bits."""
    points: NDArray[np.int16]
    """(M, 2): x and y in pixels."""
    picture: NDArray[np.int32]
    """(M,): index of the picture."""

    def take(self, rows: NDArray[np.int64] | slice) -> Self:
        """Give some of the corners."""
        return self._replace(
            words=self.words[rows], points=self.points[rows], picture=self.picture[rows]
        )


class CornerFinder:
    """Finds and describes the corners of one picture in all `VIEWS`.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """

    def __init__(self) -> None:
        self._cv2 = opencv()

    def __call__(self, grey: Grey) -> tuple[NDArray[np.int16], NDArray[np.uint64]]:
        """Give points (K, 2), x and y in pixels, and words (K, 4) of a grey picture (H, W).

        Words of different views differ as words of unrelated places do, so all go together.
        """
        keypoints = [self._look(grey.astype(np.float32), number) for number in range(len(VIEWS))]
        points, words = zip(*keypoints, strict=True)
        return np.concatenate(points), np.concatenate(words)

    def _look(
        self, grey: NDArray[np.float32], number: int
    ) -> tuple[NDArray[np.int16], NDArray[np.uint64]]:
        view = VIEWS[number]
        reach = SAMPLES // 2 * view.stride
        blurred = self._cv2.GaussianBlur(grey, (0, 0), view.blur)
        around = self._cv2.GaussianBlur(grey, (0, 0), view.blur * SURROUNDINGS)
        y, x = self._peaks(np.abs(blurred - around), view, reach)
        steps = np.arange(-reach, reach + 1, view.stride)
        squares = blurred[(y[:, None] + steps)[:, :, None], (x[:, None] + steps)[:, None, :]]
        signs = squares.reshape(len(y), SAMPLES**2) @ _mixtures() > 0
        words = np.packbits(signs, axis=1).view(np.uint64) ^ _mask(number)
        return np.column_stack((x, y)).astype(np.int16), words

    def _peaks(
        self, response: NDArray[np.float32], view: View, border: int
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Give rows and columns where the response (H, W) is the largest around, not near edges."""
        side = 2 * view.apart + 1
        near = self._cv2.getStructuringElement(self._cv2.MORPH_ELLIPSE, (side, side))
        peak = (response == self._cv2.dilate(response, near)) & (response > view.contrast)
        y, x = np.nonzero(peak[border:-border, border:-border])
        y, x = y + border, x + border
        strongest = np.argsort(-response[y, x], kind="stable")[:CORNERS_AT_MOST]
        return y[strongest], x[strongest]


@lru_cache
def _mixtures() -> NDArray[np.float32]:
    """Give (SAMPLES ** 2, BITS): each column mixes low frequencies (cosines) of a square."""
    places = np.arange(SAMPLES)
    waves = np.cos(np.pi * np.outer(places, places + 0.5) / SAMPLES)
    waves /= np.linalg.norm(waves, axis=1, keepdims=True)
    frequency = np.hypot(*np.indices((SAMPLES, SAMPLES))).ravel()
    lowest = np.argsort(frequency, kind="stable")[1 : FREQUENCIES + 1]
    patterns = np.einsum("iy,jx->ijyx", waves, waves).reshape(SAMPLES**2, SAMPLES**2)[lowest]
    weights = np.random.default_rng(0).standard_normal((BITS, FREQUENCIES))
    mixed: NDArray[np.float64] = (weights * frequency[lowest] ** EMPHASIS) @ patterns
    return mixed.T.astype(np.float32)


@lru_cache
def _mask(view: int) -> NDArray[np.uint64]:
    """Give (4,): bits that are turned in all words of a view, so that views do not match."""
    return np.random.default_rng(view).integers(0, 1 << 63, BITS // 64, dtype=np.uint64)
