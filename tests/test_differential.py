"""The differential: percentages, limits, sums, ranges, and what is odd about a sample."""

import json
from dataclasses import asdict

import pytest
from scipy.stats import binomtest

from marrowscope.differential.count import Differential, count
from marrowscope.differential.me_ratio import FORMULAS
from marrowscope.differential.reference_ranges import Norms
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


@pytest.mark.parametrize(
    ("blasts", "of", "low", "high"),
    [(5, 100, 1.6, 11.3), (25, 500, 3.3, 7.3), (50, 500, 7.5, 13.0), (100, 500, 16.6, 23.8),
     (0, 500, 0.0, 0.7)],
)  # fmt: skip
def test_limits_are_those_of_the_published_table(
    blasts: int, of: int, low: float, high: float
) -> None:
    finding = count({"BLA": blasts, "NGS": of - blasts}).findings[0]
    assert (round(finding.low, 1), round(finding.high, 1)) == (low, high)


@pytest.mark.parametrize("of", [10, 100, 200, 300, 500, 1000])
def test_limits_of_rows_and_sums_are_those_of_scipy(of: int) -> None:
    for cells in (0, 1, of // 20, of // 5, of - 1, of):
        differential = count({"PEB": cells, "LYT": of - cells})
        sums = {row.lineage: row for row in differential.lineages}
        limits = binomtest(cells, of).proportion_ci(method="exact")
        for row in (differential.rows[0], sums["erythroid"]):
            assert (row.low, row.high) == pytest.approx((100 * limits.low, 100 * limits.high))


NORMAL = {"BLA": 5, "PMO": 15, "MYB": 70, "MMZ": 75, "NGB": 75, "NGS": 55, "EOS": 20, "BAS": 1,
          "MON": 10, "PEB": 5, "EBO": 90, "LYT": 74, "PLM": 5, "ART": 30}  # fmt: skip


def test_sums_hold_all_cells_once() -> None:
    differential = count(NORMAL)
    assert differential.counted == 500
    sums = {row.lineage: row for row in differential.lineages}
    assert {name: row.cells for name, row in sums.items()} == {
        "blasts": 5, "neutrophilic": 290, "other myeloid": 31, "erythroid": 95, "lymphoid": 79,
    }  # fmt: skip
    assert sums["erythroid"].percent == pytest.approx(19.0)
    assert sums["neutrophilic"].codes == ("PMO", "MYB", "MMZ", "NGB", "NGS")
    assert sums["erythroid"].reference == (18, 39)
    assert sums["lymphoid"].reference is None


def test_a_row_stands_outside_its_range_only_with_its_whole_interval() -> None:
    """24 of 500 eosinophils: 4.8% (3.1 to 7.1), in part above 7; 60: 12.0 (9.3 to 15.2)."""
    ranges = Norms({("EOS",): (1.0, 7.0)}, "ours")
    for cells, standing in ((0, "below"), (15, "within"), (24, "open"), (60, "above")):
        row = count({"EOS": cells, "NGS": 500 - cells}, norms=ranges).rows[-1]
        assert (row.code, row.reference, row.standing) == ("EOS", (1.0, 7.0), standing)


def test_a_class_that_the_ranges_lack_is_named() -> None:
    differential = count({"NGS": 400, "HAC": 100}, norms=Norms({("NGS",): (5.0, 10.0)}, "ours"))
    assert differential.rows[1].reference is None
    assert not differential.rows[1].standing
    assert differential.reference_note == "Reference ranges: ours. None for HAC."
    assert count(NORMAL).reference_note.endswith(". None for PMO, NGS, MON, PEB.")


def test_another_sum_with_a_range_has_a_row() -> None:
    ranges = Norms({("PEB", "EBO"): (18.0, 39.0), ("LYT", "PLM"): (5.0, 20.0)}, "ours")
    row = count(NORMAL, norms=ranges).lineages[-1]
    assert (row.lineage, row.codes, row.cells, row.reference) == (
        "LYT+PLM", ("LYT", "PLM"), 79, (5.0, 20.0),
    )  # fmt: skip


def test_no_erythroid_cells() -> None:
    ratio = count({"BLA": 100, "NGS": 400}, covered=["BLA", "NGS", "EBO"]).ratio
    assert ratio.value is None
    assert ratio.in_words == (
        "M:E ratio not computable: no erythroid cell was counted beside 500 myeloid cells; the 95% "
        "interval begins at 135.0. Usual: 2 to 4."
    )


def test_no_cells_at_all() -> None:
    for labels in ({}, {"ART": 7}):
        differential = count(labels, covered=["BLA", "ART"])
        assert (differential.counted, differential.rows[0].percent) == (0, 0.0)
        assert (differential.rows[0].low, differential.rows[0].high) == (0.0, 100.0)
        assert differential.rows[0].standing == differential.lineages[0].standing == ""
        assert differential.ratio.value is differential.ratio.low is None
        assert differential.findings[0].in_words == (
            "Blasts: no nucleated cell was counted, so nothing can be said."
        )
        assert not any(finding.straddled for finding in differential.findings)
        assert differential.notes[0].endswith("there is nothing to count.")


def test_one_class_only() -> None:
    differential = count({"BLA": 500}, covered=["BLA", "EBO", "PLM"])
    blasts, plasma = differential.findings
    assert (blasts.percent, blasts.high, blasts.straddled) == (100.0, 100.0, ())
    assert blasts.bands == (
        "WHO 2022: 20% or more (AML)",
        "ICC 2022: 20% or more (AML)",
    )
    assert plasma.bands == ("IMWG 2014: under 10%",)
    assert round(differential.rows[0].low, 1) == 99.3


def test_ten_cells_leave_almost_every_threshold_open() -> None:
    differential = count({"BLA": 1, "NGS": 7, "EBO": 2})
    assert differential.notes[0].startswith("Too few cells: 10 nucleated cells were counted;")
    blasts = differential.findings[0]
    assert (round(blasts.low, 1), round(blasts.high, 1)) == (0.3, 44.5)
    assert [each.percent for each in blasts.straddled] == [5, 10, 20, 5, 10, 20]
    assert [each.percent for each in blasts.more] == [5, 10, 20]
    assert differential.ratio.value == 4.0


def test_what_the_model_does_not_know_is_told() -> None:
    differential = count({"NGS": 500, "PLM": 2}, covered=["NGS", "BLA"])
    assert differential.notes == (
        (
            "The model does not know PMO, MYB, MMZ, NGB, FGC, EOS, ABE, BAS, MON, PEB, EBO, LYT, "
            "LYI, HAC: sums and the M:E ratio lack them."
        ),
    )
    plasma = differential.findings[1]
    assert not plasma.known
    assert not (plasma.bands)
    assert not (plasma.straddled)
    assert not (plasma.more)
    assert plasma.in_words == (
        "Plasma cells: the model does not know plasma cells (PLM), so it cannot say how many. 2 "
        "named by a person are in the count."
    )


def test_another_formula_changes_the_ratio_alone() -> None:
    one, other = (count(NORMAL, formula=FORMULAS[name]) for name in ("icsh", "granulocytes"))
    assert (one.ratio.myeloid, other.ratio.myeloid) == (326, 311)
    assert one.rows == other.rows


@pytest.mark.parametrize(
    "differential",
    [count({}), count({"BLA": 3}), count({"EBO": 4, "NGS": 1}), count(NORMAL, covered=["BLA"])],
)
def test_all_of_it_is_plain_json(differential: Differential) -> None:
    text = json.dumps(asdict(differential), allow_nan=False)
    assert json.loads(text)["counted"] == differential.counted
