"""Find the files that a person means by files, folders and patterns."""

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path

from marrowscope.contents import is_left_by_systems
from marrowscope.records import Found, Picture, Reject


def find_files(inputs: Iterable[str], um_per_px: float | None = None) -> Iterator[Found]:
    """Give the pictures behind the inputs, each once, folders in sorted order at any depth.

    An input that leads to no file comes back as a reject. Hidden files (a name that starts with a
    dot) and what operating systems leave in folders (`Thumbs.db`, `desktop.ini`) are no input.
    """
    seen: set[Path] = set()
    for given in inputs:
        files = _files_of(given)
        if isinstance(files, Reject):
            yield files
            continue
        for file in files:
            identity = file.resolve()
            if identity not in seen:
                seen.add(identity)
                yield Picture(file, um_per_px)


def _files_of(given: str) -> list[Path] | Reject:
    path = Path(given)
    if path.is_dir():
        files = _inside(path)
        return files or Reject(given, "the folder holds no files")
    if path.exists():
        return [path]
    if glob.has_magic(given):
        matches = sorted(map(Path, glob.glob(given, recursive=True)))  # noqa: PTH207
        files = [
            file for match in matches for file in (_inside(match) if match.is_dir() else [match])
        ]
        return files or Reject(given, "no file matches this pattern")
    return Reject(given, "no such file or folder")


def _inside(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file()
        and not any(is_left_by_systems(part) for part in file.relative_to(folder).parts)
    )
