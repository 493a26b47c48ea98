"""Reference ranges: the shipped ones, a laboratory's file, and files that are wrong."""

from pathlib import Path

import pytest

from marrowscope.differential.reference_ranges import ADULT_MARROW, Norms, read_norms
from marrowscope.errors import MarrowscopeError

OURS = """source = "our laboratory, 2026"
me_ratio = [1.5, 3.3]

[ranges]
BLA = [0, 4]
"EBO + PEB" = [15.5, 30]
"""


def test_a_laboratory_sets_its_own(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text(OURS)
    norms = read_norms(tmp_path / "ours.toml")
    assert norms == Norms(
        {("BLA",): (0.0, 4.0), ("PEB", "EBO"): (15.5, 30.0)}, "our laboratory, 2026", (1.5, 3.3)
    )
    assert norms.range_of(["EBO", "PEB"]) == (15.5, 30.0)
    assert norms.range_of(["PEB"]) is None
    assert norms.sums == [("PEB", "EBO")]
    assert norms.in_words == "our laboratory, 2026: BLA 0-4, PEB+EBO 15.5-30, M:E 1.5-3.3"


def test_without_a_file_there_are_those_of_an_adult_marrow() -> None:
    norms = read_norms(None)
    assert norms is ADULT_MARROW
    assert norms.range_of(["BLA"]) == (0.1, 3.5)
    assert norms.range_of(["EBO", "PEB"]) == (18.0, 39.0)
    assert norms.me_ratio == (2.0, 4.0)
    assert norms.range_of(["PMO"]) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source = ", "cannot be read as TOML (Invalid value (at end of document))"),
        ("[ranges]\nBLA = [0, 5]", 'who says so? add source = "..." above [ranges]'),
        ('source = "x"', "no table [ranges]; add it with lines such as BLA = [0, 5]"),
        (
            'source = "x"\nrange = 3\n[ranges]',
            "range is not known; a file of reference ranges has source, me_ratio and [ranges]",
        ),
        (
            'source = "x"\n[ranges]\nBLA = [5, 1]',
            "BLA must be [lowest, highest], two numbers from 0, at most 100; got [5, 1]",
        ),
        (
            'source = "x"\n[ranges]\nBLA = ["0", 1]',
            "BLA must be [lowest, highest], two numbers from 0, at most 100; got ['0', 1]",
        ),
        (
            'source = "x"\n[ranges]\nBLA = [0, nan]',
            "BLA must be [lowest, highest], two numbers from 0, at most 100; got [0, nan]",
        ),
        (
            'source = "x"\nme_ratio = 3\n[ranges]',
            "me_ratio must be [lowest, highest], two numbers from 0; got 3",
        ),
        (
            'source = "x"\n[ranges]\n"PEB+EBO" = [0, 1]\n"EBO+PEB" = [0, 1]',
            "EBO+PEB comes twice; give every range once",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_to_do(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(text)
    with pytest.raises(MarrowscopeError) as caught:
        read_norms(file)
    assert str(caught.value) == f"{file}: {message}"


def test_an_unknown_class_or_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text('source = "x"\n[ranges]\n"PEB+XYZ" = [0, 1]')
    with pytest.raises(MarrowscopeError, match=r"PEB\+XYZ: unknown class 'XYZ'; known classes are"):
        read_norms(file)
    with pytest.raises(MarrowscopeError, match="cannot be read as TOML"):
        read_norms(tmp_path / "gone.toml")
