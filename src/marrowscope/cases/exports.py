"""The report on a case for machines: `differential.csv`, `differential.json`, `cells.csv`."""

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from marrowscope import __version__
from marrowscope.cases.classify_case import CaseCell, Reading
from marrowscope.cases.report_content import Sheet
from marrowscope.differential.count import DifferentialRow
from marrowscope.io.tables import DECIMALS, PLACE, csv_file, place_row, set_in_words, write_json
from marrowscope.locations import is_url
from marrowscope.taxonomy import Range
from marrowscope.types import Place

FORMAT = 1
"""Of `differential.json`."""
SHARES = (
    *("code", "name", "lineage", "counted", "cells", "percent", "low", "high"),
    *("usual_low", "usual_high", "standing"),
)
CELLS = (
    *("path", "slide", "label", "fate", "machine_label", "machine_probability", "set", "novelty"),
    *("reviewer", "time", "reason"),
)


def write_shares(sheet: Sheet, file: Path) -> None:
    """Write `differential.csv`: a row for each class, percentages of the nucleated cells.

    Classes that are not part of the differential come last, without percentages.
    """
    with csv_file(file, SHARES) as table:
        for row in sheet.differential.rows:
            table.writerow(_share(row))
        for share in sheet.differential.excluded:
            table.writerow([share.code, share.name, "none", "no", str(share.cells), *[""] * 6])


def _share(row: DifferentialRow) -> list[str]:
    numbers = (f"{value:.4f}" for value in (row.percent, row.low, row.high))
    return [
        *(row.code, row.name, row.lineage, "yes", str(row.cells)),
        *numbers,
        *_range(row.reference),
        row.standing,
    ]


def _range(usual: Range | None) -> tuple[str, str]:
    return ("", "") if usual is None else (f"{usual[0]:g}", f"{usual[1]:g}")


def write_summary(sheet: Sheet, file: Path) -> None:
    """Write `differential.json`."""
    write_json(file, summary(sheet))


def summary(sheet: Sheet) -> dict[str, Any]:
    """Give the report for machines: case, counts, what was set aside and decided, model."""
    reading = sheet.reading
    return {
        "format": FORMAT,
        "marrowscope": __version__,
        "case": _case(reading),
        "bundle": reading.bundle.identity,
        "engine": reading.engine,
        "cells": len(reading.cells),
        "rejected": len(reading.rejects),
        "reviewed": _reviewed(reading),
        "set_aside": reading.tally.set_aside,
        "novel_counted": reading.tally.keep_novel,
        "review": reading.review.as_dict() if reading.review else None,
        "differential": asdict(reading.differential),
        "adjusted": asdict(reading.adjusted) if reading.adjusted else None,
        "caveats": list(sheet.caveats),
        "warning": reading.bundle.evaluation_in_words,
        "use": "research use only; figures, not a diagnosis",
    }


def _case(reading: Reading) -> dict[str, Any]:
    case = reading.case
    return {
        "id": case.id,
        "date": case.date or None,
        "material": case.material or None,
        "slides": [
            {
                "name": slide.name,
                "stain": slide.stain or None,
                "um_per_px": slide.um_per_px,
                "cells": sum(cell.slide == slide.name for cell in reading.cells),
                **_fields(reading, slide.name),
            }
            for slide in case.slides
        ],
    }


def _fields(reading: Reading, slide: str) -> dict[str, Any]:
    """Say what became of the fields of a slide, if it has any."""
    fields = reading.fields.get(slide)
    return {"fields": fields.as_dict()} if fields else {}


def _reviewed(reading: Reading) -> dict[str, Any]:
    decisions = [cell.decision for cell in reading.cells if cell.decision]
    return {
        "cells": len(decisions),
        "changed": sum(
            cell.machine.label != cell.decision.label for cell in reading.cells if cell.decision
        ),
        "reviewers": sorted({decision.reviewer for decision in decisions}),
        "overruled": len(reading.decisions.overruled),
        "not_in_the_case": [stray.path for stray in reading.strays],
    }


def write_cells(sheet: Sheet, file: Path) -> None:
    """Write `cells.csv`: every cell, whose label counts and what became of it; then the rejects.

    Paths are from the folder of the case, as in `reviews.csv`. Where slides have fields, the last
    columns say where on its field each cell lies.
    """
    reading = sheet.reading
    with_places = any(slide.fields for slide in reading.case.slides)
    with csv_file(file, (*CELLS, *PLACE) if with_places else CELLS) as table:
        for row, place in _rows(reading):
            table.writerow([*row, *_place(reading.case.root, place)] if with_places else row)


def _rows(reading: Reading) -> Iterator[tuple[list[str], Place | None]]:
    root = reading.case.root
    for cell in reading.cells:
        row = [_from(root, cell.machine.path), cell.slide, *_cell(cell), ""]
        yield row, cell.machine.place
    for reject in reading.rejects:
        path, reason = _from(root, reject.reject.path), reject.reject.reason
        yield [path, reject.slide, "", "rejected", *[""] * 6, reason], None


def _place(root: Path, place: Place | None) -> list[str]:
    if place is None:
        return [""] * len(PLACE)
    return place_row(replace(place, field=_from(root, place.field)))


def _cell(cell: CaseCell) -> list[str]:
    machine, decision = cell.machine, cell.decision
    return [
        cell.reading.label,
        cell.fate.value,
        machine.label,
        f"{machine.probability:.{DECIMALS}f}",
        "" if machine.set is None else set_in_words(machine.set),
        "" if math.isnan(machine.novelty) else f"{machine.novelty:.{DECIMALS}f}",
        decision.reviewer if decision else "",
        decision.time.isoformat() if decision else "",
    ]


def _from(root: Path, path: str) -> str:
    """Name a file from the folder of the case where it lies in it."""
    if is_url(path):
        return path
    try:
        return Path(os.path.abspath(path)).relative_to(os.path.abspath(root)).as_posix()  # noqa: PTH100 - links stay as they are
    except ValueError:
        return path
