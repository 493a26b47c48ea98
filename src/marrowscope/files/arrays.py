"""Arrays kept in a file beside a model; what is read is never executed."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import BundleError
from marrowscope.files.results import whole_file


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
        BundleError: the file cannot be read, or lacks one.
    """
    try:
        with np.load(file, allow_pickle=False) as content:
            return tuple(content[name] for name in names)
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{file} cannot be read as {what} ({error}); {otherwise}") from None
