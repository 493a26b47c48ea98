"""Count classified cells into a differential over the nucleated cells."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from marrowscope.labels import CLASSES, cell_class
from marrowscope.metrics import exact_interval

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


@dataclass(frozen=True)
class ExcludedRow:
    """A class that is not part of the nucleated differential, and its number of cells."""

    code: str
    name: str
    cells: int


@dataclass(frozen=True)
class Differential:
    """Percentages of the counted classes; the excluded ones; what a reader must bear in mind."""

    counted: int
    rows: tuple[DifferentialRow, ...]
    excluded: tuple[ExcludedRow, ...]
    notes: tuple[str, ...]


def count(labels: Mapping[str, int], covered: Iterable[str] = ()) -> Differential:
    """Turn the number of cells of each class code into a differential.

    Classes in `covered` are listed even without cells. Limits are exact binomial: of 100 cells
    with 5 blasts, blasts are 5.0% with limits 1.6 and 11.3.

    Raises:
        UnknownClassError: a label is not a known class.
    """
    cells = Counter(dict.fromkeys(covered, 0))
    cells.update(labels)
    for code in cells:
        cell_class(code)
    listed = [row for row in CLASSES.values() if row.code in cells]
    counted = sum(cells[row.code] for row in listed if row.counted)
    return Differential(
        counted=counted,
        rows=tuple(_row(row.code, cells[row.code], counted) for row in listed if row.counted),
        excluded=tuple(
            ExcludedRow(row.code, row.name, cells[row.code]) for row in listed if not row.counted
        ),
        notes=tuple(_notes(counted, cells)),
    )


def _row(code: str, cells: int, counted: int) -> DifferentialRow:
    share = exact_interval(cells, counted)
    kind = CLASSES[code]
    percent = 100 * share.value if counted else 0.0
    return DifferentialRow(
        code, kind.name, kind.lineage, cells, percent, 100 * share.low, 100 * share.high
    )


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
    if cells.get("FGC"):
        yield "Faggot cells (FGC) count as blasts only in acute promyelocytic leukaemia."
    if cells.get("LYI"):
        yield "Immature lymphocytes (LYI) are not added to the blasts."
