"""Reference ranges of the differential: those of a laboratory, or a start with its source."""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrowscope.errors import SettingsError, UnknownClassError
from marrowscope.taxonomy import CLASSES, LINEAGE_RANGES, Range, in_order


@dataclass(frozen=True)
class Norms:
    """Usual percentages of the nucleated cells, by class or sum of classes, and who says so."""

    ranges: Mapping[tuple[str, ...], Range]
    """By codes in the order of the differential: one for a class, several for their sum."""
    source: str
    """Printed beside them."""
    me_ratio: Range | None = None
    """Usual M:E ratio; None where there is none."""

    def range_of(self, codes: Iterable[str]) -> Range | None:
        """Give the range of a class or sum of classes; None where there is none.

        Raises:
            UnknownClassError: a code is not a known class.
        """
        return self.ranges.get(in_order(codes))

    @property
    def in_words(self) -> str:
        """Write all of it in one line."""
        rows = [*(("+".join(codes), limits) for codes, limits in self.ranges.items())]
        rows += [("M:E", self.me_ratio)] if self.me_ratio else []
        return f"{self.source}: " + ", ".join(
            f"{name} {low:g}-{high:g}" for name, (low, high) in rows
        )

    @property
    def sums(self) -> list[tuple[str, ...]]:
        """Sums of classes that have a range."""
        return [codes for codes in self.ranges if len(codes) > 1]


def _lineage_codes(lineage: str) -> tuple[str, ...]:
    return tuple(code for code, row in CLASSES.items() if row.lineage == lineage)


ADULT_MARROW = Norms(
    {(code,): row.usual for code, row in CLASSES.items() if row.usual}
    | {_lineage_codes(lineage): usual for lineage, usual in LINEAGE_RANGES.items()},
    "adult values after Theml and Boll-Rohr; LYT, PLM and sums after Wintrobe",
    me_ratio=(2.0, 4.0),
)
"""A start: a laboratory sets its own. Taken from a collection, not read in the books."""


def read_norms(file: Path | None) -> Norms:
    """Read ranges from a TOML file; without a file, those of an adult marrow.

    The file has `source = "..."`, if wanted `me_ratio = [2, 4]`, and a table `[ranges]` with lines
    such as `BLA = [0, 5]` and `"PEB+EBO" = [18, 39]`, in percent.

    Raises:
        SettingsError: the file cannot be read, names no source, or has something else in it.
        UnknownClassError: a code is not a known class.
    """
    if file is None:
        return ADULT_MARROW
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read as TOML ({error})") from None
    _check_names(file, values)
    ratio = values.get("me_ratio")
    return Norms(
        ranges=_ranges(file, values["ranges"]),
        source=values["source"],
        me_ratio=None if ratio is None else _range(file, "me_ratio", ratio, math.inf),
    )


def _check_names(file: Path, values: Mapping[str, Any]) -> None:
    surplus = sorted(set(values) - {"source", "me_ratio", "ranges"})
    if surplus:
        raise SettingsError(
            f"{file}: {', '.join(surplus)} is not known; a file of reference ranges has source, "
            "me_ratio and [ranges]"
        )
    source = values.get("source")
    if not isinstance(source, str) or not source.strip():
        raise SettingsError(f'{file}: who says so? add source = "..." above [ranges]')
    if not isinstance(values.get("ranges"), dict):
        raise SettingsError(f"{file}: no table [ranges]; add it with lines such as BLA = [0, 5]")


def _ranges(file: Path, rows: Mapping[str, Any]) -> dict[tuple[str, ...], Range]:
    ranges: dict[tuple[str, ...], Range] = {}
    for name, limits in rows.items():
        codes = _codes(file, name)
        if codes in ranges:
            raise SettingsError(f"{file}: {name} comes twice; give every range once")
        ranges[codes] = _range(file, name, limits, 100.0)
    return ranges


def _codes(file: Path, name: str) -> tuple[str, ...]:
    try:
        return in_order(code.strip() for code in name.split("+"))
    except UnknownClassError as error:
        raise UnknownClassError(f"{file}: {name}: {error}") from None


def _range(file: Path, name: str, limits: Any, most: float) -> Range:
    numbers = isinstance(limits, list) and all(type(limit) in (int, float) for limit in limits)
    if not numbers or len(limits) != 2 or not 0 <= limits[0] <= limits[1] <= most:
        bound = "" if math.isinf(most) else f", at most {most:g}"
        raise SettingsError(
            f"{file}: {name} must be [lowest, highest], two numbers from 0{bound}; got {limits!r}"
        )
    return float(limits[0]), float(limits[1])
