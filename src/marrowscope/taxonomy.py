"""The morphological classes, the fourteen-class scheme and the codes of other data sets."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from marrowscope.errors import UnknownClassError

MLL = "Matek et al., Blood 2021;138:1917-1927, doi 10.7937/TCIA.AXH3-T579"
PBC = "Acevedo et al., Data in Brief 2020;30:105474"

Lineage = Literal["blasts", "neutrophilic", "other myeloid", "erythroid", "lymphoid", "none"]


@dataclass(frozen=True)
class CellClass:
    """One morphological class, and whether it belongs to the nucleated differential."""

    code: str
    name: str
    lineage: Lineage
    counted: bool
    source: str = MLL

    @property
    def plural(self) -> str:
        """The name of several: `Blasts`; what is no noun stays as it is."""
        return self.name if self.code == "NIF" else f"{self.name}s"


_ROWS = (
    CellClass("BLA", "Blast", "blasts", True),
    CellClass("PMO", "Promyelocyte", "neutrophilic", True),
    CellClass("MYB", "Myelocyte", "neutrophilic", True),
    CellClass("MMZ", "Metamyelocyte", "neutrophilic", True),
    CellClass("NGB", "Band neutrophil", "neutrophilic", True),
    CellClass("NGS", "Segmented neutrophil", "neutrophilic", True),
    CellClass("FGC", "Faggot cell", "neutrophilic", True),
    CellClass("EOS", "Eosinophil", "other myeloid", True),
    CellClass("ABE", "Abnormal eosinophil", "other myeloid", True),
    CellClass("BAS", "Basophil", "other myeloid", True),
    CellClass("MON", "Monocyte", "other myeloid", True),
    CellClass("PEB", "Proerythroblast", "erythroid", True),
    CellClass("EBO", "Erythroblast", "erythroid", True),
    CellClass("LYT", "Lymphocyte", "lymphoid", True),
    CellClass("LYI", "Immature lymphocyte", "lymphoid", True),
    CellClass("HAC", "Hairy cell", "lymphoid", True),
    CellClass("PLM", "Plasma cell", "lymphoid", True),
    CellClass("ART", "Artefact", "none", False),
    CellClass("KSC", "Smudge cell", "none", False),
    CellClass("NIF", "Not identifiable", "none", False),
    CellClass("OTH", "Other cell", "none", False),
    CellClass("PLT", "Platelet", "none", False, PBC),
)

CLASSES: dict[str, CellClass] = {row.code: row for row in _ROWS}
"""All classes by code, in the order of the differential: 21 of the MLL set, and platelets."""

FOURTEEN: tuple[str, ...] = (
    *("ART", "BLA", "EBO", "EOS", "LYT", "MMZ", "MON"),
    *("MYB", "NGB", "NGS", "NIF", "PEB", "PLM", "PMO"),
)
"""The fine-grained task: the MLL classes with more than 2,700 images."""

SCHEMES: dict[str, tuple[str, ...]] = {"fourteen": FOURTEEN}
"""Lists of classes that can be asked for by name."""

PBC_PREFIXES: dict[str, str] = {
    "BA": "BAS",
    "BNE": "NGB",
    "EO": "EOS",
    "ERB": "EBO",
    "LY": "LYT",
    "MMY": "MMZ",
    "MO": "MON",
    "MY": "MYB",
    "PLATELET": "PLT",
    "PMY": "PMO",
    "SNE": "NGS",
}
"""File and folder prefixes of the Barcelona peripheral blood set and the class each stands for."""

PBC_FOLDERS: frozenset[str] = frozenset(
    {
        *("basophil", "eosinophil", "erythroblast", "ig"),
        *("lymphocyte", "monocyte", "neutrophil", "platelet"),
    }
)
"""Folders of the Barcelona set as published; the class stands in the file names below them."""


def cell_class(code: str) -> CellClass:
    """Give the class of a code such as `PMO`.

    Raises:
        UnknownClassError: the code is not one of `CLASSES`.
    """
    if code not in CLASSES:
        raise UnknownClassError(f"unknown class {code!r}; known classes are {', '.join(CLASSES)}")
    return CLASSES[code]


def class_of_name(name: str) -> CellClass:
    """Give the class of a folder name or label: a code, or a prefix of the Barcelona set.

    `class_of_name("ERB").code` is `"EBO"`.

    Raises:
        UnknownClassError: the name is neither.
    """
    if name in PBC_PREFIXES:
        return CLASSES[PBC_PREFIXES[name]]
    if name in CLASSES:
        return CLASSES[name]
    raise UnknownClassError(
        f"unknown class {name!r}; known classes are {', '.join(CLASSES)}; "
        f"known prefixes of the Barcelona set are {', '.join(PBC_PREFIXES)}"
    )


def scheme(text: str) -> tuple[str, ...]:
    """Give the codes of a class scheme: a name of `SCHEMES`, or codes between commas, or nothing.

    Raises:
        UnknownClassError: a code is not one of `CLASSES`.
    """
    if text in SCHEMES:
        return SCHEMES[text]
    return tuple(cell_class(code.strip()).code for code in text.split(",") if code.strip())


def in_order(codes: Iterable[str]) -> tuple[str, ...]:
    """Sort codes as the differential lists them; twice the same code counts once.

    Raises:
        UnknownClassError: a code is not one of `CLASSES`.
    """
    wanted = {cell_class(code).code for code in codes}
    return tuple(code for code in CLASSES if code in wanted)
