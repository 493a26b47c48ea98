"""Arrays kept in a file beside a model; what is read is never executed."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BundleError
from marrowscope.io.tables import whole_file

LARGEST_BYTES = 256 * 2**20
"""Of all arrays of a file, unpacked; those of the shipped bundle have 3 MiB."""


def write_arrays(file: Path, **arrays: NDArray[Any]) -> Path:
    """Write arrays by their names; the file changes as a whole or not at all."""
    with whole_file(file) as partial, partial.open("wb") as content:
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]  # none is named allow_pickle
    return file


def read_arrays(
    file: Path, names: Sequence[str], what: str, otherwise: str
) -> tuple[NDArray[Any], ...]:
    """Read arrays by their names; `what` they are and what to do `otherwise` go into the error.

    Raises:
        BundleError: the file cannot be read, lacks one, or unpacks to more than 256 MiB.
    """
    try:
        _check_size(file)
        with np.load(file, allow_pickle=False) as content:
            return tuple(_array(content[name], name) for name in names)
    except Exception as error:  # noqa: BLE001 - damage shows in many types, of zlib and zipfile too
        raise BundleError(f"{file} cannot be read as {what} ({error}); {otherwise}") from None


def _check_size(file: Path) -> None:
    """Refuse an archive by what it claims; more than it claims is never unpacked.

    Raises:
        ValueError: it claims too much.
    """
    with zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > LARGEST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, {LARGEST_BYTES:,} are allowed")


def _array(value: object, name: str) -> NDArray[Any]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} is no array")
    return value
