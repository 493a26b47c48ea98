"""Find pictures that show the same pixels: crops that were cut from one field, shifted.

Corners are described by 256-bit patterns that survive re-encoding; two pictures of one field have
some patterns in common to the bit. So candidates come from sorting 64-bit words, not from comparing
all pairs, and each candidate is then checked by correlation of the area it claims to share.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import ImageError, MissingExtraError
from marrowscope.images import read_image

VIEWS = ((1, 0.0, 300, 2), (1, 1.5, 150, 1), (1, 3.0, 60, 1), (2, 2.0, 150, 1))
"""How each picture is described: enlarged by; blurred by (standard deviation, pixels); corners at
most; grey values (0..255) by which a corner stands out. Sharp views find texture, blurred ones
shapes that survive compression and lack of focus, enlarged ones corners near the edge."""
PATCH_PIXELS = 31
"""Side of the square that describes a corner."""
LARGEST_RUN = 24
"""Neighbours in sorted order that a word is compared with; longer runs of equal words are flat."""
LARGEST_DISTANCE = 32
"""Bits of 256 in which two descriptions of the same corner may differ."""
SURE_DISTANCE = 4
"""Bits that may differ where a single corner speaks for a pair."""
REGION_PIXELS = 12
"""Side of the squares that count as one vote, however many views saw a corner there."""
LEAST_SIDE = 24
"""Pixels that the shared rectangle needs on each side."""
LEAST_CONTRAST = 3.0
"""Standard deviation of grey values (0..255) that the shared rectangle needs to be compared."""
LEAST_CORRELATION = 0.98


@dataclass(frozen=True)
class Overlap:
    """Two pictures that share pixels: b's corner lies at (dx, dy) pixels in a."""

    a: int
    b: int
    dx: int
    dy: int
    shared_area: float
    """Share of the smaller picture, 0..1."""
    correlation: float
    """Of the grey values of the shared rectangle, -1..1."""


Grey = NDArray[np.uint8]
View = Callable[[Grey], tuple[NDArray[np.int16], NDArray[np.uint8]]]


class Corners(NamedTuple):
    """Described corners of many pictures, one row each."""

    words: NDArray[np.uint64]
    """(M, 4): the 256 bits; they may lie on disk."""
    points: NDArray[np.int16]
    """(M, 2): x and y in pixels."""
    picture: NDArray[np.int32]
    """(M,): index of the picture."""


def find_overlaps(
    files: Sequence[Path], each: Callable[[], object] = lambda: None
) -> Iterator[Overlap]:
    """Give the pairs of pictures that share pixels, by index; unreadable files match nothing.

    `each` is called for every file that was described. Descriptions go to a temporary file, at
    most 21 kB a picture; votes for shifts are held in memory.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    with tempfile.TemporaryFile() as store:
        candidates = propose(describe(files, store, each))
    load = lru_cache(maxsize=2000)(lambda index: _grey(files[index]))
    best: dict[tuple[int, int], Overlap] = {}
    for a, b, dx, dy in candidates.tolist():
        found = check(load(a), load(b), dx, dy)
        if found is None or found[1] < LEAST_CORRELATION:
            continue
        overlap = Overlap(a, b, dx, dy, *found)
        if (a, b) not in best or best[a, b].correlation < overlap.correlation:
            best[a, b] = overlap
    yield from (best[key] for key in sorted(best))


def describe(
    files: Sequence[Path], store: IO[bytes], each: Callable[[], object] = lambda: None
) -> Corners:
    """Describe the corners of all pictures; their bits are kept in `store`."""
    views = _views()
    points = [np.empty((0, 2), dtype=np.int16)]
    pictures = [np.empty(0, dtype=np.int32)]
    for index, file in enumerate(files):
        grey = _grey(file)
        for view in views:
            places, bits = view(grey)
            store.write(bits.tobytes())
            points.append(places)
            pictures.append(np.full(len(places), index, dtype=np.int32))
        each()
    store.flush()
    picture = np.concatenate(pictures)
    if not len(picture):
        return Corners(np.empty((0, 4), dtype=np.uint64), np.concatenate(points), picture)
    words = np.memmap(store, dtype=np.uint64, mode="r", shape=(len(picture), 4))
    return Corners(words, np.concatenate(points), picture)


def _views() -> list[View]:
    """Give a function for each of `VIEWS` from grey values (H, W) to places (K, 2) and bits."""
    try:
        import cv2
    except ImportError:
        raise MissingExtraError(
            "the search for overlapping pictures needs OpenCV; install it with: "
            "pip install 'marrowscope[data]'"
        ) from None

    def view(scale: int, blur: float, corners: int, contrast: int) -> View:
        detector = cv2.ORB.create(
            nfeatures=corners,
            nlevels=1,
            edgeThreshold=PATCH_PIXELS // 2 + 3,
            patchSize=PATCH_PIXELS,
            fastThreshold=contrast,
        )

        def describe_corners(
            grey: Grey,
        ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
            seen = cv2.resize(grey, None, fx=scale, fy=scale) if scale > 1 else grey
            seen = cv2.GaussianBlur(seen, (0, 0), blur) if blur else seen
            keypoints, bits = detector.detectAndCompute(seen, None)
            places = np.array([keypoint.pt for keypoint in keypoints]).reshape(-1, 2) / scale
            return places.astype(np.int16), np.asarray(bits if len(places) else [], dtype=np.uint8)

        return describe_corners

    return [view(*settings) for settings in VIEWS]


def propose(corners: Corners) -> NDArray[np.int64]:
    """Give candidates (K, 4): picture a, picture b > a, dx and dy that described corners share."""
    votes = [vote for word in range(4) for vote in _votes(corners, word)]
    if not votes:
        return np.empty((0, 4), dtype=np.int64)
    rows = np.unique(np.concatenate(votes), axis=0)
    shifts, first = np.unique(rows[:, :4], axis=0, return_index=True)
    nearest = np.minimum.reduceat(rows[:, 5], first)
    _, regions = np.unique(np.unique(rows[:, :5], axis=0)[:, :4], axis=0, return_counts=True)
    kept: NDArray[np.int64] = shifts[(regions > 1) | (nearest <= SURE_DISTANCE)]
    return kept


def _votes(corners: Corners, word: int) -> Iterator[NDArray[np.int64]]:
    """Give (K, 6): a, b, dx, dy, region of a, distance in bits, where a word of two is equal."""
    column = np.ascontiguousarray(corners.words[:, word])
    order = np.argsort(column)
    sorted_words = column[order]
    del column
    for step in range(1, min(LARGEST_RUN, len(order))):
        equal = np.nonzero(sorted_words[step:] == sorted_words[:-step])[0]
        if not len(equal):
            return
        one, other = order[equal], order[equal + step]
        swap = corners.picture[one] > corners.picture[other]
        one, other = np.where(swap, other, one), np.where(swap, one, other)
        differing = corners.words[one] ^ corners.words[other]
        distance = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
        keep = (corners.picture[one] != corners.picture[other]) & (distance <= LARGEST_DISTANCE)
        one, other = one[keep], other[keep]
        shift = corners.points[one].astype(np.int64) - corners.points[other]
        region = (corners.points[one] // REGION_PIXELS).astype(np.int64) @ (1, 1 << 16)
        pictures = corners.picture[one], corners.picture[other]
        yield np.column_stack([*pictures, shift, region, distance[keep]]).astype(np.int64)


def check(a: Grey, b: Grey, dx: int, dy: int) -> tuple[float, float] | None:
    """Give the shared area (0..1) and correlation of two grey pictures (H, W), b shifted.

    None where the shared rectangle is too small or too flat to be compared.
    """
    left, right = max(0, dx), min(a.shape[1], b.shape[1] + dx)
    top, bottom = max(0, dy), min(a.shape[0], b.shape[0] + dy)
    if min(right - left, bottom - top) < LEAST_SIDE:
        return None
    of_a = a[top:bottom, left:right]
    of_b = b[top - dy : bottom - dy, left - dx : right - dx]
    spread = float(of_a.std()), float(of_b.std())
    if min(spread) < LEAST_CONTRAST:
        return None
    product = float(((of_a - of_a.mean()) * (of_b - of_b.mean())).mean())
    return of_a.size / min(a.size, b.size), product / (spread[0] * spread[1])


def _grey(file: Path) -> Grey:
    """Decode a picture to grey values (H, W); a black one where it cannot be read."""
    try:
        return np.asarray(read_image(file).convert("L"))
    except ImageError:
        return np.zeros((PATCH_PIXELS, PATCH_PIXELS), dtype=np.uint8)
