import pytest

from marrowscope.errors import UnknownClassError
from marrowscope.taxonomy import (
    CLASSES,
    FOURTEEN,
    PBC_PREFIXES,
    cell_class,
    class_of_name,
    in_order,
)


def test_the_scheme_has_the_classes_of_the_published_set_and_platelets() -> None:
    assert len(CLASSES) == 22
    assert len(FOURTEEN) == 14
    excluded = {code for code, kind in CLASSES.items() if not kind.counted}
    assert excluded == {"ART", "KSC", "NIF", "OTH", "PLT"}
    assert set(FOURTEEN) < set(CLASSES)


def test_lineages_follow_the_clinical_definitions() -> None:
    erythroid = {code for code, kind in CLASSES.items() if kind.lineage == "erythroid"}
    assert erythroid == {"PEB", "EBO"}
    assert cell_class("PEB").name == "Proerythroblast"
    assert cell_class("PMO").name == "Promyelocyte"


@pytest.mark.parametrize(("prefix", "code"), PBC_PREFIXES.items())
def test_prefixes_of_the_barcelona_set_name_a_class(prefix: str, code: str) -> None:
    assert class_of_name(prefix) is CLASSES[code]


def test_an_unknown_code_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnknownClassError) as caught:
        cell_class("XYZ")
    assert str(caught.value) == f"unknown class 'XYZ'; known classes are {', '.join(CLASSES)}"


def test_an_unknown_name_is_told_with_the_known_prefixes_too() -> None:
    with pytest.raises(UnknownClassError, match=r"unknown class 'bla'.* BLA.*ERB, LY"):
        class_of_name("bla")


def test_codes_are_put_in_the_order_of_the_differential() -> None:
    assert in_order(["NIF", "BLA", "EBO", "BLA"]) == ("BLA", "EBO", "NIF")
