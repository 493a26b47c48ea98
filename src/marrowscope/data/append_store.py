"""Raw files that grow together and survive a kill: what was not marked as written is cut off."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from marrowscope.io.tables import write_json

JOURNAL = "journal.json"


class GrowingFiles:
    """Arrays in a folder that get longer item by item; `items` says how many are safely there."""

    def __init__(self, folder: Path, key: str, names: Sequence[str]) -> None:
        """Open a folder to go on where it was left; clean where it belongs to another `key`.

        Clean too where its journal cannot be read, or a file is shorter than the journal says.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._journal: dict[str, Any] = {"key": key, "items": 0, "bytes": dict.fromkeys(names, 0)}
        journal = read_journal(folder)
        if journal is not None and journal["key"] == key and self._holds(journal["bytes"], names):
            self._journal = journal
        for name in names:
            with self._file(name).open("ab") as file:
                file.truncate(self._journal["bytes"][name])

    @property
    def items(self) -> int:
        """Items that are safely written."""
        return int(self._journal["items"])

    def append(self, items: int, contents: Mapping[str, bytes]) -> None:
        """Add the bytes of some items to each file; they count once all are on the disk."""
        for name, content in contents.items():
            with self._file(name).open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._journal["bytes"][name] += len(content)
        self._journal["items"] += items
        write_json(self.folder / JOURNAL, self._journal)

    def array(self, name: str, dtype: DTypeLike, row: Sequence[int] = ()) -> NDArray[Any]:
        """Map a file as an array of rows of the shape `row`; it is read from disk as it is used."""
        return map_array(self._file(name), dtype, row)

    def _file(self, name: str) -> Path:
        return self.folder / name

    def _holds(self, sizes: Mapping[str, int], names: Sequence[str]) -> bool:
        """Tell whether the files are these, each with all bytes that were marked as written."""
        return sizes.keys() == set(names) and all(
            self._file(name).is_file() and self._file(name).stat().st_size >= size
            for name, size in sizes.items()
        )


def read_journal(folder: Path) -> dict[str, Any] | None:
    """Read what a folder holds for sure; None where nothing was marked yet, or not as is done here.

    It has the `key` of the work, the number of `items`, and the `bytes` of each file.
    """
    try:
        values = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
        numbers = [values["items"], *dict(values["bytes"]).values()]
        is_whole = isinstance(values["key"], str) and all(
            isinstance(number, int) for number in numbers
        )
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return values if is_whole and min(numbers) >= 0 else None


def map_array(file: Path, dtype: DTypeLike, row: Sequence[int] = ()) -> NDArray[Any]:
    """Map a raw file as an array (N, *row), read-only; an empty file gives no rows."""
    if file.stat().st_size == 0:
        return np.empty((0, *row), dtype=dtype)
    return np.memmap(file, dtype=dtype, mode="r").reshape(-1, *row)
