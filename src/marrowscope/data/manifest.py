"""Read labelled cells from a CSV manifest or from class folders."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from marrowscope.errors import ManifestError, UnknownClassError
from marrowscope.labels import class_of_name
from marrowscope.records import Cell, Reject

SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
REQUIRED_COLUMNS = ("path", "label")

Row = dict[str, str] | Reject
"""What a source says of one cell, or why it says nothing."""


@dataclass(frozen=True)
class Manifest:
    """Labelled cells below one root folder, and the files that could not become one."""

    root: Path
    cells: tuple[Cell, ...]
    rejects: tuple[Reject, ...]


def read_manifest(source: Path) -> Manifest:
    """Read a CSV manifest (`path,label`, optional `source,sha256,patient`) or class folders.

    Class folders are named by class code or by a prefix of the Barcelona set; a picture may lie
    at any depth below one. Every file is hashed; one whose content is not what the manifest says
    becomes a reject.

    Raises:
        ManifestError: nothing is there, a column is missing or no cell could be read.
    """
    if source.is_dir():
        root, rows = source, _folder_rows(source)
    elif source.is_file():
        root, rows = source.parent, _csv_rows(source)
    else:
        raise ManifestError(f"{source}: no such file or folder; give a CSV manifest or a folder")
    cells: list[Cell] = []
    rejects: list[Reject] = []
    for row in rows:
        found = _to_cell(root, row)
        if isinstance(found, Cell):
            cells.append(found)
        else:
            rejects.append(found)
    if not cells:
        why = f"; the first of {len(rejects)} rejects: {rejects[0].reason}" if rejects else ""
        raise ManifestError(
            f"{source}: no labelled cell found; a folder needs one folder for each class, "
            f"a CSV the columns {', '.join(REQUIRED_COLUMNS)}{why}"
        )
    return Manifest(root, tuple(cells), tuple(rejects))


def _folder_rows(root: Path) -> Iterator[Row]:
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        relative = path.relative_to(root)
        if len(relative.parts) == 1:
            yield Reject(relative.as_posix(), "it lies in no class folder")
        elif path.suffix.lower() not in SUFFIXES:
            yield Reject(relative.as_posix(), f"no picture by its name ({', '.join(SUFFIXES)} are)")
        else:
            source = root.resolve().name
            yield {"path": relative.as_posix(), "label": relative.parts[0], "source": source}


def _csv_rows(file: Path) -> Iterator[Row]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines)
        missing = [name for name in REQUIRED_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ManifestError(
                f"{file}: no column {' or '.join(missing)}; its first line has "
                f"{', '.join(reader.fieldnames or ()) or 'nothing'}"
            )
        for row in reader:
            yield {key: value or "" for key, value in row.items() if isinstance(key, str)}


def _to_cell(root: Path, row: Row) -> Cell | Reject:
    if isinstance(row, Reject):
        return row
    try:
        label = class_of_name(row["label"]).code
        content = (root / row["path"]).read_bytes()
    except UnknownClassError as error:
        return Reject(row["path"], str(error))
    except OSError as error:
        return Reject(row["path"], f"cannot be read: {error.strerror}")
    sha256 = hashlib.sha256(content).hexdigest()
    if row.get("sha256", sha256) not in (sha256, ""):
        return Reject(row["path"], "its content is not what the manifest's sha256 says")
    return Cell(row["path"], sha256, label, row.get("source", ""), row.get("patient", ""))
