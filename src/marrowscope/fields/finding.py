"""Find the cells of many fields, and write what was found into one folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrowscope.errors import FieldError
from marrowscope.fields.boxes import BOXES, Box, read_boxes, write_boxes
from marrowscope.fields.crop_files import CROPS, write_crops
from marrowscope.fields.drawn import draw_found
from marrowscope.fields.field import Field, file_of, open_field
from marrowscope.fields.find import Found as FoundCells
from marrowscope.fields.find import find_cells
from marrowscope.fields.finder import Finder
from marrowscope.fields.flags import FLAGS
from marrowscope.fields.looked import Looked
from marrowscope.fields.outlines import write_outlines
from marrowscope.files.hashes import file_hash
from marrowscope.files.results import REJECT_HEADER, REJECTS, csv_file, prepare_folder, write_json
from marrowscope.records import Found, Reject

FIELDS, SUMMARY = "fields.csv", "find.json"
HEADER = ("file", "width", "height", "um_per_px", "scale", "cells", "flags", "outlines", "picture")
OUTLINES, PICTURES = "outlines", "pictures"


@dataclass(frozen=True)
class FieldRead:
    """One field and what was found on it."""

    file: str
    width: int
    """In pixels."""
    height: int
    """In pixels."""
    um_per_px: float | None
    """None where it is not known."""
    scale: str
    """Where it comes from: given, red cells, unknown."""
    cells: int
    flags: tuple[str, ...]
    """Codes of `FLAGS`."""
    name: str
    """Of its outlines and picture, without the ending."""


@dataclass(frozen=True)
class Finding:
    """What was found on all fields, and the folder that holds it."""

    folder: Path
    fields: tuple[FieldRead, ...]
    rejects: tuple[Reject, ...]

    @property
    def cells(self) -> int:
        """Number of nucleated cells on all fields."""
        return sum(each.cells for each in self.fields)

    @property
    def flagged(self) -> tuple[FieldRead, ...]:
        """Fields out of the plain range."""
        return tuple(each for each in self.fields if each.flags)

    def as_dict(self) -> dict[str, Any]:
        """Give the outcome for machines."""
        return {
            "folder": str(self.folder),
            "fields": len(self.fields),
            "cells": self.cells,
            "flagged": {each.file: list(each.flags) for each in self.flagged},
            "flags": {code: FLAGS[code] for each in self.flagged for code in each.flags},
            "rejected": len(self.rejects),
            "use": "research use only; boxes for a person to review, not a diagnosis",
        }


def find_on_fields(
    found: Iterable[Found],
    folder: Path,
    finder: Finder,
    *,
    overwrite: bool = False,
    each: Callable[[], object] = lambda: None,
) -> Finding:
    """Find the cells of fields and write boxes, outlines and pictures; `each` is called for each.

    Raises:
        OutputError: the folder holds something and must not be overwritten.
        MissingExtraError: a field is a slide, and the extra `slides` is not installed.
    """
    prepare_folder(folder, overwrite)
    for name in (OUTLINES, PICTURES):
        (folder / name).mkdir(exist_ok=True)
    boxes: dict[str, tuple[Box, ...]] = {}
    fields: list[FieldRead] = []
    rejects: list[Reject] = []
    for item in found:
        if isinstance(item, Reject):
            rejects.append(item)
        else:
            try:
                file = file_of(item.path)
                field = open_field(file)
                cells = find_cells(field, item.um_per_px, finder)
                read = _kept(file, field, cells, folder, len(fields))
            except FieldError as error:
                rejects.append(Reject(str(item.path), str(error).removeprefix(f"{item.path}: ")))
            else:
                boxes[read.file] = cells.boxes
                fields.append(read)
        each()
    finding = Finding(folder, tuple(fields), tuple(rejects))
    write_boxes(folder / BOXES, boxes)
    _write_tables(finding)
    return finding


def write_all_crops(finding: Finding) -> int:
    """Write the cells of all fields whose scale is known as PNGs into `crops`; give how many.

    Each field has a folder of its own there, called as its outlines are.

    Raises:
        FieldError: a field cannot be read any more.
    """
    boxes = read_boxes(finding.folder / BOXES)
    written = 0
    for read in finding.fields:
        if read.um_per_px is not None:
            some = boxes.get(read.file, ())
            size = (read.width, read.height, read.um_per_px, read.scale)
            sha256 = file_hash(Path(read.file))
            looked = Looked(read.file, sha256, *size, read.flags, read.cells, some)
            written += len(write_crops(looked, finding.folder / CROPS / read.name))
    return written


def _kept(path: Path, field: Field, cells: FoundCells, folder: Path, place: int) -> FieldRead:
    """Write outlines and picture of a field; its place in the run keeps equal names apart."""
    name = f"{place + 1:04d}-{path.stem}"
    write_outlines(folder / OUTLINES / f"{name}.geojson", cells.boxes, cells.outlines)
    draw_found(field, cells.boxes, cells.outlines, folder / PICTURES / f"{name}.jpg")
    return FieldRead(
        str(path),
        field.width,
        field.height,
        cells.um_per_px,
        cells.scale,
        len(cells.boxes),
        cells.flags,
        name,
    )


def _write_tables(finding: Finding) -> None:
    with csv_file(finding.folder / FIELDS, HEADER) as rows:
        for read in finding.fields:
            rows.writerow(_row(read))
    with csv_file(finding.folder / REJECTS, REJECT_HEADER) as rows:
        for reject in finding.rejects:
            rows.writerow((reject.path, reject.reason))
    write_json(finding.folder / SUMMARY, finding.as_dict())


def _row(read: FieldRead) -> tuple[str, ...]:
    return (
        read.file,
        str(read.width),
        str(read.height),
        "" if read.um_per_px is None else f"{read.um_per_px:.4f}",
        read.scale,
        str(read.cells),
        "; ".join(read.flags),
        f"{OUTLINES}/{read.name}.geojson",
        f"{PICTURES}/{read.name}.jpg",
    )
