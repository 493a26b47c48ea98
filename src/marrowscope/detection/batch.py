"""Find the cells of many fields, and write what was found into one folder."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrowscope.detection.boxes import BOXES, write_boxes
from marrowscope.detection.crop_files import CROPS, write_crops
from marrowscope.detection.detect import Found as FoundCells
from marrowscope.detection.detect import find_cells
from marrowscope.detection.detector import Finder
from marrowscope.detection.field import Field, file_of, open_field
from marrowscope.detection.overlay import draw_found
from marrowscope.detection.quality import FLAGS
from marrowscope.detection.results import COLUMNS, FIELDS, Looked, looked_of, row_of
from marrowscope.detection.segmentation import write_outlines
from marrowscope.errors import FieldError
from marrowscope.io.tables import REJECT_HEADER, REJECTS, csv_file, prepare_folder, write_json
from marrowscope.types import Found, Reject

SUMMARY = "find.json"
OUTLINES, PICTURES = "outlines", "pictures"
HEADER = (*COLUMNS, "outlines", "picture")
"""Of `fields.csv`: what every such table has, and the files drawn here."""


@dataclass(frozen=True)
class Finding:
    """What was found on all fields, and the folder that holds it."""

    folder: Path
    fields: tuple[Looked, ...]
    rejects: tuple[Reject, ...]

    @property
    def cells(self) -> int:
        """Number of nucleated cells on all fields."""
        return sum(field.cells for field in self.fields)

    @property
    def flagged(self) -> tuple[Looked, ...]:
        """Fields out of the plain range."""
        return tuple(field for field in self.fields if field.flags)

    def as_dict(self) -> dict[str, Any]:
        """Give the outcome for machines."""
        return {
            "folder": str(self.folder),
            "fields": len(self.fields),
            "cells": self.cells,
            "flagged": {field.file: list(field.flags) for field in self.flagged},
            "flags": {code: FLAGS[code] for field in self.flagged for code in field.flags},
            "rejected": len(self.rejects),
            "use": "research use only; boxes for a person to review, not a diagnosis",
        }


def find_on_fields(
    inputs: Iterable[Found],
    folder: Path,
    finder: Finder,
    *,
    overwrite: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> Finding:
    """Find the cells of fields, write boxes, outlines and pictures; `advance` is called for each.

    Raises:
        OutputError: the folder holds something and must not be overwritten.
        MissingExtraError: a field is large or a slide, and the extra `slides` is not installed.
    """
    prepare_folder(folder, overwrite)
    for name in (OUTLINES, PICTURES):
        (folder / name).mkdir(exist_ok=True)
    fields: list[Looked] = []
    rejects: list[Reject] = []
    for item in inputs:
        if isinstance(item, Reject):
            rejects.append(item)
        else:
            try:
                file = file_of(item.path)
                field = open_field(file)
                cells = find_cells(field, item.um_per_px, finder)
                read = looked_of(file, field, cells, item.um_per_px)
                _draw(field, cells, *_files(folder, len(fields), read))
            except FieldError as error:
                rejects.append(Reject(str(item.path), str(error).removeprefix(f"{item.path}: ")))
            else:
                fields.append(read)
        advance()
    finding = Finding(folder, tuple(fields), tuple(rejects))
    write_boxes(folder / BOXES, {read.file: read.boxes for read in fields})
    _write_tables(finding)
    return finding


def write_all_crops(finding: Finding) -> int:
    """Write the cells of all fields whose scale is known as PNGs into `crops`; give how many.

    Each field has a folder of its own there, called as its outlines are.

    Raises:
        FieldError: a field cannot be read any more.
        MissingExtraError: one is large or a slide, and the extra `slides` is not installed.
    """
    crops = finding.folder / CROPS
    return sum(
        len(write_crops(read, crops / _name(place, read)))
        for place, read in enumerate(finding.fields)
        if read.um_per_px is not None
    )


def _name(place: int, read: Looked) -> str:
    """Name the files of a field; its place in the run keeps equal names apart."""
    return f"{place + 1:04d}-{Path(read.file).stem}"


def _files(folder: Path, place: int, read: Looked) -> tuple[Path, Path]:
    name = _name(place, read)
    return folder / OUTLINES / f"{name}.geojson", folder / PICTURES / f"{name}.jpg"


def _draw(field: Field, cells: FoundCells, outlines: Path, picture: Path) -> None:
    write_outlines(outlines, cells.boxes, cells.outlines)
    draw_found(field, cells.boxes, cells.outlines, picture)


def _write_tables(finding: Finding) -> None:
    with csv_file(finding.folder / FIELDS, HEADER) as rows:
        for place, read in enumerate(finding.fields):
            drawn = _files(Path(), place, read)
            rows.writerow((*row_of(read), *(file.as_posix() for file in drawn)))
    with csv_file(finding.folder / REJECTS, REJECT_HEADER) as rows:
        for reject in finding.rejects:
            rows.writerow((reject.path, reject.reason))
    write_json(finding.folder / SUMMARY, finding.as_dict())
