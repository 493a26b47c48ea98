"""The class mix of a marrow, to which the figures of a test are re-weighted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from marrowscope.errors import SettingsError
from marrowscope.io.tables import read_csv
from marrowscope.taxonomy import CLASSES, cell_class


@dataclass(frozen=True)
class Prevalence:
    """How frequent each class is (percent of the marrow, by code), and who says so."""

    percent: Mapping[str, float]
    source: str


ADULT_MARROW = Prevalence(
    {code: row.percent for code, row in CLASSES.items() if row.percent is not None},
    "adult reference values after Theml and Boll-Rohr, the middle where a range is given",
)
"""A start: a laboratory sets its own. Classes outside the nucleated differential are not in it."""


def read_prevalence(file: Path | None) -> Prevalence:
    """Read the columns `label` and `percent` of a CSV; without a file, that of an adult marrow.

    Percentages need not add up to 100: only their ratios count.

    Raises:
        SettingsError: the file cannot be read, a value is no percentage, a class comes twice or
            every one is 0.
        UnknownClassError: a label is not a known class.
    """
    if file is None:
        return ADULT_MARROW
    percent: dict[str, float] = {}
    for row in read_csv(file, ("label", "percent"), SettingsError):
        code = cell_class(row["label"]).code
        if code in percent:
            raise SettingsError(f"{file}: {code} comes twice; give every class once")
        percent[code] = _percent(row["percent"], code, file)
    if not any(percent.values()):
        raise SettingsError(f"{file}: no class is more than 0 percent; give the mix of a marrow")
    return Prevalence(percent, file.name)


def _percent(text: str, code: str, file: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise SettingsError(f"{file}: percent of {code} must be a number 0 to 100, got {text!r}")
    return value
