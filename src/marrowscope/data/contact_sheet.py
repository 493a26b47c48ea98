"""Show labelled cells: the census of the classes as a chart, and a contact sheet of each."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marrowscope import __version__
from marrowscope.data.manifest import Manifest
from marrowscope.errors import ImageError
from marrowscope.io.images import read_image
from marrowscope.io.tables import write_text
from marrowscope.locations import Location, within
from marrowscope.rendering import render, thumbnail
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Cell

THUMBNAIL_PIXELS = 128

Census = dict[str, dict[str, int]]
"""Cells by class code and source; classes in the order of the differential."""


@dataclass(frozen=True)
class Sheet:
    """Some cells of one class of one source; a picture without data cannot be read."""

    source: str
    cells: int
    pictures: list[tuple[str, str]]
    """Path, and the picture as base64 text."""


def show(manifest: Manifest, file: Path, *, per_class: int = 12, seed: int = 0) -> Census:
    """Write a page with the census and some random cells of each class of each source.

    There are at most `per_class` of each. The census is given too.

    Raises:
        MissingExtraError: a cell lies in a Parquet file or a store, and its library is not there.
    """
    members: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in manifest.cells:
        members[cell.label][cell.source or "unnamed"].append(cell)
    choice = random.Random(seed)
    sheets = {
        code: [
            _sheet(manifest.root, source, cells, per_class, choice)
            for source, cells in sorted(members[code].items())
        ]
        for code in CLASSES
        if code in members
    }
    census = {
        code: {sheet.source: sheet.cells for sheet in sheets_of_code}
        for code, sheets_of_code in sheets.items()
    }
    sources = Counter(cell.source or "unnamed" for cell in manifest.cells)
    text = render(
        "census.html.j2",
        census=census,
        sheets=sheets,
        sources=dict(sorted(sources.items())),
        classes=CLASSES,
        cells=len(manifest.cells),
        rejected=len(manifest.rejects),
        largest=max(sum(counts.values()) for counts in census.values()),
        version=__version__,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
    return census


def _sheet(
    root: Path, source: str, cells: Sequence[Cell], limit: int, choice: random.Random
) -> Sheet:
    chosen = choice.sample(cells, min(limit, len(cells)))
    return Sheet(
        source, len(cells), [(cell.path, _picture(within(root, cell.path))) for cell in chosen]
    )


def _picture(file: Location) -> str:
    try:
        return thumbnail(read_image(file), THUMBNAIL_PIXELS)
    except ImageError:
        return ""
