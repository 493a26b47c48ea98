import pytest

from marrowscope.differential import count
from marrowscope.errors import UnknownClassError


def test_percentages_are_of_the_nucleated_cells_and_carry_exact_limits() -> None:
    differential = count({"BLA": 25, "NGS": 475, "ART": 40, "PLT": 7})
    assert differential.counted == 500
    blasts = differential.rows[0]
    assert (blasts.code, blasts.cells, blasts.percent) == ("BLA", 25, 5.0)
    assert (round(blasts.low, 1), round(blasts.high, 1)) == (3.3, 7.3)
    assert [(row.code, row.cells) for row in differential.excluded] == [("ART", 40), ("PLT", 7)]
    assert differential.notes == ()


def test_covered_classes_without_cells_are_listed_in_the_order_of_the_differential() -> None:
    differential = count({"LYT": 10}, covered=["LYT", "NIF", "BLA", "EBO"])
    assert [row.code for row in differential.rows] == ["BLA", "EBO", "LYT"]
    assert differential.rows[0].percent == 0
    assert round(differential.rows[0].high, 1) == 30.8
    assert [row.code for row in differential.excluded] == ["NIF"]


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (0, "No nucleated cell of the differential was found: there is nothing to count."),
        (299, ("Too few cells: 299 nucleated cells were counted; ICSH 2008 asks for at least 300, "
              "and for 500 where a percentage decides the diagnosis.")),
        (300, ("300 nucleated cells were counted: too few where a percentage decides the diagnosis "
              "(ICSH 2008 asks for 500 then).")),
    ],
)  # fmt: skip
def test_too_few_cells_are_told(cells: int, note: str) -> None:
    assert count({"NGS": cells, "ART": 3}).notes == (note,)


def test_flagged_classes_are_told() -> None:
    notes = count({"FGC": 300, "LYI": 200}).notes
    assert notes == (
        "Faggot cells (FGC) count as blasts only in acute promyelocytic leukaemia.",
        "Immature lymphocytes (LYI) are not added to the blasts.",
    )


def test_an_unknown_class_is_an_error() -> None:
    with pytest.raises(UnknownClassError, match="unknown class 'XYZ'"):
        count({"XYZ": 1})
