"""One table of cell classes: a new class is one row of `_ROWS`, and no other file names it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from marrowscope.errors import UnknownClassError

MLL = "Matek et al., Blood 2021;138:1917-1927, doi 10.7937/TCIA.AXH3-T579"
PBC = "Acevedo et al., Data in Brief 2020;30:105474"

Lineage = Literal["blasts", "neutrophilic", "other myeloid", "erythroid", "lymphoid", "none"]
Ratio = Literal["", "blasts", "granulocytes", "monocytes", "erythroid"]
Share = Literal["", "blasts", "plasma cells"]
Range = tuple[float, float]
"""Lowest and highest usual percentage (or ratio)."""


@dataclass(frozen=True, kw_only=True)
class CellClass:
    """One morphological class, with every fact that the package knows about it."""

    code: str
    """As data, bundles and exports write it."""
    name: str
    """Name of one cell."""
    lineage: Lineage
    counted: bool
    """Whether it belongs to the nucleated differential."""
    key: str
    """Its letter on the review pages; `u` undoes and `g` agrees with the model."""
    ratio: Ratio = ""
    """The part of the M:E ratio that its cells enter; none if empty."""
    share: Share = ""
    """The share with thresholds that its cells enter; none if empty."""
    usual: Range | None = None
    """Reference range of an adult marrow, in percent; None where there is none."""
    percent: float | None = None
    """Frequency in an adult marrow, in percent, to weight test figures; None where unknown."""
    matures_into: str = ""
    """Code of the next step of maturation, which tolerant scoring accepts; none if empty."""
    caveat: str = ""
    """Printed with a differential that has such cells; the report shows them first."""
    pbc: str = ""
    """Prefix of its files and folders in the Barcelona set."""
    names: str = ""
    """Plural; empty where an `s` makes it."""
    source: str = MLL

    @property
    def plural(self) -> str:
        """The name of several: `Blasts`; what is no noun stays as it is."""
        return self.names or f"{self.name}s"


# fmt: off
_ROWS = (
    CellClass(
        code="BLA", name="Blast", lineage="blasts", counted=True, key="b", ratio="blasts",
        share="blasts", usual=(0.1, 3.5), percent=1.0,
    ),
    CellClass(
        code="PMO", name="Promyelocyte", lineage="neutrophilic", counted=True, key="p",
        ratio="granulocytes", percent=3.0, matures_into="MYB", pbc="PMY",
    ),
    CellClass(
        code="MYB", name="Myelocyte", lineage="neutrophilic", counted=True, key="m",
        ratio="granulocytes", usual=(5.0, 25.0), percent=14.5, matures_into="MMZ", pbc="MY",
    ),
    CellClass(
        code="MMZ", name="Metamyelocyte", lineage="neutrophilic", counted=True, key="z",
        ratio="granulocytes", usual=(5.0, 20.0), percent=15.0, matures_into="NGB", pbc="MMY",
    ),
    CellClass(
        code="NGB", name="Band neutrophil", lineage="neutrophilic", counted=True, key="n",
        ratio="granulocytes", usual=(5.0, 25.0), percent=15.0, matures_into="NGS", pbc="BNE",
    ),
    CellClass(
        code="NGS", name="Segmented neutrophil", lineage="neutrophilic", counted=True, key="s",
        ratio="granulocytes", percent=7.0, pbc="SNE",
    ),
    CellClass(
        code="FGC", name="Faggot cell", lineage="neutrophilic", counted=True, key="f",
        ratio="granulocytes",
        caveat="Faggot cells (FGC) count as blasts only in acute promyelocytic leukaemia.",
    ),
    CellClass(
        code="EOS", name="Eosinophil", lineage="other myeloid", counted=True, key="e",
        ratio="granulocytes", usual=(1.0, 7.0), percent=4.0, pbc="EO",
    ),
    CellClass(
        code="ABE", name="Abnormal eosinophil", lineage="other myeloid", counted=True, key="a",
        ratio="granulocytes",
    ),
    CellClass(
        code="BAS", name="Basophil", lineage="other myeloid", counted=True, key="k",
        ratio="granulocytes", usual=(0.0, 1.0), percent=1.0, pbc="BA",
    ),
    CellClass(
        code="MON", name="Monocyte", lineage="other myeloid", counted=True, key="o",
        ratio="monocytes", percent=2.0, pbc="MO",
    ),
    CellClass(
        code="PEB", name="Proerythroblast", lineage="erythroid", counted=True, key="y",
        ratio="erythroid", percent=1.0, matures_into="EBO",
    ),
    CellClass(
        code="EBO", name="Erythroblast", lineage="erythroid", counted=True, key="r",
        ratio="erythroid", usual=(7.0, 40.0), percent=17.5, pbc="ERB",
    ),
    CellClass(
        code="LYT", name="Lymphocyte", lineage="lymphoid", counted=True, key="l",
        usual=(11.0, 23.0), percent=6.0, pbc="LY",
    ),
    CellClass(
        code="LYI", name="Immature lymphocyte", lineage="lymphoid", counted=True, key="i",
        caveat="Immature lymphocytes (LYI) are not added to the blasts.",
    ),
    CellClass(code="HAC", name="Hairy cell", lineage="lymphoid", counted=True, key="h"),
    CellClass(
        code="PLM", name="Plasma cell", lineage="lymphoid", counted=True, key="c",
        share="plasma cells", usual=(0.4, 3.9), percent=1.0,
    ),
    CellClass(code="ART", name="Artefact", lineage="none", counted=False, key="x"),
    CellClass(code="KSC", name="Smudge cell", lineage="none", counted=False, key="d"),
    CellClass(
        code="NIF", name="Not identifiable", lineage="none", counted=False, key="w",
        names="Not identifiable",
    ),
    CellClass(code="OTH", name="Other cell", lineage="none", counted=False, key="v"),
    CellClass(
        code="PLT", name="Platelet", lineage="none", counted=False, key="t", pbc="PLATELET",
        source=PBC,
    ),
)
# fmt: on

CLASSES: dict[str, CellClass] = {row.code: row for row in _ROWS}
"""All classes by code, in the order of the differential: 21 of the MLL set, and platelets."""

LINEAGE_RANGES: dict[Lineage, Range] = {"neutrophilic": (49.0, 65.0), "erythroid": (18.0, 39.0)}
"""Reference ranges of an adult marrow for the classes of a lineage together, in percent."""

FOURTEEN: tuple[str, ...] = (
    *("ART", "BLA", "EBO", "EOS", "LYT", "MMZ", "MON"),
    *("MYB", "NGB", "NGS", "NIF", "PEB", "PLM", "PMO"),
)
"""The fine-grained task: the MLL classes with more than 2,700 images."""

SCHEMES: dict[str, tuple[str, ...]] = {"fourteen": FOURTEEN}
"""Lists of classes that can be asked for by name."""

PBC_PREFIXES: dict[str, str] = dict(sorted((row.pbc, row.code) for row in _ROWS if row.pbc))
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
