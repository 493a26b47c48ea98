"""The ratio of myeloid to erythroid cells, by a formula that is printed with it."""

from collections.abc import Mapping
from dataclasses import dataclass

from marrowscope.errors import SettingsError
from marrowscope.metrics.classification import exact_interval
from marrowscope.taxonomy import CLASSES


@dataclass(frozen=True)
class Formula:
    """Which classes are the myeloid and the erythroid cells of the ratio."""

    name: str
    myeloid: tuple[str, ...]
    """Class codes above the line."""
    erythroid: tuple[str, ...]
    """Class codes below the line."""

    @property
    def in_words(self) -> str:
        """Write it out: `(PMO + MYB) / (PEB + EBO)`."""
        return f"({' + '.join(self.myeloid)}) / ({' + '.join(self.erythroid)})"


@dataclass(frozen=True)
class Ratio:
    """The ratio of myeloid to erythroid cells with its 95% limits."""

    value: float | None
    """None where it cannot be computed."""
    low: float | None
    """Lower 95% limit; None without a myeloid or erythroid cell."""
    high: float | None
    """Upper 95% limit; None where there is none, as without erythroid cells."""
    myeloid: int
    """Cells above the line."""
    erythroid: int
    """Cells below the line."""
    formula: str
    """The formula, written out."""
    note: str
    """Why it cannot be computed; empty where it can."""
    reference: tuple[float, float] | None = None
    """The usual range; None where the laboratory has none."""

    @property
    def in_words(self) -> str:
        """Say the ratio with its limits, or why there is none."""
        usual = "" if self.reference is None else " Usual: {:g} to {:g}.".format(*self.reference)
        if self.value is None:
            return f"M:E ratio not computable: {self.note}{usual}"
        high = "" if self.high is None else f" to {self.high:.1f}"
        limits = f"95% interval {self.low:.1f}{high}; {self.myeloid:,} by {self.erythroid:,} cells"
        return f"M:E ratio {self.value:.1f} ({limits}).{usual}"


def _formula(name: str, *myeloid: str) -> Formula:
    above = tuple(code for code, row in CLASSES.items() if row.ratio in myeloid)
    below = tuple(code for code, row in CLASSES.items() if row.ratio == "erythroid")
    return Formula(name, above, below)


ICSH = _formula("icsh", "blasts", "granulocytes", "monocytes")
"""All myeloid cells, after ICSH 2008 (Lee et al., Int J Lab Hematol 30:349; wording to confirm)."""
FORMULAS: dict[str, Formula] = {
    formula.name: formula
    for formula in (
        ICSH,
        _formula("without-blasts", "granulocytes", "monocytes"),
        _formula("without-monocytes", "blasts", "granulocytes"),
        _formula("granulocytes", "granulocytes"),
    )
}
"""Formulas by name; none counts lymphoid or plasma cells."""


def formula_of(name: str) -> Formula:
    """Give the formula of a name such as `icsh`.

    Raises:
        SettingsError: no formula has this name.
    """
    if name not in FORMULAS:
        raise SettingsError(f"no M:E formula {name!r}; formulas are {', '.join(FORMULAS)}")
    return FORMULAS[name]


def me_ratio(
    cells: Mapping[str, int],
    formula: Formula = ICSH,
    reference: tuple[float, float] | None = None,
) -> Ratio:
    """Compute the ratio from the cells of each class; the limits are exact.

    300 myeloid and 100 erythroid cells: 3.0. Of the 400, 75% are myeloid, with exact limits 70.4
    and 79.2%, so the ratio has 0.704 / 0.296 = 2.4 and 0.792 / 0.208 = 3.8.

    Source: Clopper and Pearson, Biometrika 1934;26:404; the odds rise with the share.
    """
    myeloid, erythroid = (
        sum(cells.get(code, 0) for code in codes) for codes in (formula.myeloid, formula.erythroid)
    )
    share = exact_interval(myeloid, myeloid + erythroid)
    there = myeloid + erythroid > 0
    return Ratio(
        value=myeloid / erythroid if erythroid else None,
        low=share.low / (1 - share.low) if there else None,
        high=share.high / (1 - share.high) if erythroid else None,
        myeloid=myeloid,
        erythroid=erythroid,
        formula=formula.in_words,
        note=_note(myeloid, erythroid, share.low),
        reference=reference,
    )


def _note(myeloid: int, erythroid: int, low: float) -> str:
    if erythroid:
        return ""
    if not myeloid:
        return "no myeloid and no erythroid cell was counted."
    return (
        f"no erythroid cell was counted beside {myeloid:,} myeloid cells; the 95% interval "
        f"begins at {low / (1 - low):.1f}."
    )
