"""`case.toml` and `reviews.csv`: what they may say, and what is answered to everything else."""

from datetime import datetime
from pathlib import Path

import pytest

from marrowscope.cases.case import Slide, read_case
from marrowscope.cases.reviews import read_decisions
from marrowscope.errors import CaseError

WHOLE = """
id = "2026-117"
date = 2026-03-02
material = "aspirate"
stain = "MGG"
um_per_px = 0.1

[[slides]]
name = "A"
cells = "slide a"

[[slides]]
name = "B 2"
cells = ["b/*.jpg", "/elsewhere"]
stain = "Wright"
um_per_px = 0.2
"""
SLIDE = '[[slides]]\nname = "A"\ncells = "a"\n'


def written(folder: Path, text: str, name: str = "case.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_case_with_two_slides(tmp_path: Path) -> None:
    file = written(tmp_path, WHOLE)
    case = read_case(tmp_path, 0.5)
    assert case == read_case(file)
    assert (case.id, case.date, case.material, case.stain) == (
        "2026-117", "2026-03-02", "aspirate", "MGG",
    )  # fmt: skip
    assert case.slides == (
        Slide("A", (str(tmp_path / "slide a"),), "MGG", 0.1),
        Slide("B 2", (str(tmp_path / "b/*.jpg"), "/elsewhere"), "Wright", 0.2),
    )
    assert case.reviews == tmp_path / "reviews.csv"


def test_the_pixel_size_of_the_command_is_for_what_says_nothing(tmp_path: Path) -> None:
    written(tmp_path, f'id = "x"\n{SLIDE}um_per_px = 0.2\n{SLIDE.replace("A", "B")}')
    assert [slide.um_per_px for slide in read_case(tmp_path, 0.5).slides] == [0.2, 0.5]
    assert [slide.um_per_px for slide in read_case(tmp_path).slides] == [0.2, None]


def test_a_folder_of_cells_is_a_case_of_one_slide(tmp_path: Path) -> None:
    folder = tmp_path / "monday"
    folder.mkdir()
    case = read_case(folder, 0.1)
    assert case.id == "monday"
    assert case.slides == (Slide("monday", (str(folder),), "", 0.1),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id = ", "no TOML (Invalid value (at end of document))"),
        (SLIDE, 'no id; add a line such as id = "A"'),
        ("id = 7\n" + SLIDE, "id must be a text of one line, 120 characters at most, got 7"),
        ('id = "x"', "no slides; give at least one table [[slides]] with name, cells"),
        ('id = "x"\nslides = [3]', "slide 1: must be a table [[slides]], got 3"),
        (
            f'id = "x"\npatient = "Jo"\n{SLIDE}',
            "unknown patient; known are id, date, material, stain, um_per_px, slides",
        ),
        (
            f'id = "x"\n{SLIDE}dye = "MGG"',
            "slide 1: unknown dye; known are name, cells, fields, stain, um_per_px",
        ),
        (
            f'id = "x"\n{SLIDE}{SLIDE.replace("A", "a")}',
            "two slides are called A; give each its own name",
        ),
        (
            'id = "x"\n[[slides]]\nname = "../up"\ncells = "a"',
            (
                "slide 1: the name '../up' cannot be that of a folder; use letters, digits, spaces "
                "and . _ -, beginning with a letter or digit, 64 characters at most"
            ),
        ),
        (
            'id = "x"\n[[slides]]\nname = "A"\ncells = []',
            "slide 1: cells must be a folder, file or pattern, or a list of them, got []",
        ),
        (
            f'id = "x"\ndate = "2 March"\n{SLIDE}',
            "date must be a day such as 2026-03-02, got '2 March'",
        ),
        (
            f'id = "x"\num_per_px = true\n{SLIDE}',
            "um_per_px must be the side of a pixel in micrometres, 0.001 to 10, got True",
        ),
    ],
)
def test_what_a_case_may_not_say(text: str, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, text)
    with pytest.raises(CaseError) as error:
        read_case(tmp_path)
    where = f"{file}: "
    assert str(error.value) == where + message


def test_a_case_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CaseError) as error:
        read_case(tmp_path / "gone")
    assert str(error.value) == (
        f"{tmp_path / 'gone'}: no such case; give a case.toml, the folder that holds one, or a "
        "folder of cells"
    )


def test_the_latest_decision_counts_and_at_the_same_time_the_lower_row(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "path,label,reviewer,time\n"
        "a.jpg,PMO,B,2026-03-03T12:00\n"
        "a.jpg,MYB,A,2026-03-03T10:00\n"
        "sub/../b.jpg,BLA,A,2026-03-03T10:00\n"
        "b.jpg,LYT,B,2026-03-03T10:00\n",
        "reviews.csv",
    )
    decisions = read_decisions(file)
    first, second = decisions.of(tmp_path / "a.jpg"), decisions.of(tmp_path / "b.jpg")
    assert first is not None
    assert second is not None
    assert (first.label, first.reviewer) == ("PMO", "B")
    assert first.time == datetime(2026, 3, 3, 12).astimezone()
    assert (second.label, second.reviewer) == ("LYT", "B")
    assert [(each.path, each.label) for each in decisions.overruled] == [
        ("a.jpg", "MYB"), ("sub/../b.jpg", "BLA"),
    ]  # fmt: skip
    assert decisions.of(tmp_path / "c.jpg") is None


def test_without_a_file_nothing_is_decided(tmp_path: Path) -> None:
    assert not read_decisions(tmp_path / "reviews.csv").of_cell


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",PMO,A,2026-03-03", "no path; every row needs path, label, reviewer, time"),
        ("a.jpg,PMO,,2026-03-03", "no reviewer; every row needs path, label, reviewer, time"),
        ("a.jpg,PMO,A,noon", "time must be one such as 2026-03-02T14:30, got 'noon'"),
    ],
)
def test_what_a_review_may_not_say(row: str, message: str, tmp_path: Path) -> None:
    file = written(
        tmp_path, f"path,label,reviewer,time\nb.jpg,PMO,A,2026-03-03\n{row}\n", "reviews.csv"
    )
    with pytest.raises(CaseError) as error:
        read_decisions(file)
    assert str(error.value) == f"{file}, row 3: {message}"


def test_a_review_with_an_unknown_class_names_the_known_ones(tmp_path: Path) -> None:
    file = written(tmp_path, "path,label,reviewer,time\na,XYZ,A,2026-03-03\n", "reviews.csv")
    with pytest.raises(CaseError, match=r"row 2: unknown class 'XYZ'; known classes are BLA, PMO"):
        read_decisions(file)
