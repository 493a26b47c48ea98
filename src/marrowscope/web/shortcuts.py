"""One key for each class, as the pages know them."""

from dataclasses import dataclass

from marrowscope.taxonomy import CLASSES

KEYS: dict[str, str] = {code: row.key for code, row in CLASSES.items()}
"""Letters by code; `u` undoes and `g` agrees with the model, so neither is among them."""


@dataclass(frozen=True)
class KeyedClass:
    """A class that a cell can be given, and its key."""

    code: str
    name: str
    lineage: str
    key: str
    counted: bool
    """Whether it is part of the nucleated differential."""
    covered: bool
    """Whether the model knows it."""


def keyed(covered: frozenset[str]) -> list[KeyedClass]:
    """Give all classes with their keys, in the order of the differential."""
    return [
        KeyedClass(
            row.code, row.name, row.lineage, KEYS[row.code], row.counted, row.code in covered
        )
        for row in CLASSES.values()
    ]
