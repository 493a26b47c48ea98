"""Count classified cells into a differential over the nucleated cells."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marrowscope.differential.me_ratio import ICSH, Formula, Ratio, me_ratio
from marrowscope.differential.reference_ranges import ADULT_MARROW, Norms
from marrowscope.differential.thresholds import WATCHED, Finding, find
from marrowscope.io.frames import data_frame
from marrowscope.metrics.classification import exact_interval
from marrowscope.taxonomy import CLASSES, Range, cell_class, in_order

ENOUGH_TO_DECIDE = 500
ENOUGH = 300
"""Nucleated cells of a differential. Source: ICSH 2008, Lee et al., Int J Lab Hematol 30:349."""


@dataclass(frozen=True)
class DifferentialRow:
    """A counted class: its cells, its percentage and the 95% limits of that (all 0..100)."""

    code: str
    name: str
    lineage: str
    cells: int
    percent: float
    low: float
    high: float
    reference: Range | None = None
    """Usual percentages, 0..100; None where the laboratory has none."""
    standing: str = ""
    """`below`, `within` or `above` the usual ones if the whole interval is, else `open`;
    empty without a range or without a counted cell."""


@dataclass(frozen=True)
class LineageRow:
    """Classes added up: their cells, their percentage and the 95% limits of that (all 0..100)."""

    lineage: str
    """Name of the lineage, or the codes of another sum that has a reference range."""
    codes: tuple[str, ...]
    """Classes that are listed and were added up."""
    cells: int
    percent: float
    low: float
    high: float
    reference: Range | None = None
    """Usual percentages, 0..100; None where the laboratory has none."""
    standing: str = ""
    """`below`, `within` or `above` the usual ones if the whole interval is, else `open`;
    empty without a range or without a counted cell."""


@dataclass(frozen=True)
class ExcludedRow:
    """A class that is not part of the nucleated differential, and its number of cells."""

    code: str
    name: str
    cells: int


@dataclass(frozen=True)
class Differential:
    """What was counted of the nucleated cells, and what a reader must bear in mind."""

    counted: int
    """Nucleated cells of the differential: all percentages are of them."""
    rows: tuple[DifferentialRow, ...]
    """Counted classes, those without cells too."""
    excluded: tuple[ExcludedRow, ...]
    """Classes that are listed but not counted."""
    notes: tuple[str, ...]
    """What a reader must bear in mind, in sentences."""
    lineages: tuple[LineageRow, ...]
    """Sums of classes."""
    ratio: Ratio
    """Myeloid to erythroid cells."""
    findings: tuple[Finding, ...]
    """Blasts and plasma cells against their thresholds."""
    reference_note: str
    """Where the reference ranges are from, and which classes have none."""

    def to_pandas(self) -> Any:
        """Give a `pandas.DataFrame` with a row a counted class; shares are in percent.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        columns = "code", "name", "lineage", "cells", "percent", "low", "high"
        rows = ({name: getattr(row, name) for name in columns} for row in self.rows)
        return data_frame(rows, columns)


def count(
    labels: Mapping[str, int],
    covered: Iterable[str] = (),
    norms: Norms = ADULT_MARROW,
    formula: Formula = ICSH,
) -> Differential:
    """Turn the number of cells of each class code into a differential.

    Classes in `covered`, those that the model knows, are listed even without cells; a note names
    the counted ones that it lacks and that have no cells. Limits are exact binomial: of 100 cells
    with 5 blasts, blasts are 5.0% with limits 1.6 and 11.3.

    Raises:
        UnknownClassError: a label or a covered code is not a known class.
    """
    classes = in_order(covered)
    cells = Counter(dict.fromkeys(classes, 0))
    cells.update(labels)
    for code in cells:
        cell_class(code)
    listed = [row for row in CLASSES.values() if row.code in cells]
    of_counted = {row.code: cells[row.code] for row in listed if row.counted}
    counted = sum(of_counted.values())
    return Differential(
        counted=counted,
        rows=tuple(_row(code, cells[code], counted, norms) for code in of_counted),
        excluded=tuple(
            ExcludedRow(row.code, row.name, cells[row.code]) for row in listed if not row.counted
        ),
        notes=(*_notes(counted, cells), *_not_known(classes, cells)),
        lineages=tuple(_lineages(of_counted, norms)),
        ratio=me_ratio(cells, formula, norms.me_ratio),
        findings=tuple(
            find(watched, cells, counted, covered=not classes or set(watched.codes) <= set(classes))
            for watched in WATCHED
        ),
        reference_note=_reference_note(of_counted, norms),
    )


def _row(code: str, cells: int, counted: int, norms: Norms) -> DifferentialRow:
    kind = CLASSES[code]
    usual = norms.range_of([code])
    percent, low, high = _share(cells, counted)
    standing = _standing(low, high, usual) if counted else ""
    return DifferentialRow(
        code, kind.name, kind.lineage, cells, percent, low, high, usual, standing
    )


def _share(cells: int, counted: int) -> tuple[float, float, float]:
    share = exact_interval(cells, counted)
    return 100 * share.value if counted else 0.0, 100 * share.low, 100 * share.high


def _standing(low: float, high: float, usual: Range | None) -> str:
    if usual is None:
        return ""
    if high < usual[0]:
        return "below"
    if low > usual[1]:
        return "above"
    return "within" if usual[0] <= low and high <= usual[1] else "open"


def _lineages(cells: Mapping[str, int], norms: Norms) -> Iterable[LineageRow]:
    """Add up lineages, then other sums that have a range; `cells` has the classes listed."""
    sums: dict[str, tuple[str, ...]] = {}
    for row in CLASSES.values():
        if row.counted:
            sums[row.lineage] = (*sums.get(row.lineage, ()), row.code)
    others = [codes for codes in norms.sums if codes not in sums.values()]
    sums |= {"+".join(codes): codes for codes in others}
    for name, codes in sums.items():
        if any(code in cells for code in codes):
            yield _sum(name, codes, cells, norms)


def _sum(name: str, codes: tuple[str, ...], cells: Mapping[str, int], norms: Norms) -> LineageRow:
    added = tuple(code for code in codes if code in cells)
    number, counted = sum(cells[code] for code in added), sum(cells.values())
    percent, low, high = _share(number, counted)
    usual = norms.range_of(codes)
    standing = _standing(low, high, usual) if counted else ""
    return LineageRow(name, added, number, percent, low, high, usual, standing)


def _reference_note(codes: Iterable[str], norms: Norms) -> str:
    without = [code for code in codes if norms.range_of([code]) is None]
    words = f"Reference ranges: {norms.source}."
    return f"{words} None for {', '.join(without)}." if without else words


def _notes(counted: int, cells: Mapping[str, int]) -> Iterable[str]:
    if counted == 0:
        yield "No nucleated cell of the differential was found: there is nothing to count."
    elif counted < ENOUGH:
        yield (
            f"Too few cells: {counted} nucleated cells were counted; ICSH 2008 asks for at least "
            f"{ENOUGH}, and for {ENOUGH_TO_DECIDE} where a percentage decides the diagnosis."
        )
    elif counted < ENOUGH_TO_DECIDE:
        yield (
            f"{counted} nucleated cells were counted: too few where a percentage decides the "
            f"diagnosis (ICSH 2008 asks for {ENOUGH_TO_DECIDE} then)."
        )
    yield from (row.caveat for code, row in CLASSES.items() if row.caveat and cells.get(code))


def _not_known(covered: Iterable[str], cells: Mapping[str, int]) -> Iterable[str]:
    """Name classes that the model cannot find; without `covered`, nothing is said."""
    without = (code for code, kind in CLASSES.items() if kind.counted and not cells.get(code))
    missing = ", ".join(code for code in without if code not in covered)
    if covered and missing:
        yield f"The model does not know {missing}: sums and the M:E ratio lack them."
