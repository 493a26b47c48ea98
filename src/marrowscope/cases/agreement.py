"""How two cases or two readers differ: class by class, and beyond chance."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope import __version__
from marrowscope.cases.label_sets import Opinion
from marrowscope.errors import ComparisonError
from marrowscope.io.tables import without_nan, write_json, write_text
from marrowscope.metrics.classification import Interval, Matrix, accuracy, exact_interval
from marrowscope.metrics.intervals import (
    independent_difference,
    kappa_interval,
    paired_difference,
)
from marrowscope.rendering import axis_for, render
from marrowscope.taxonomy import CLASSES, in_order

BLAST = "BLA"
NO_DIFFERENCE = "no difference shown"
NO_CELLS = "nothing to compare"
SAME_CELLS = (
    "Same cells: shares are of the cells that both readers count into the differential; intervals "
    "of the differences are Newcombe's for paired shares (1998, method 10). Kappa is Cohen's over "
    "all cells that both read, with large-sample limits (Fleiss, Cohen and Everitt 1969); the "
    "share of cells they agree on has exact limits."
)
OTHER_CELLS = (
    "Two sets of cells: shares are of the nucleated cells of each; intervals of the differences "
    "are Newcombe's for independent shares (1998, method 10). Without common cells there is no "
    "kappa."
)
LIMITS = (
    "Limits are of 95%, for each class alone: of 20 classes that do not differ, one may look "
    "different by chance. They cover the choice of cells only, not what a reader errs."
)


@dataclass(frozen=True)
class ClassShares:
    """A class in two readings: cells, percentages, and how much more the second has."""

    code: str
    name: str
    cells: tuple[int, int]
    percent: tuple[float, float]
    """Of the counted cells, 0..100; NaN without cells."""
    difference: Interval
    """Second minus first, in percentage points, with 95% limits; NaN without cells."""
    more: str
    """`A` or `B`, which is shown to have more; empty for neither."""
    verdict: str


@dataclass(frozen=True)
class OnSameCells:
    """What two readers of the same cells took them for."""

    cells: int
    agreed: Interval
    """Share of the cells that both gave one class, 0..1, with exact 95% limits."""
    kappa: Interval
    """Cohen's kappa, -1..1; NaN where it is not defined, limits NaN where unknown."""
    codes: tuple[str, ...]
    """Classes that either gave."""
    table: tuple[tuple[int, ...], ...]
    """Cells by what A (rows) and B (columns) took them for."""

    @property
    def in_words(self) -> str:
        """Say how far the readers agree."""
        share = f"{100 * self.agreed.value:.1f}% of {self.cells:,} cells"
        limits = f"{100 * self.agreed.low:.1f} to {100 * self.agreed.high:.1f}"
        return f"They agree on {share} ({limits}); {self.kappa_in_words}."

    @property
    def kappa_in_words(self) -> str:
        """Say what kappa is, and why it may have no limits."""
        if math.isnan(self.kappa.value):
            return "kappa is not defined, as both gave all cells one and the same class"
        if math.isnan(self.kappa.low):
            return f"kappa is {self.kappa.value:.2f}, without limits, as they never differ"
        limits = f"{self.kappa.low:.2f} to {self.kappa.high:.2f}"
        return f"Cohen's kappa is {self.kappa.value:.2f} ({limits})"


@dataclass(frozen=True)
class Agreement:
    """Two readings, of the same cells or of different ones, and how they differ."""

    names: tuple[str, str]
    """Of the readings A and B."""
    counted: tuple[int, int]
    """Cells that the shares are of."""
    rows: tuple[ClassShares, ...]
    same: OnSameCells | None
    """None for two sets of cells."""
    left_out: tuple[str, ...]
    """Which cells are in no share, and why."""
    method: str

    @property
    def blasts(self) -> ClassShares | None:
        """The row of the blasts, if either reading has that class."""
        return next((row for row in self.rows if row.code == BLAST), None)


def agree(first: Opinion, other: Opinion, *, independent: bool = False) -> Agreement:
    """Compare two readings, as of the same cells if they share any, else as of two samples.

    With `independent`, or if they are of two cases, they are of two samples though paths are the
    same. Paths are compared as written; if none is common, the real paths are.

    Raises:
        ComparisonError: a reading gives no cell a class, or where its pictures lie is not known
            though that decides whether they are the same.
    """
    for sample in (first, other):
        if not sample.labels:
            raise ComparisonError(
                f"{sample.name} gives no cell a class ({_reasons(sample)}); give a reading that "
                "does"
            )
    apart = independent or (first.case != other.case and bool(first.case and other.case))
    one, two = first.labels, other.labels
    if not apart and not one.keys() & two.keys():
        one, two = first.by_real_path(), other.by_real_path()
    common = [] if apart else [path for path in one if path in two]
    names = _names(first, other)
    if common:
        return _of_same_cells(names, (first, other), (one, two), common)
    return _of_two_samples(names, (first, other))


def _names(first: Opinion, other: Opinion) -> tuple[str, str]:
    """Tell readings apart by their files, where they have the same name."""
    if first.name != other.name:
        return first.name, other.name
    files = str(first.file), str(other.file)
    return files if files[0] != files[1] else (f"{first.name} (A)", f"{other.name} (B)")


def _of_same_cells(
    names: tuple[str, str],
    readings: tuple[Opinion, Opinion],
    labels: tuple[Mapping[str, str], Mapping[str, str]],
    common: Sequence[str],
) -> Agreement:
    one, two = labels
    pairs = Counter((one[path], two[path]) for path in common)
    counted = Counter(
        {pair: n for pair, n in pairs.items() if all(CLASSES[code].counted for code in pair)}
    )
    codes = in_order(code for pair in counted for code in pair)
    return Agreement(
        names=names,
        counted=(counted.total(), counted.total()),
        rows=tuple(_paired_row(code, counted) for code in codes),
        same=_on_same_cells(pairs),
        left_out=(
            *_only_one(names, labels, len(common)),
            *_not_counted(names, pairs),
            *_without(names, readings),
        ),
        method=f"{SAME_CELLS} {LIMITS}",
    )


def _of_two_samples(names: tuple[str, str], readings: tuple[Opinion, Opinion]) -> Agreement:
    cells = tuple(Counter(reading.labels.values()) for reading in readings)
    one, two = (
        Counter({code: n for code, n in cell.items() if CLASSES[code].counted}) for cell in cells
    )
    excluded = (
        f"{name}: {n:,} {CLASSES[code].name.lower()} ({code}), not part of the differential"
        for name, sample in zip(names, cells, strict=True)
        for code, n in ((code, sample[code]) for code in in_order(sample))
        if not CLASSES[code].counted
    )
    return Agreement(
        names=names,
        counted=(one.total(), two.total()),
        rows=tuple(_independent_row(code, one, two) for code in in_order([*one, *two])),
        same=None,
        left_out=(*excluded, *_without(names, readings)),
        method=f"{OTHER_CELLS} {LIMITS}",
    )


def _paired_row(code: str, pairs: Counter[tuple[str, str]]) -> ClassShares:
    both = pairs[code, code]
    first = sum(n for (one, _), n in pairs.items() if one == code)
    other = sum(n for (_, two), n in pairs.items() if two == code)
    total = pairs.total()
    neither = total - first - other + both
    difference = paired_difference(both, first - both, other - both, neither)
    return _row(code, (first, other), (total, total), difference)


def _independent_row(code: str, one: Counter[str], two: Counter[str]) -> ClassShares:
    totals = one.total(), two.total()
    difference = independent_difference(one[code], totals[0], two[code], totals[1])
    return _row(code, (one[code], two[code]), totals, difference)


def _row(
    code: str, cells: tuple[int, int], totals: tuple[int, int], difference: Interval
) -> ClassShares:
    first, other = (
        100 * n / total if total else math.nan for n, total in zip(cells, totals, strict=True)
    )
    more = "B" if difference.low > 0 else "A" if difference.high < 0 else ""
    points = Interval(100 * difference.value, 100 * difference.low, 100 * difference.high)
    verdict = (
        NO_CELLS if math.isnan(points.value) else f"{more} has more" if more else NO_DIFFERENCE
    )
    return ClassShares(code, CLASSES[code].name, cells, (first, other), points, more, verdict)


def _on_same_cells(pairs: Counter[tuple[str, str]]) -> OnSameCells:
    codes = in_order(code for pair in pairs for code in pair)
    table: Matrix = np.array([[pairs[one, two] for two in codes] for one in codes])
    cells = pairs.total()
    return OnSameCells(
        cells=cells,
        agreed=exact_interval(round(accuracy(table) * cells), cells),
        kappa=kappa_interval(table),
        codes=codes,
        table=tuple(tuple(row) for row in table.tolist()),
    )


def _only_one(
    names: tuple[str, str], labels: tuple[Mapping[str, str], Mapping[str, str]], common: int
) -> Iterator[str]:
    for name, codes in zip(names, labels, strict=True):
        if len(codes) > common:
            yield f"{_cells(len(codes) - common)} that only {name} read, in no figure"


def _not_counted(names: tuple[str, str], pairs: Counter[tuple[str, str]]) -> Iterator[str]:
    """Say how many common cells one or both readers keep out of the differential."""
    kept_out = [
        (not CLASSES[one].counted, not CLASSES[two].counted, n) for (one, two), n in pairs.items()
    ]
    for first, other, who in (
        (True, True, "neither reader counts"),
        (False, True, f"only {names[0]} counts"),
        (True, False, f"only {names[1]} counts"),
    ):
        if cells := sum(n for one, two, n in kept_out if (one, two) == (first, other)):
            yield f"{_cells(cells)} that {who} into the differential (artefacts and the like)"


def _without(names: tuple[str, str], readings: tuple[Opinion, Opinion]) -> Iterator[str]:
    for name, reading in zip(names, readings, strict=True):
        for reason, cells in reading.without.items():
            yield f"{name}: {_cells(cells)} {reason}, in no figure"
        if reading.overruled:
            decisions = (
                "1 decision" if reading.overruled == 1 else f"{reading.overruled:,} decisions"
            )
            yield f"{decisions} that {name} changed later"


def _reasons(reading: Opinion) -> str:
    reasons = (f"{_cells(cells)} {reason}" for reason, cells in reading.without.items())
    return ", ".join(reasons) or "no cells"


def _cells(number: int) -> str:
    return "1 cell" if number == 1 else f"{number:,} cells"


DATA, PAGE = "agree.json", "agree.html"


def write_agreement(agreement: Agreement, folder: Path) -> None:
    """Write the figures as JSON and as a page; the folder must be there."""
    write_json(folder / DATA, agreement_as_dict(agreement))
    axis = axis_for(_ends(agreement))
    page = render("agree.html.j2", agreement=agreement, axis=axis, version=__version__)
    write_text(folder / PAGE, page)


def agreement_as_dict(agreement: Agreement) -> dict[str, Any]:
    """Give an agreement as plain values; what is not known is None."""
    values = without_nan(asdict(agreement))
    use = "research use only; figures, not a diagnosis"
    return {"marrowscope": __version__, **values, "use": use}


def _ends(agreement: Agreement) -> Iterator[float]:
    for row in agreement.rows:
        yield from (
            limit for limit in (row.difference.low, row.difference.high) if not math.isnan(limit)
        )
