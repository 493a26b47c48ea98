"""Sentences: their grammar, and what they say of a differential."""

import pytest
from test_classify import run

from marrowscope.differential.count import count
from marrowscope.differential.error_correction import Adjusted, AdjustedShare
from marrowscope.model.bundle import load_bundle
from marrowscope.wording.differential import (
    class_table,
    excluded,
    key_figures,
    next_step,
    warnings,
)
from marrowscope.wording.errors import split_hint
from marrowscope.wording.numbers import count_noun, join_and

CORRECTED = Adjusted("m", 500, (AdjustedShare("Blasts", ("BLA",), 11.4, 4.7, 18.4, ""),), ())
MOST_HELP_LINES = 60
"""Most lines of the help of `classify`, at 80 columns."""


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 cells"), (1, "1 cell"), (2, "2 cells"), (1200, "1,200 cells")]
)
def test_a_number_and_its_noun_agree(number: int, words: str) -> None:
    assert count_noun(number, "cell") == words


def test_a_noun_may_have_a_plural_of_its_own() -> None:
    assert count_noun(1, "box", "boxes") == "1 box"
    assert count_noun(3, "box", "boxes") == "3 boxes"


@pytest.mark.parametrize(
    ("words", "joined"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ("abc", "a, b and c")]
)
def test_lists_are_joined_as_in_a_sentence(words: list[str], joined: str) -> None:
    assert join_and(words) == joined


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (
            "out holds something; give another folder",
            ("out holds something", "give another folder"),
        ),
        ("a must be 1; b must be 2; give both", ("a must be 1; b must be 2", "give both")),
        ("it is broken", ("it is broken", "")),
        ("known are a; b; giveaway", ("known are a; b; giveaway", "")),
    ],
)
def test_what_to_do_is_told_from_what_came(message: str, parts: tuple[str, str]) -> None:
    assert split_hint(message) == parts


def test_the_table_has_the_classes_with_cells_and_names_the_others() -> None:
    lines = list(class_table(count({"BLA": 25, "NGS": 475}, ("BLA", "NGS", "EBO"))))
    assert lines[0] == "Differential of 500 nucleated cells"
    assert lines[2].split() == ["BLA", "Blast", "25", "5.0", "3.3-7.3", "0.1-3.5"]
    assert lines[-1] == "  None found: EBO"


def test_one_blast_share_leads_and_the_corrected_one_stands_under_it() -> None:
    blasts, corrected, ratio = key_figures(
        count({"BLA": 30, "NGS": 470}, ("BLA", "NGS")), CORRECTED
    )
    assert blasts.split() == [
        "Blasts",
        "6.0%",
        "95%",
        "CI",
        "4.1-8.5",
        "WHO",
        "2022/ICC",
        "2022",
        "band",
        "5%",
        "to",
        "<10%;",
        "the",
        "interval",
        "includes",
        "5%",
    ]
    assert corrected.split() == [
        "11.4%",
        "95%",
        "CI",
        "4.7-18.4",
        "corrected",
        "for",
        "model",
        "error",
    ]
    assert ratio.startswith("M:E ratio     not computable: ")


@pytest.mark.parametrize(
    ("percent", "band"), [(2, "<5%"), (15, "10% to <20%"), (30, "20% or more")]
)
def test_the_band_of_a_share_has_its_limits(percent: int, band: str) -> None:
    counted = count({"BLA": percent, "NGS": 100 - percent}, ("BLA", "NGS"))
    assert f"ICC 2022 band {band}" in next(key_figures(counted, CORRECTED))


def test_what_is_not_counted_is_named_in_the_right_number() -> None:
    counted = count({"NGS": 5, "ART": 1, "KSC": 2, "NIF": 3})
    assert excluded(counted, 4) == "1 artefact, 2 smudge cells, 3 not identifiable, 4 novel"
    assert excluded(count({"NGS": 5}), 0) == ""


def test_limits_of_a_differential_are_named() -> None:
    bundle = load_bundle("default")
    few = list(warnings(count({"NGS": 1}), bundle))
    assert few[0] == "1 cell: ICSH 2008 requires 300, or 500 where a percentage decides"
    some = list(warnings(count({"NGS": 400}), bundle))
    assert some[0] == "400 cells: ICSH 2008 requires 500 where a percentage decides"
    many = list(warnings(count({"NGS": 500}), bundle))
    missing = [code for code in ("FGC", "ABE", "PEB", "LYI", "HAC") if code not in bundle.classes]
    assert f"Not covered by this bundle: {' '.join(missing)}" in many[0]


def test_the_next_step_says_how_many_cells_settle_a_threshold() -> None:
    open_share = next_step(count({"BLA": 21, "NGS": 133}, ("BLA", "NGS")))
    assert open_share == (
        "count more cells: about 1,200 to separate 10%, 130 to separate 20% (80% chance)"
    )
    near = next_step(count({"BLA": 30, "NGS": 470}, ("BLA", "NGS")))
    assert near == "no practical count separates 5%"
    assert next_step(count({"BLA": 250, "NGS": 250}, ("BLA", "NGS"))) == ""


def test_the_help_of_classify_fits_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    page = run("classify", "--help").stdout
    assert len(page.splitlines()) <= MOST_HELP_LINES
    assert all(f"─ {panel} ─" in page for panel in ("Input", "Counting", "Output", "Compute"))
