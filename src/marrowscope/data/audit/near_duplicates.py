"""Find copies of a picture that are not the same file: turned, mirrored, resized, brightened.

A picture is described by the strengths of its angular waves on rings around its centre, which
neither turning nor mirroring changes. Near descriptions are candidates; they are copies if, at the
best angle, their fine details correlate. Of different cells they do not.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marrowscope.data.audit.keypoints import opencv

Grey = NDArray[np.uint8]
Floats = NDArray[np.float32]

COARSE_SIDE, COARSE_ANGLES, COARSE_RINGS, WAVES = 64, 64, 24, 9
"""Pixels, angles and rings of the description, and angular waves (0 to 8) kept on each ring."""
SIGNATURE_LENGTH = COARSE_RINGS * WAVES
FINE_SIDE, FINE_ANGLES, FINE_RINGS = 128, 256, 48
"""Pixels, angles and rings of the comparison of details."""
REACH = 0.95
"""Radius of the outermost ring, by half the side: what turning put into the corners stays out."""
DETAIL = (1.0, 4.0)
"""Details are what lies between these two blurs (standard deviation, pixels of `FINE_SIDE`)."""
LEAST_SIMILARITY = 0.985
"""Cosine of two descriptions, 0..1, that makes a candidate."""
LEAST_CORRELATION = 0.9
"""Correlation of details, -1..1; pairs of different cells stay below 0.85."""
BLOCK = 2048
"""Pictures that are compared with all later ones at a time."""


@dataclass(frozen=True)
class Copy:
    """Two pictures of the same content; b, mirrored or not, then turned, lies upon a."""

    a: int
    b: int
    angle: float
    """Degrees, 0..360."""
    mirrored: bool
    correlation: float
    """Correlation of details, -1..1."""


def signature(grey: Grey) -> Floats:
    """Describe a grey picture (H, W) by (216,) values of length 1 that turning does not change.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    small = _rings(_resized(grey, COARSE_SIDE), COARSE_ANGLES, COARSE_RINGS)
    area = _ring_weights(COARSE_RINGS)
    centred = (small - np.average(small, weights=np.broadcast_to(area**2, small.shape))) * area
    waves = np.abs(np.fft.rfft(centred, axis=0))[:WAVES]
    waves[1:] *= np.sqrt(2)
    return _unit(waves.ravel().astype(np.float32))


def find_copies(signatures: NDArray[np.float32], load: Callable[[int], Grey]) -> Iterator[Copy]:
    """Give the pairs of copies among described pictures (N, 216), by index; `load` gives a picture.

    All descriptions are compared by matrix products in blocks: 171,374 take about a minute.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    for a, b in _candidates(signatures):
        copy = _compare(a, b, load)
        if copy.correlation >= LEAST_CORRELATION:
            yield copy


def _candidates(signatures: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
    for start in range(0, len(signatures), BLOCK):
        block = np.asarray(signatures[start : start + BLOCK])
        for second_start in range(start, len(signatures), BLOCK):
            near = (
                block @ np.asarray(signatures[second_start : second_start + BLOCK]).T
                >= LEAST_SIMILARITY
            )
            for row, column in np.argwhere(near):
                if start + row < second_start + column:
                    yield int(start + row), int(second_start + column)


def _compare(a: int, b: int, load: Callable[[int], Grey]) -> Copy:
    """Turn b, as it is and mirrored, until its details fit those of a best."""
    first, second = _details(load(a)), _details(load(b))
    wave = np.fft.rfft(first, axis=0)
    copies = []
    for mirrored in (False, True):
        turned = np.roll(second[::-1], 1, axis=0) if mirrored else second
        product = wave * np.conj(np.fft.rfft(turned, axis=0))
        by_angle = np.fft.irfft(product.sum(axis=1), n=FINE_ANGLES)
        best = int(by_angle.argmax())
        angle = 360 * best / FINE_ANGLES
        copies.append(Copy(a, b, angle, mirrored, float(by_angle[best])))
    return max(copies, key=lambda copy: copy.correlation)


def _details(grey: Grey) -> Floats:
    cv2 = opencv()
    small = _resized(grey, FINE_SIDE)
    fine, coarse = (cv2.GaussianBlur(small, (0, 0), blur) for blur in DETAIL)
    return _unit(_rings(fine - coarse, FINE_ANGLES, FINE_RINGS) * _ring_weights(FINE_RINGS))


def _resized(grey: Grey, side: int) -> Floats:
    cv2 = opencv()
    return np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def _rings(square: Floats, angles: int, rings: int) -> Floats:
    """Sample a square picture on rings around its centre: (angles, rings)."""
    cv2 = opencv()
    middle = (len(square) - 1) / 2
    sampled = cv2.warpPolar(
        square, (rings, angles), (middle, middle), REACH * middle, cv2.INTER_LINEAR
    )
    return np.asarray(sampled, np.float32)


def _ring_weights(rings: int) -> Floats:
    """Weigh rings so that each pixel of the disc counts the same in a product of two."""
    return np.asarray(np.sqrt(np.arange(rings) + 0.5), np.float32)


def _unit(values: Floats) -> Floats:
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), np.float32)
