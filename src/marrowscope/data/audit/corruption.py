"""Find pictures that decode without an error although part of them is lost or displaced.

A JPEG whose data are broken goes on decoding: blocks are read from the wrong place, all later ones
may be too light or too dark, and missing ones are filled with a flat colour. The decoder notices
some of it, but Pillow does not pass that on; nothing of it is left in a picture that was decoded
and saved again. There the seam still shows: blocks are written row by row, so the damage begins at
the edge of a block, runs to the right end, and goes on one row of blocks lower at the left.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import MissingExtraError

JPEG_START = b"\xff\xd8"
LOSSES = ("Corrupt JPEG data", "Premature end of JPEG file", "Inconsistent progression")
"""How the decoder's warnings of lost data begin; others speak of unusual but whole files."""
FLAT_ROWS = 8
"""Neighbouring rows of pixels that make a flat band: one row of the smallest blocks."""
FLAT_SPREAD = 2
"""Levels (0..255) between the darkest and the lightest pixel of a row that is flat."""
DARKEST, LIGHTEST = 5, 250
"""Levels (0..255) up to and from which a flat row is a black border or an overexposed slide."""
LEAST_JUMP = (2.8, 1.6, 1.6)
"""Levels (0..255) of brightness, blueness and redness by which blocks differ from those above."""
LEAST_AGREEING = 0.75
"""Share of a row of blocks that jumps in the same direction."""
LEAST_ROW_MISMATCH = {8: 3.0, 16: 1.2}
LEAST_COLUMN_MISMATCH = {8: 3.0, 16: 1.6}
"""By side of a block in pixels: mismatches of a seam (see `_borders`), summed and divided by the
square root of their number. Small blocks have more noise; columns are searched at every length."""
MISMATCH_LIMITS = (-1.0, 1.5)
"""What one block may add to the mismatch, in natural logarithms."""
LEAST_BLOCKS = 8
"""Blocks that a picture needs on each side before its seams are judged."""
SHORTEST_SEAM = 3
"""Blocks that a seam between two columns needs."""

TO_PLANES = np.array(
    [[0.299, -0.169, 0.5], [0.587, -0.331, -0.419], [0.114, 0.5, -0.081]], dtype=np.float32
)
"""Red, green and blue to the brightness, blueness and redness that a JPEG stores."""

Planes = NDArray[np.float32]
"""(H, W, 3): brightness 0..255, blueness and redness -128..128."""
PerBlock = NDArray[np.floating[Any]]


def find_damage(content: bytes, pixels: NDArray[np.uint8]) -> str | None:
    """Say what is broken in a picture that decodes, or None.

    `content` are the file's bytes, `pixels` (H, W, 3) RGB, 0..255, as Pillow decoded them.

    Raises:
        MissingExtraError: the file is a JPEG and simplejpeg is not installed.
    """
    return _in_stream(content) or _in_picture(pixels.astype(np.float32) @ TO_PLANES)


def _in_stream(content: bytes) -> str | None:
    """Give the decoder's warning of lost data in a JPEG."""
    if not content.startswith(JPEG_START):
        return None
    try:
        import simplejpeg
    except ImportError:
        raise MissingExtraError(
            "the search for damaged pictures needs simplejpeg; install it with: "
            "pip install 'marrowscope[data]'"
        ) from None
    try:
        simplejpeg.decode_jpeg(content, strict=True)
    except ValueError as error:
        if str(error).startswith(LOSSES):
            return f"the decoder lost data ({error})"
    return None


def _in_picture(planes: Planes) -> str | None:
    """Say what shows, whatever became of the file since."""
    seams = (seam for side in LEAST_ROW_MISMATCH for seam in _seams(planes, side))
    return _flat_band(planes) or next(seams, None)


def _flat_band(planes: Planes) -> str | None:
    """Find rows of one colour that is neither black nor white."""
    first = planes[:, :1]
    flat = np.abs(planes - first).reshape(len(planes), -1).max(axis=1) <= FLAT_SPREAD
    flat &= (first[:, 0, 0] > DARKEST) & (first[:, 0, 0] < LIGHTEST)
    full = np.nonzero(_runs(flat, FLAT_ROWS) == FLAT_ROWS)[0]
    if not len(full):
        return None
    return f"a flat band without any detail lies at row {full[0]}"


def _seams(planes: Planes, side: int) -> Iterator[str]:
    """Say where seams run along blocks of `side` pixels."""
    if min(planes.shape[:2]) < LEAST_BLOCKS * side:
        return
    jump, mismatch = _borders(planes, side)
    yield from _jumps(jump, side)
    yield from _row_seam(mismatch, side)
    _, mismatch = _borders(planes.transpose(1, 0, 2), side)
    yield from _column_seam(mismatch, side)


def _jumps(jump: PerBlock, side: int) -> Iterator[str]:
    """Find a row of blocks that are lighter, darker or of other colour than those above."""
    across = jump.shape[1]
    for sign in (1, -1):
        agreeing = _runs((sign * jump > LEAST_JUMP).reshape(-1, 3), across).max(axis=1)
        if agreeing.max() >= LEAST_AGREEING * across:
            yield f"brightness or colour jumps from {_place(agreeing, across, side)} on"


def _row_seam(mismatch: PerBlock, side: int) -> Iterator[str]:
    """Find a row of blocks that do not continue those above."""
    across = mismatch.shape[1]
    rows = _runs(mismatch.ravel(), across) / np.sqrt(across)
    if rows.max() > LEAST_ROW_MISMATCH[side]:
        yield f"blocks do not continue those above from {_place(rows, across, side)} on"


def _column_seam(mismatch: PerBlock, side: int) -> Iterator[str]:
    """Find a column (C, R) of which the lower blocks do not continue those on the left."""
    lengths = np.sqrt(np.arange(1, mismatch.shape[1] + 1))
    ends = (np.cumsum(mismatch[:, ::-1], axis=1) / lengths)[:, SHORTEST_SEAM - 1 :].max(axis=1)
    if ends.max() > LEAST_COLUMN_MISMATCH[side]:
        column = (int(ends.argmax()) + 1) * side
        yield f"its lower part does not fit together left and right of column {column}"


def _borders(planes: Planes, side: int) -> tuple[PerBlock, PerBlock]:
    """Measure the border between each block and the one above, (R, C, 3) and (R, C).

    First the jump in levels beyond what the slopes on both sides explain; then the mismatch: the
    logarithm of the difference across the border over that beside it, above the picture's median.
    """
    rows, across = np.arange(side, len(planes) - 1, side), planes.shape[1] // side
    lines = [planes[rows + k, : across * side].reshape(-1, side * 3) for k in (-2, -1, 0, 1)]
    above, over, below = (after - before for before, after in pairwise(lines))
    jump = (over - (above + below) / 2) @ np.tile(np.eye(3, dtype=np.float32), (side, 1)) / side
    crossing, beside = np.abs(over), (np.abs(above) + np.abs(below)) / 2
    mean = np.full(side * 3, 1 / (side * 3), dtype=np.float32)
    ratio = np.log((crossing @ mean + 1) / (beside @ mean + 1)).reshape(len(rows), across)
    return jump.reshape(len(rows), across, 3), np.clip(ratio - np.median(ratio), *MISMATCH_LIMITS)


def _runs(values: NDArray[np.generic], length: int) -> NDArray[np.float64]:
    """Sum every `length` neighbours along the first axis."""
    sums = np.cumsum(values, axis=0, dtype=np.float64)
    sums[length:] -= sums[:-length].copy()
    return sums[length - 1 :]


def _place(runs: NDArray[np.float64], across: int, side: int) -> str:
    """Say at which pixel the strongest run of blocks begins; the first row has none above."""
    row, column = divmod(int(runs.argmax()), across)
    return f"row {(row + 1) * side}, column {column * side}"
