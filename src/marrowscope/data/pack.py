"""Pack cells: decoded and resized once into one memory-mapped file, for training."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from marrowscope.data.append_store import GrowingFiles, map_array, read_journal
from marrowscope.data.manifest import Manifest
from marrowscope.data.parallel import spread
from marrowscope.errors import ImageError, PackError
from marrowscope.io.images import read_image
from marrowscope.io.tables import REJECT_HEADER, csv_file, reject_row, write_json
from marrowscope.locations import within
from marrowscope.model.preprocess import Preprocessing
from marrowscope.types import Cell, Reject

PIXELS, INDEX, REJECTS, SEAL = "pixels", "index", "rejects.csv", "pack.json"
CELLS_AT_ONCE = 64
"""Cells that a process decodes before they are written."""


@dataclass(frozen=True)
class Pack:
    """Cells ready for training; the pixels are mapped from the disk and read as they are used."""

    folder: Path
    pixels: NDArray[np.uint8]
    """(N, 3, S, S): the cells as `Preprocessing.resize` gives them."""
    row_of: dict[str, int]
    """Row of each cell, by the SHA-256 of its content."""
    size: int
    resample: str
    field_um: float
    rejects: tuple[Reject, ...]

    def __reduce__(self) -> tuple[Callable[[Path], "Pack"], tuple[Path]]:
        """Travel to another process as the folder's name, not as its pixels."""
        return open_pack, (self.folder,)

    def rows(self, cells: Sequence[Cell], preprocessing: Preprocessing) -> list[int]:
        """Give the rows of some cells.

        Raises:
            PackError: cells are not in the pack, or it was made for another preprocessing.
        """
        needed, packed = _words(preprocessing), _words(self)
        if needed != packed:
            raise PackError(
                f"{self.folder}: its cells are {packed}, the training asks for {needed}; "
                "pack them again"
            )
        lost = [cell.path for cell in cells if cell.sha256 not in self.row_of]
        if lost:
            raise PackError(
                f"{self.folder}: {len(lost)} of {len(cells)} cells are not in it (the first: "
                f"{lost[0]}); pack the data that is trained on, or leave out what cannot be read"
            )
        return [self.row_of[cell.sha256] for cell in cells]


def _words(like: "Preprocessing | Pack") -> str:
    """Say how cells are resized."""
    field = f"{like.field_um:g} micrometres" if like.field_um else "the whole picture"
    return f"{like.size} pixels wide ({like.resample}, {field})"


def pack(
    manifest: Manifest,
    folder: Path,
    preprocessing: Preprocessing,
    *,
    workers: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Pack:
    """Decode all cells of a manifest into `folder`, each content once; go on with what is there.

    That is done by `workers` processes (0: one a core). Cells that cannot be read become rejects,
    listed in `rejects.csv`. `advance` is called for every content.

    Raises:
        MissingExtraError: a cell lies in a Parquet file or a store, and its library is not there.
    """
    cells = list({cell.sha256: cell for cell in manifest.cells}.values())
    key = _key(preprocessing, cells)
    store = GrowingFiles(folder, key, (PIXELS, INDEX))
    if store.items < len(cells):
        (folder / SEAL).unlink(missing_ok=True)
    for _ in range(store.items):
        advance()
    chunks = [
        cells[start : start + CELLS_AT_ONCE]
        for start in range(store.items, len(cells), CELLS_AT_ONCE)
    ]
    decode = partial(_decode, manifest.root, preprocessing)
    for chunk, (pixels, lines) in zip(chunks, spread(decode, chunks, workers), strict=True):
        store.append(len(chunk), {PIXELS: pixels, INDEX: lines})
        for _ in chunk:
            advance()
    _seal(folder, preprocessing, len(cells))
    return open_pack(folder)


def _key(preprocessing: Preprocessing, cells: Sequence[Cell]) -> str:
    """Give a hash of all that the pixels depend on."""
    lines = [_words(preprocessing), *(f"{cell.sha256} {cell.um_per_px}" for cell in cells)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _decode(root: Path, preprocessing: Preprocessing, cells: Sequence[Cell]) -> tuple[bytes, bytes]:
    """Decode some cells: their pixels, and a line of JSON for each cell."""
    pixels, lines = [], []
    for cell in cells:
        reason = ""
        try:
            picture = read_image(within(root, cell.path))
            pixels.append(preprocessing.resize(picture, cell.um_per_px).tobytes())
        except ImageError as error:
            reason = str(error)
        lines.append(json.dumps([cell.sha256, cell.path, reason]) + "\n")
    return b"".join(pixels), "".join(lines).encode()


def _seal(folder: Path, preprocessing: Preprocessing, cells: int) -> None:
    """Write the list of rejects, then the file that says that the pack is whole."""
    with csv_file(folder / REJECTS, REJECT_HEADER) as rejected:
        for _, path, reason in _index(folder):
            if reason:
                rejected.writerow(reject_row(Reject(path, reason)))
    values = {"cells": cells, "size": preprocessing.size, "resample": preprocessing.resample}
    write_json(folder / SEAL, values | {"field_um": preprocessing.field_um})


def _index(folder: Path) -> list[tuple[str, str, str]]:
    lines = (folder / INDEX).read_text(encoding="utf-8").splitlines()
    return [tuple(json.loads(line)) for line in lines]


def _not_whole(folder: Path, why: str) -> PackError:
    return PackError(
        f"{folder}: no whole pack there ({why}); `marrowscope data pack` makes one or goes on "
        "with it"
    )


def open_pack(folder: Path) -> Pack:
    """Open a pack.

    Raises:
        PackError: it is not there, not whole, or its files have other lengths than they had.
    """
    try:
        seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        side, resample, cells = int(seal["size"]), str(seal["resample"]), int(seal["cells"])
        field_um = float(seal["field_um"])
        sizes = {name: (folder / name).stat().st_size for name in (PIXELS, INDEX)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _not_whole(folder, str(error)) from None
    journal = read_journal(folder)
    if journal is None or (sizes, cells) != (journal["bytes"], journal["items"]):
        raise _not_whole(folder, "its files are not as long as they were when it was made")
    index = _index(folder)
    packed = (sha256 for sha256, _, reason in index if not reason)
    return Pack(
        folder,
        map_array(folder / PIXELS, np.uint8, (3, side, side)),
        {sha256: row for row, sha256 in enumerate(packed)},
        side,
        resample,
        field_um,
        tuple(Reject(path, reason) for _, path, reason in index if reason),
    )
