"""What the terminal and `--json` show of a differential."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from test_classify import CELLS, CLASSIFY, run

from marrowscope.commands.differential_output import show_differential
from marrowscope.differential.count import count
from marrowscope.differential.review_priority import Work
from marrowscope.differential.sample_size import InDoubt, Reviews, ToReview

WORK = Work(
    (ToReview("a.jpg", 0.5, 0.25), ToReview("b.jpg", 0.6, 0.24)),
    InDoubt(6.4, 3.9, 9.1, 40),
    (Reviews(5.0, 12, "To tell it from 5%, review about 12 cells, the most doubtful first."),),
)


def shown(labels: dict[str, int], work: Work, width: int = 80) -> str:
    text = StringIO()
    console = Console(file=text, width=width)
    show_differential(count(labels), work, console)
    return text.getvalue()


@pytest.mark.parametrize("width", [80, 60])
def test_figures_are_whole_in_a_narrow_terminal(width: int) -> None:
    lines = shown({"BLA": 30, "NGS": 300, "EBO": 170}, WORK, width).splitlines()
    row = next(line for line in lines if "BLA" in line)
    for figure in ("30", "6.0", "4.1 - 8.5", "0.1 - 3.5 high"):
        assert figure in row
    row = next(line for line in lines if "18 - 39" in line)
    for figure in ("170", "34.0", "29.9 - 38.3"):
        assert figure in row


def test_what_decides_stands_under_the_table() -> None:
    words = " ".join(shown({"BLA": 30, "NGS": 300, "EBO": 170}, WORK).split())
    for part in (
        "Blasts: 6.0% (95% interval 4.1 to 8.5; 30 of 500 cells). WHO 2022: 5% to under 10%",
        "To tell it from 5%: 1,503 more cells (2,003 in all)",
        "By the chance of each cell to be a blast: 6.4% (3.9 to 9.1 with the model's doubt).",
        "To tell it from 5%, review about 12 cells",
        "Review first, with the chance to be a blast: a.jpg (50%), b.jpg (60%)",
        "Plasma cells: 0.0% (95% interval 0.0 to 0.7; 0 of 500 cells). IMWG 2014: under 10%.",
        "M:E ratio 1.9 (95% interval 1.6 to 2.3; 330 by 170 cells). Usual: 2 to 4. (BLA + PMO",
        (
            "Reference ranges: adult values after Theml and Boll-Rohr; LYT, PLM and sums after "
            "Wintrobe. None for NGS."
        ),
    ):
        assert part in words


def test_without_cells_nothing_breaks() -> None:
    words = " ".join(shown({}, Work((), None, ())).split())
    assert "Blasts: no nucleated cell was counted, so nothing can be said." in words
    assert "M:E ratio not computable: no myeloid and no erythroid cell was counted." in words


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    file = tmp_path / "ours.toml"
    file.write_text('source = "ours"\n[ranges]\nNGS = [5, 15]\n')
    return file


def test_ranges_and_formula_from_the_command_line(ours: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    own = ("--norms", ours, "--me-formula", "without-blasts")
    done = run(*CLASSIFY, CELLS, "--json", *own, "--output", out)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    differential = outcome["differential"]
    rows = {row["code"]: row for row in differential["rows"]}
    assert rows["NGS"]["reference"] == [5.0, 15.0]
    assert rows["NGS"]["standing"] == "above"
    assert rows["BLA"]["reference"] is None
    assert differential["reference_note"].startswith("Reference ranges: ours. None for BLA, ")
    assert differential["ratio"]["value"] is None
    assert differential["ratio"]["formula"].startswith("(PMO + MYB")
    assert [each["name"] for each in differential["findings"]] == ["Blasts", "Plasma cells"]
    assert differential["findings"][0]["straddled"][0]["percent"] == 5.0
    assert differential["findings"][1]["known"] is True
    assert [each["lineage"] for each in differential["lineages"]][:2] == ["blasts", "neutrophilic"]
    assert set(outcome["work"]) == {"first", "blasts", "reviews"}
    went_in = json.loads((out / "classify.json").read_text())
    assert went_in["reference_ranges"] == "ours: NGS 5-15"
    assert went_in["me_formula"] == "without-blasts"
    again = run(*CLASSIFY, CELLS, "--resume", "--output", out)
    assert again.returncode == 1
    assert "me_formula was without-blasts, now it is icsh" in again.stderr


def test_a_wrong_formula_or_file_is_an_error_before_anything_is_read(tmp_path: Path) -> None:
    wrong = run(*CLASSIFY, CELLS, "--me-formula", "mine", "--output", tmp_path / "out")
    assert (wrong.returncode, wrong.stderr) == (
        1,
        (
            "error: no M:E formula 'mine'; formulas are icsh, without-blasts, without-monocytes, "
            "granulocytes\n"
        ),
    )
    gone = run(*CLASSIFY, CELLS, "--norms", tmp_path / "gone.toml", "--output", tmp_path / "out")
    assert gone.returncode == 1
    assert "gone.toml: cannot be read as TOML" in gone.stderr
    assert not (tmp_path / "out").exists()
