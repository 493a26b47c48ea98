"""Measure every picture once, several at a time; a killed survey goes on where it was."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from marrowscope import __version__
from marrowscope.data.append_store import GrowingFiles
from marrowscope.data.audit.corruption import find_damage
from marrowscope.data.audit.image_stats import LOOKS, look
from marrowscope.data.audit.keypoints import CornerFinder, Corners, opencv
from marrowscope.data.audit.near_duplicates import SIGNATURE_LENGTH, signature
from marrowscope.data.parallel import spread
from marrowscope.errors import ImageError
from marrowscope.io.archives import read_content
from marrowscope.io.images import decode_image, read_image
from marrowscope.locations import Location

PICTURES_AT_ONCE = 64
"""Pictures that a process measures before they are written."""
FILES = ("words", "points", "corners", "signatures", "looks", "problems")


class Problem(NamedTuple):
    """What is wrong with a picture: `unreadable` or `damaged`, and why; both empty for nothing."""

    kind: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Survey:
    """What was measured of N pictures; large arrays are mapped from the disk."""

    files: Sequence[Location]
    corners: Corners
    signatures: NDArray[np.float32]
    """(N, 216): see `copies.signature`; zeros where a picture cannot be read."""
    looks: NDArray[np.float32]
    """(N, 10): see `looks.LOOKS`; NaN where a picture cannot be read."""
    problems: tuple[Problem, ...]
    """What is wrong with each picture."""

    def grey(self, index: int) -> NDArray[np.uint8]:
        """Decode a picture to grey values (H, W).

        Raises:
            ImageError: it cannot be read.
        """
        return np.asarray(read_image(self.files[index]).convert("L"))


def survey(
    files: Sequence[Location],
    contents: Sequence[str],
    folder: Path,
    *,
    workers: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Survey:
    """Measure pictures in `workers` processes (0: one a core), keeping the results in `folder`.

    `contents` are their SHA-256: a folder with measurements of the same pictures is gone on with.
    `advance` is called for every picture.

    Raises:
        MissingExtraError: OpenCV or simplejpeg, or the library that opens a picture's Parquet file
            or store, is not installed.
    """
    key = hashlib.sha256("\n".join([__version__, *contents]).encode()).hexdigest()
    store = GrowingFiles(folder, key, FILES)
    for _ in range(store.items):
        advance()
    chunks = [
        files[start : start + PICTURES_AT_ONCE]
        for start in range(store.items, len(files), PICTURES_AT_ONCE)
    ]
    for chunk, measured in zip(chunks, spread(_measure_chunk, chunks, workers), strict=True):
        store.append(len(chunk), dict(zip(FILES, measured, strict=True)))
        for _ in chunk:
            advance()
    return _load_survey(files, store)


def _measure_chunk(files: Sequence[Location]) -> tuple[bytes, ...]:
    """Measure some pictures: the bytes that they add to each of `FILES`."""
    opencv().setNumThreads(1)
    finder = CornerFinder()
    rows = [_measure(file, finder) for file in files]
    columns = list(zip(*rows, strict=True))
    lines = "".join(json.dumps(problem) + "\n" for problem in columns[-1])
    arrays = (b"".join(array.tobytes() for array in column) for column in columns[:-1])
    return (*arrays, lines.encode())


Measured = tuple[
    NDArray[np.uint64],
    NDArray[np.int16],
    NDArray[np.int32],
    NDArray[np.float32],
    NDArray[np.float32],
    Problem,
]


def _measure(file: Location, finder: CornerFinder) -> Measured:
    problem = Problem()
    try:
        content = read_content(file)
        pixels = np.asarray(decode_image(content))
    except (ImageError, OSError) as error:
        nothing = np.full(len(LOOKS), np.nan, np.float32)
        return (
            np.empty((0, 4), np.uint64),
            np.empty((0, 2), np.int16),
            np.zeros(1, np.int32),
            np.zeros(SIGNATURE_LENGTH, np.float32),
            nothing,
            Problem("unreadable", str(error)),
        )
    if (reason := find_damage(content, pixels)) is not None:
        problem = Problem("damaged", reason)
    grey = opencv().cvtColor(pixels, opencv().COLOR_RGB2GRAY)
    points, words = finder(grey)
    count = np.array([len(words)], np.int32)
    return words, points, count, signature(grey), look(pixels), problem


def _load_survey(files: Sequence[Location], store: GrowingFiles) -> Survey:
    counts = store.array("corners", np.int32)
    picture = np.repeat(np.arange(len(files), dtype=np.int32), counts)
    corners = Corners(
        store.array("words", np.uint64, (4,)), store.array("points", np.int16, (2,)), picture
    )
    lines = (store.folder / "problems").read_text(encoding="utf-8").splitlines()
    return Survey(
        files,
        corners,
        store.array("signatures", np.float32, (SIGNATURE_LENGTH,)),
        store.array("looks", np.float32, (len(LOOKS),)),
        tuple(Problem(*json.loads(line)) for line in lines),
    )
