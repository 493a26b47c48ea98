"""A case: one patient's sample, its slides and where the pictures of their cells are."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from marrowscope.errors import CaseError
from marrowscope.io.discovery import find_files
from marrowscope.types import Found

CASE, REVIEWS = "case.toml", "reviews.csv"
SLIDES = "slides"
"""Folder of what the machine read, with a folder for each slide."""
OF_CASE = ("id", "date", "material", "stain", "um_per_px", "slides")
OF_SLIDE = ("name", "cells", "fields", "stain", "um_per_px")
NAME = re.compile(r"\w[\w .-]{0,63}")
"""Of slides, as they name folders."""
LONGEST = 120
"""Characters of a text in `case.toml`."""


@dataclass(frozen=True)
class Slide:
    """The cells of one slide; what is not known is empty."""

    name: str
    cells: tuple[str, ...]
    """Files, folders or patterns; of whole fields where `fields` is set."""
    stain: str = ""
    um_per_px: float | None = None
    """Side of a pixel on the slide, in micrometres."""
    fields: bool = False
    """Whether the pictures are whole fields, on which the cells are still to be found."""

    def find(self, besides: Collection[Path] = ()) -> Iterator[Found]:
        """Give the pictures of the cells, or the fields, as `intake.find_files` does.

        Raises:
            MissingExtraError: the library for a store or a Parquet file is not installed.
        """
        return find_files(self.cells, self.um_per_px, besides)


@dataclass(frozen=True)
class Case:
    """One patient's sample; what is not known is empty."""

    id: str
    root: Path
    """Folder that relative paths start from."""
    slides: tuple[Slide, ...]
    date: str = ""
    """Of the sample, such as 2026-03-02."""
    material: str = ""
    stain: str = ""

    @property
    def reviews(self) -> Path:
        """The file of what people decided; there may be none."""
        return self.root / REVIEWS

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the case that are no pictures."""
        return (self.root / CASE, self.reviews)


def read_case(path: Path, um_per_px: float | None = None, *, fields: bool = False) -> Case:
    """Read a case from `case.toml`, the folder that holds one, or a folder of cells (one slide).

    `um_per_px` is for slides of which `case.toml` says nothing; with `fields`, a folder holds whole
    fields. Of slides, `case.toml` says it: they have `fields` in place of `cells`.

    Raises:
        CaseError: there is no such file or folder, it cannot be read, is no TOML, has a key that
            is not known, lacks one that is needed, a value is of the wrong kind, or two slides
            have one name; or `fields` is given for a `case.toml`.
    """
    file = path / CASE if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        name = path.resolve().name
        slide = Slide(_folder_name(name), (str(path),), "", um_per_px, fields)
        return Case(name, path, (slide,))
    if fields:
        raise CaseError(
            f"{file}: --fields is for a folder of fields; in {CASE}, give each slide of fields "
            'fields = "FOLDER" in place of cells'
        )
    return _case(file, _values(file), um_per_px)


def _folder_name(name: str) -> str:
    return name if NAME.fullmatch(name) else "1"


def _values(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CaseError(
            f"{file}: no such case; give a {CASE}, the folder that holds one, or a folder of cells"
        ) from None
    except OSError as error:
        raise CaseError(f"{file}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CaseError(f"{file}: no TOML ({error})") from None


def _case(file: Path, values: Mapping[str, Any], um_per_px: float | None) -> Case:
    where = str(file)
    _check_keys(where, values, OF_CASE)
    stain = _text(where, values, "stain")
    scale = _scale(where, values, um_per_px)
    tables = values.get("slides")
    if not isinstance(tables, list) or not tables:
        raise CaseError(f"{where}: no slides; give at least one table [[slides]] with name, cells")
    slides = tuple(
        _slide(f"{where}: slide {number}", table, file.parent, stain, scale)
        for number, table in enumerate(tables, 1)
    )
    _check_names(where, [slide.name for slide in slides])
    return Case(
        id=_needed(where, values, "id"),
        root=file.parent,
        slides=slides,
        date=_date(where, values.get("date", "")),
        material=_text(where, values, "material"),
        stain=stain,
    )


def _slide(where: str, values: object, root: Path, stain: str, scale: float | None) -> Slide:
    if not isinstance(values, dict):
        raise CaseError(f"{where}: must be a table [[slides]], got {values!r}")
    _check_keys(where, values, OF_SLIDE)
    name = _needed(where, values, "name")
    if not NAME.fullmatch(name):
        raise CaseError(
            f"{where}: the name {name!r} cannot be that of a folder; use letters, digits, spaces "
            "and . _ -, beginning with a letter or digit, 64 characters at most"
        )
    kind = _kind(where, values)
    return Slide(
        name,
        tuple(str(root / cell) for cell in _cells(where, kind, values[kind])),
        _text(where, values, "stain") or stain,
        _scale(where, values, scale),
        kind == "fields",
    )


def _kind(where: str, values: Mapping[str, Any]) -> str:
    """Say whether a slide has cells or fields."""
    if "cells" in values and "fields" in values:
        raise CaseError(f"{where}: has cells and fields; make two slides of it")
    if "fields" in values:
        return "fields"
    if "cells" in values:
        return "cells"
    raise CaseError(f"{where}: no cells; give cells, or fields, as a folder, file or pattern")


def _cells(where: str, kind: str, value: object) -> list[str]:
    patterns = [value] if isinstance(value, str) else value
    if (
        isinstance(patterns, list)
        and patterns
        and all(isinstance(pattern, str) and pattern for pattern in patterns)
    ):
        return patterns
    raise CaseError(
        f"{where}: {kind} must be a folder, file or pattern, or a list of them, got {value!r}"
    )


def _check_keys(where: str, values: Mapping[str, Any], allowed: tuple[str, ...]) -> None:
    strange = [name for name in values if name not in allowed]
    if strange:
        raise CaseError(f"{where}: unknown {', '.join(strange)}; known are {', '.join(allowed)}")


def _check_names(where: str, names: list[str]) -> None:
    folders = [name.casefold() for name in names]
    twice = [name for name in names if folders.count(name.casefold()) > 1]
    if twice:
        raise CaseError(f"{where}: two slides are called {twice[0]}; give each its own name")


def _needed(where: str, values: Mapping[str, Any], name: str) -> str:
    text = _text(where, values, name)
    if not text:
        raise CaseError(f'{where}: no {name}; add a line such as {name} = "A"')
    return text


def _text(where: str, values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise CaseError(
            f"{where}: {name} must be a text of one line, {LONGEST} characters at most, "
            f"got {value!r}"
        )
    return value.strip()


def _scale(where: str, values: Mapping[str, Any], otherwise: float | None) -> float | None:
    value = values.get("um_per_px", otherwise)
    if value is None:
        return None
    if type(value) in {int, float} and 0.001 <= value <= 10:
        return float(value)
    raise CaseError(
        f"{where}: um_per_px must be the side of a pixel in micrometres, 0.001 to 10, got {value!r}"
    )


def _date(where: str, value: object) -> str:
    """Write a date as 2026-03-02; TOML knows dates, and a text will do."""
    try:
        if isinstance(value, str):
            return value and date.fromisoformat(value).isoformat()
        if type(value) is date:
            return value.isoformat()
    except ValueError:
        pass
    raise CaseError(f"{where}: date must be a day such as 2026-03-02, got {value!r}")
