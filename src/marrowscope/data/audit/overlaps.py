"""Find pictures that show the same pixels: crops that were cut from one field, shifted.

Described corners (see `corners`) of two pictures of one field have keys of 32 bits in common. So
candidates come from sorting keys, not from comparing all pairs: corners of equal keys vote for
the shift between their pictures, and a shift with enough votes is checked by correlation of the
area that it claims to share.
"""

import mmap
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from marrowscope.data.audit.keypoints import BITS, CornerFinder, Corners, Grey
from marrowscope.errors import ImageError
from marrowscope.io.images import SMALLEST, read_image

KEYS = BITS // 32
"""Keys of a corner: halves of its words; one of them must be equal in both pictures."""
LARGEST_RUN = 32
"""Corners that may have a key, or else a whole word, in common; more of them are commonplace."""
LARGEST_DISTANCE = 14
"""Bits of 256 in which two descriptions of the same corner may differ."""
SURE_DISTANCE = 2
"""Bits that may differ where a single corner speaks for a pair."""
REGION_PIXELS = 12
"""Side of the squares that count as one vote, however many views saw a corner there."""
LEAST_SIDE = 16
"""Pixels that the shared rectangle needs on each side."""
LEAST_CONTRAST = 3.0
"""Standard deviation of grey values (0..255) that the shared rectangle needs to be compared."""
LEAST_CORRELATION = 0.98
COARSE_PIXELS = 3.0
"""Standard deviation of the blur that tells coarse shapes, as a dark round nucleus, from detail."""
LEAST_DETAIL = 0.5
"""Correlation that the detail needs; of true pairs it is above 0.6, of two round nuclei 0.3."""
ROWS_AT_ONCE = 1 << 22
"""Corners that are sorted in one go; 0.5 GB."""
ROWS_READ = 1 << 20
"""Corners or pairs of corners that are handled in one step."""
HALF, MIXER = np.uint64(32), np.uint64(2654435761)
"""Bits of half a word; an odd number that spreads keys evenly over the slices."""
BOXES = 64
"""Files that votes are kept in until they are counted, each for a range of pictures."""
PICTURES_KEPT = 2000
"""Decoded pictures that are worth keeping at hand while pairs are checked."""
ROW = np.dtype([("words", np.uint64, 4), ("points", np.int16, 2), ("picture", np.int32)])
"""A described corner on disk, 40 bytes."""


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
    """Correlation of the grey values of the shared rectangle, -1..1."""


def find_overlaps(
    count: int, load: Callable[[int], Grey], advance: Callable[[], object] = lambda: None
) -> Iterator[Overlap]:
    """Give the pairs that share pixels among `count` pictures that `load` gives by index.

    `advance` is called for every picture that was described. Descriptions go to a temporary
    file, some 28 kB for a picture of 250 x 250 pixels.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    finder = CornerFinder()
    with tempfile.TemporaryFile() as store:
        for index in range(count):
            points, words = finder(load(index))
            rows = np.empty(len(points), dtype=ROW)
            rows["words"], rows["points"], rows["picture"] = words, points, index
            store.write(rows.tobytes())
            advance()
        store.flush()
        if store.tell():
            table = np.memmap(store, dtype=ROW, mode="r")
            corners = Corners(table["words"], table["points"], table["picture"])
            yield from overlapping(corners, lru_cache(PICTURES_KEPT)(load))


def overlapping(
    corners: Corners, load: Callable[[int], Grey], advance: Callable[[], object] = lambda: None
) -> Iterator[Overlap]:
    """Give the pairs of pictures, in order, whose corners match and whose pixels agree.

    Votes go to temporary files. `load` is asked for the same picture again and again. `advance` is
    called for every shift of a pair that was checked.
    """
    for candidates in propose(corners):
        best: dict[tuple[int, int], Overlap] = {}
        for a, b, dx, dy in candidates.tolist():
            advance()
            overlap = check(load(a), load(b), dx, dy)
            if overlap is None or overlap[1] < LEAST_CORRELATION:
                continue
            if (a, b) not in best or best[a, b].correlation < overlap[1]:
                best[a, b] = Overlap(a, b, dx, dy, *overlap)
        yield from best.values()


def propose(corners: Corners) -> Iterator[NDArray[np.int64]]:
    """Give candidates (K, 4), in order: picture a, picture b > a, dx and dy that corners share."""
    pictures = int(corners.picture[-1]) + 1 if len(corners.picture) else 0
    slices = -(-len(corners.picture) // ROWS_AT_ONCE)
    with ExitStack() as stack:
        boxes = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(BOXES)]
        for key in range(KEYS):
            for part in range(slices):
                for votes in _votes(*_sharing(corners, key, part, slices)):
                    number_of = (votes[:, 0] >> 32) * BOXES // pictures
                    for number in np.unique(number_of).tolist():
                        boxes[number].write(votes[number_of == number].tobytes())
        for box in boxes:
            box.seek(0)
            yield _counted(np.frombuffer(box.read(), dtype=np.int64).reshape(-1, 2))


def _sharing(
    corners: Corners, key: int, part: int, slices: int
) -> tuple[Corners, NDArray[np.int64]]:
    """Give corners that share a key with some others, and the run (K,) that each belongs to.

    Only the keys of one slice are looked at. A run that is too long falls apart into runs of equal
    whole words; if those are too long, they are left out.
    """
    pairs = []
    for start in range(0, len(corners.words), ROWS_READ):
        block = corners.take(slice(start, start + ROWS_READ))
        pairs.append(_of_slice(block, key, part, slices))
    words, points, pictures = zip(*pairs, strict=True)
    picked = Corners(np.concatenate(words), np.concatenate(points), np.concatenate(pictures))
    word = _turned(picked.words, key)
    order = np.argsort(word)
    word = word[order]
    new_key = np.diff(word >> HALF, prepend=~word[:1] >> HALF) != 0
    long = _lengths(new_key) > LARGEST_RUN
    new = new_key | long & (np.diff(word, prepend=~word[:1]) != 0)
    length = _lengths(new)
    shared = (length > 1) & (length <= LARGEST_RUN)
    return picked.take(order[shared]), np.cumsum(new)[shared]


def _of_slice(corners: Corners, key: int, part: int, slices: int) -> Corners:
    """Copy the corners whose key belongs to a slice, then let go of the pages read from disk."""
    mixed = (_turned(corners.words, key) >> HALF) * MIXER & np.uint64(0xFFFFFFFF)
    rows = np.flatnonzero(mixed * np.uint64(slices) >> HALF == part)
    copied = corners.take(rows)
    for array in (corners.words, corners.points, corners.picture):
        store: Any = array
        while isinstance(store, np.ndarray):
            store = store.base
        if hasattr(store, "madvise"):
            store.madvise(mmap.MADV_DONTNEED)
    return copied


def _turned(words: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Give the word (K,) that a key is half of, turned so that the key comes first."""
    word = words[:, key // 2]
    return word << HALF | word >> HALF if key % 2 else word


def _lengths(new: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give for each member the length of its run; `new` says where runs begin."""
    starts = np.flatnonzero(new)
    lengths = np.diff(starts, append=len(new))
    return np.repeat(lengths, lengths)


def _votes(corners: Corners, run: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Give votes (K, 2): a and b in one number; dx, dy, region of a and distance in the other."""
    for step in range(1, LARGEST_RUN):
        equal = np.flatnonzero(run[step:] == run[:-step])
        for start in range(0, len(equal), ROWS_READ):
            first = equal[start : start + ROWS_READ]
            first = first[corners.picture[first] != corners.picture[first + step]]
            second = first + step
            swap = corners.picture[first] > corners.picture[second]
            first, second = np.where(swap, second, first), np.where(swap, first, second)
            differing = corners.words[first] ^ corners.words[second]
            distance = np.bitwise_count(differing).sum(axis=1, dtype=np.int64)
            near = distance <= LARGEST_DISTANCE
            first, second, distance = first[near], second[near], distance[near]
            place = corners.points[first].astype(np.int64)
            shift = place - corners.points[second] + (1 << 15)
            region = place // REGION_PIXELS
            pair = corners.picture[first].astype(np.int64) << 32 | corners.picture[second]
            claim = shift @ (1 << 47, 1 << 31) | region @ (1 << 19, 1 << 8) | distance
            yield np.column_stack((pair, claim))


def _counted(votes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the candidates (K, 4) that enough votes (N, 2) speak for, in order."""
    pair, claim = votes[np.lexsort((votes[:, 1], votes[:, 0]))].T
    new_pair = np.diff(pair, prepend=-1) != 0
    new_shift = new_pair | (np.diff(claim >> 31, prepend=-1) != 0)
    new_region = new_shift | (np.diff(claim >> 8, prepend=-1) != 0)
    starts = np.flatnonzero(new_shift)
    if not len(starts):
        return np.empty((0, 4), dtype=np.int64)
    regions = np.add.reduceat(new_region.astype(np.int64), starts)
    nearest = np.minimum.reduceat(claim & 255, starts)
    starts_kept = starts[(regions > 1) | (nearest <= SURE_DISTANCE)]
    pair, claim = pair[starts_kept], claim[starts_kept]
    shift = (claim >> 47) - (1 << 15), (claim >> 31 & 0xFFFF) - (1 << 15)
    return np.column_stack((pair >> 32, pair & 0xFFFFFFFF, *shift))


def check(a: Grey, b: Grey, dx: int, dy: int) -> tuple[float, float] | None:
    """Give the shared area (0..1) and correlation of two grey pictures (H, W), b shifted by dx, dy.

    None where the shared rectangle is too small or too flat to be compared, or where it agrees in
    its coarse shapes but not in its detail.
    """
    left, right = max(0, dx), min(a.shape[1], b.shape[1] + dx)
    top, bottom = max(0, dy), min(a.shape[0], b.shape[0] + dy)
    if min(right - left, bottom - top) < LEAST_SIDE:
        return None
    of_a = a[top:bottom, left:right].astype(np.float32)
    of_b = b[top - dy : bottom - dy, left - dx : right - dx].astype(np.float32)
    if min(of_a.std(), of_b.std()) < LEAST_CONTRAST:
        return None
    correlation = _correlation(of_a, of_b)
    if correlation >= LEAST_CORRELATION and (
        _correlation(_detail(of_a), _detail(of_b)) < LEAST_DETAIL
    ):
        return None
    return of_a.size / min(a.size, b.size), correlation


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Give the correlation of two arrays of one shape, -1..1; 0 where one is flat."""
    a, b = a - a.mean(dtype=np.float64), b - b.mean(dtype=np.float64)
    spread = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    return float((a * b).sum(dtype=np.float64)) / spread if spread else 0.0


def _detail(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give what a blur takes away."""
    coarse: NDArray[np.float32] = gaussian_filter(grey, COARSE_PIXELS)
    return grey - coarse


def grey(file: Path) -> Grey:
    """Decode a picture to grey values (H, W); a black one where it cannot be read."""
    try:
        return np.asarray(read_image(file).convert("L"))
    except ImageError:
        return np.zeros((SMALLEST, SMALLEST), dtype=np.uint8)
