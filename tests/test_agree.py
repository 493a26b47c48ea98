"""Two readers, two cases: what is compared, what is left out, and what is refused."""

import csv
import json
from pathlib import Path

import pytest
from conftest import SAMPLES
from test_classify import run

from marrowscope.cases.agreement import Agreement, agree
from marrowscope.cases.label_sets import Opinion, read_opinion
from marrowscope.errors import ComparisonError


def opinion(name: str, labels: dict[str, str], root: Path = Path()) -> Opinion:
    return Opinion(name, root / f"{name}.csv", labels, root, {})


def cells(**counts: int) -> list[str]:
    """Give so many cells of each class."""
    return [code for code, n in counts.items() for _ in range(n)]


def of_same(one: list[str], two: list[str]) -> Agreement:
    names = [f"{number}.png" for number in range(len(one))]
    return agree(
        opinion("anna", dict(zip(names, one, strict=True))),
        opinion("ben", dict(zip(names, two, strict=True))),
    )


def write(file: Path, header: str, *rows: str) -> Path:
    file.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return file


REVIEWS = "path,label,reviewer,time"


def test_two_readers_of_one_hundred_cells() -> None:
    """45 blasts and 40 lymphocytes for both, 5 blasts of anna's are ben's lymphocytes, 10 turned.

    Anna has 50% blasts, ben 55%; 85 of 100 agree where 50 * 55 + 50 * 45 of 10,000, a half, would
    by chance: kappa is 0.35 / 0.5.
    """
    result = of_same(cells(BLA=50, LYT=50), [*cells(BLA=45, LYT=5), *cells(BLA=10, LYT=40)])
    assert result.names == ("anna", "ben")
    assert result.counted == (100, 100)
    blasts = result.blasts
    assert blasts is not None
    assert blasts.cells == (50, 55)
    assert blasts.percent == (50.0, 55.0)
    assert blasts.difference.value == pytest.approx(5.0)
    assert (blasts.more, blasts.verdict) == ("", "no difference shown")
    assert result.same is not None
    assert result.same.codes == ("BLA", "LYT")
    assert result.same.table == ((45, 5), (10, 40))
    assert result.same.agreed.value == 0.85
    assert result.same.in_words == (
        "They agree on 85.0% of 100 cells (76.5 to 91.4); Cohen's kappa is 0.70 (0.56 to 0.84)."
    )
    assert result.left_out == ()


def test_cells_that_one_reader_does_not_count_are_in_kappa_but_in_no_share() -> None:
    result = of_same(
        ["BLA", "LYT", "ART", "LYT", "NIF"],
        ["BLA", "LYT", "LYT", "ART", "ART"],
    )
    assert result.counted == (2, 2)
    assert [(row.code, row.cells) for row in result.rows] == [("BLA", (1, 1)), ("LYT", (1, 1))]
    assert result.same is not None
    assert result.same.cells == 5
    assert result.left_out == (
        "1 cell that neither reader counts into the differential (artefacts and the like)",
        "1 cell that only anna counts into the differential (artefacts and the like)",
        "1 cell that only ben counts into the differential (artefacts and the like)",
    )


def test_two_samples() -> None:
    first = opinion("monday", {f"a{n}": code for n, code in enumerate(cells(BLA=48, LYT=32))})
    other = opinion(
        "friday", {f"b{n}": code for n, code in enumerate(cells(BLA=56, LYT=14, ART=9))}
    )
    result = agree(first, other)
    assert result.same is None
    assert result.counted == (80, 70)
    blasts = result.blasts
    assert blasts is not None
    assert (blasts.difference.low, blasts.difference.high) == pytest.approx((5.24, 33.39), abs=5e-3)
    assert (blasts.more, blasts.verdict) == ("B", "B has more")
    assert {row.code: row.more for row in result.rows} == {"BLA": "B", "LYT": "A"}
    assert result.left_out == ("friday: 9 artefact (ART), not part of the differential",)


def test_paths_that_happen_to_be_the_same_can_be_told_apart() -> None:
    one, two = opinion("x", {"1.png": "BLA"}), opinion("y", {"1.png": "LYT"})
    assert agree(one, two).same is not None
    assert agree(one, two, independent=True).same is None


def test_paths_written_in_two_ways_are_found_to_be_the_same(tmp_path: Path) -> None:
    one = opinion("x", {"cells/1.png": "BLA", "cells/2.png": "LYT"}, tmp_path)
    two = opinion("y", {"1.png": "BLA", "2.png": "LYT"}, tmp_path / "cells")
    assert agree(one, two).counted == (2, 2)


def test_nothing_but_artefacts() -> None:
    result = of_same(["ART", "ART"], ["ART", "ART"])
    assert result.rows == ()
    assert result.same is not None
    assert result.same.kappa_in_words == (
        "kappa is not defined, as both gave all cells one and the same class"
    )
    one, two = opinion("x", {"1": "ART"}), opinion("y", {"2": "LYT"})
    (row,) = agree(one, two).rows
    assert row.verdict == "nothing to compare"


def test_readers_who_never_differ_have_a_kappa_without_limits() -> None:
    result = of_same(["BLA", "LYT"], ["BLA", "LYT"])
    assert result.same is not None
    assert result.same.kappa_in_words == "kappa is 1.00, without limits, as they never differ"


def test_the_last_decision_of_a_reader_counts(tmp_path: Path) -> None:
    file = write(
        tmp_path / "reviews.csv",
        REVIEWS,
        "1.png,BLA,anna,2026-03-02T15:00",
        "1.png,LYT,anna,2026-03-02T14:00",
        "1.png,MON,ben,2026-03-03T14:00",
        "2.png,MON,anna,2026-03-02T14:00",
    )
    anna = read_opinion(file, "anna")
    assert (anna.labels, anna.overruled) == ({"1.png": "BLA", "2.png": "MON"}, 1)
    result = agree(anna, read_opinion(file, "ben"))
    assert result.left_out == (
        "1 cell that only anna read, in no figure",
        "1 decision that anna changed later",
    )


def test_cells_that_classify_did_not_count_have_no_class(tmp_path: Path) -> None:
    write(
        tmp_path / "predictions.csv",
        "path,label,probability,set,novelty",
        "1.png,BLA,0.9,BLA,0.5",
        "2.png,BLA,0.6,BLA LYT,0.5",
        "3.png,BLA,0.9,BLA,1.6",
        "4.png,LYT,0.9,,",
    )
    plain = read_opinion(tmp_path / "predictions.csv")
    assert plain.labels == {"1.png": "BLA", "3.png": "BLA", "4.png": "LYT"}
    went_in = {"novelty": "1.5", "novel_cells": "set aside"}
    (tmp_path / "classify.json").write_text(json.dumps(went_in))
    read = read_opinion(tmp_path)
    assert read.labels == {"1.png": "BLA", "4.png": "LYT"}
    assert read.without == {
        "on which the model abstains": 1,
        "unlike the cells the model knows": 1,
    }
    (tmp_path / "classify.json").write_text(json.dumps(went_in | {"novel_cells": "counted"}))
    assert "3.png" in read_opinion(tmp_path).labels


CELLS = "path,slide,label,fate,machine_label,set,novelty,reviewer,time,reason"


def report(folder: Path, case: str, *rows: str) -> Path:
    folder.mkdir()
    write(folder / "cells.csv", CELLS, *rows)
    (folder / "differential.json").write_text(json.dumps({"case": {"id": case}}))
    return folder


def test_from_a_report_come_the_count_the_machine_and_each_person(tmp_path: Path) -> None:
    folder = report(
        tmp_path / "report",
        "K-1",
        "1.png,A,BLA,counted,LYT,,0.5,anna,2026-03-02T14:30,",
        "2.png,A,LYT,counted,LYT,,0.5,,,",
        "3.png,A,MON,unlike known cells,MON,,2.5,,,",
        "4.png,A,MON,to review,MON,MON LYT,0.5,,,",
        "5.png,A,ART,not counted,ART,,0.5,ben,2026-03-02T14:30,",
        "6.png,A,,rejected,,,,,,no picture",
    )
    counted = read_opinion(folder)
    assert (counted.name, counted.case) == ("K-1", "K-1")
    assert counted.labels == {"1.png": "BLA", "2.png": "LYT", "5.png": "ART"}
    assert counted.without == {
        "unlike the cells the model knows": 1,
        "on which the model abstains": 1,
        "that could not be read": 1,
    }
    machine, anna = read_opinion(folder, "machine"), read_opinion(folder, "anna")
    assert machine.labels == {"1.png": "LYT", "2.png": "LYT", "5.png": "ART"}
    assert (anna.name, anna.labels) == ("K-1 anna", {"1.png": "BLA"})
    same = agree(machine, anna).same
    assert same is not None
    assert (same.codes, same.table) == (("BLA", "LYT"), ((0, 0), (1, 0)))
    assert refused(folder, "carl") == (
        f"{folder / 'cells.csv'} has no decisions of 'carl'; it has those of anna, ben, and those "
        "of the machine"
    )


def test_two_cases_are_two_samples_even_if_their_pictures_have_the_same_names(
    tmp_path: Path,
) -> None:
    row = "cells/1.png,A,BLA,counted,BLA,,0.5,,,"
    one, two, again = (
        read_opinion(report(tmp_path / name, case, row))
        for name, case in (("one", "K-1"), ("two", "K-2"), ("again", "K-1"))
    )
    assert agree(one, two).same is None
    assert agree(one, again).same is not None


def test_cells_of_a_report_are_those_that_the_machine_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report names them from the folder of the case, the predictions from where one was."""
    monkeypatch.chdir(tmp_path)
    folder = report(
        tmp_path / "report",
        "K-1",
        "cells/1.png,A,BLA,counted,LYT,,0.5,anna,2026-03-02T14:30,",
        "cells/2.png,A,LYT,counted,LYT,,0.5,,,",
        "cells/3.txt,A,,rejected,,,,,,no picture",
    )
    read = "path,label", "cases/K-1/cells/1.png,LYT", "cases/K-1/cells/2.png,LYT"
    predictions = read_opinion(write(tmp_path / "predictions.csv", *read))
    with pytest.raises(ComparisonError) as error:
        agree(read_opinion(folder), predictions)
    assert str(error.value) == (
        f"{folder / 'cells.csv'} names cells/1.png and others from the folder of the case, and "
        "what leads to them is not beside it, in slides/, so whether they are cells of the other "
        "reading cannot be told; give the whole folder that `marrowscope report` wrote, or "
        "--independent if they are two samples"
    )
    assert agree(read_opinion(folder), predictions, independent=True).same is None
    (folder / "slides/A").mkdir(parents=True)
    write(folder / "slides/A/predictions.csv", *read)
    same = agree(read_opinion(folder), predictions).same
    assert same is not None
    assert same.table == ((0, 1), (0, 1))


def refused(path: Path, reader: str = "") -> str:
    with pytest.raises(ComparisonError) as error:
        read_opinion(path, reader)
    return str(error.value)


def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", REVIEWS, "1,BLA,anna,2026-03-02", "1,BLA,ben,2026-03-02")
    assert refused(file) == (
        f"{file} has the decisions of anna, ben; choose one with --reader-a or --reader-b"
    )
    assert refused(file, "carl") == f"{file} has no decisions of 'carl'; it has those of anna, ben"
    empty = write(tmp_path / "b.csv", REVIEWS)
    assert refused(empty) == f"{empty} has no cells; give a file or folder that has"
    strange = write(tmp_path / "c.csv", "path,label", "1,XYZ")
    assert refused(strange).startswith(f"{strange}: 1: unknown class 'XYZ'; known classes are BLA")
    twice = write(tmp_path / "d.csv", "path,label", "1,BLA", "1,BLA")
    assert refused(twice) == f"{twice} has 1 twice; every cell may be there once"
    when = write(tmp_path / "e.csv", REVIEWS, "1,BLA,anna,soon")
    assert refused(when) == f"{when}, row 2: time must be one such as 2026-03-02T14:30, got 'soon'"
    nobody = write(tmp_path / "f.csv", "path,label", "1,BLA")
    assert "no reader 'anna' can be chosen" in refused(nobody, "anna")
    assert refused(tmp_path).startswith(f"{tmp_path} has no cells.csv or predictions.csv; give")
    fates = write(tmp_path / "h.csv", "path,label,slide,fate,machine_label", "1,BLA,A,counted,BLA")
    assert refused(fates, "anna") == (
        f"{fates}: no column reviewer; it has path, label, slide, fate, machine_label"
    )
    lacking = write(tmp_path / "g.csv", "path", "1")
    assert refused(lacking) == f"{lacking}: no column label; it has path"


def test_a_reading_without_a_class_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", "path,label,set", "1,BLA,BLA LYT")
    with pytest.raises(ComparisonError, match=r"gives no cell a class \(1 cell on which the model"):
        agree(read_opinion(file), opinion("y", {"2": "LYT"}))


def test_the_command_on_real_cells(tmp_path: Path) -> None:
    """Anna has the labels of the samples; ben takes every fifth cell for a lymphocyte."""
    with (SAMPLES / "cells.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    stamp = "2026-03-02T14:30"
    lines = [f"{row['path']},{row['label']},anna,{stamp}" for row in rows]
    lines += [
        f"{row['path']},{row['label'] if at % 5 else 'LYT'},ben,{stamp}"
        for at, row in enumerate(rows)
    ]
    reviews = str(write(tmp_path / "reviews.csv", REVIEWS, *lines))
    out = tmp_path / "agreement"
    chosen = ("--reader-a", "anna", "--reader-b", "ben")
    told = run("agree", reviews, reviews, *chosen, "--output", str(out))
    assert told.returncode == 0, told.stderr
    assert f"of {len(rows)} cells" in told.stdout
    assert "B more" in told.stdout
    assert told.stdout.endswith(f"Page: {out / 'agree.html'}\n")
    values = json.loads((out / "agree.json").read_text())
    assert sum(map(sum, values["same"]["table"])) == len(rows)
    page = (out / "agree.html").read_text()
    assert "Two readers of the same cells" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    printed = run("agree", reviews, reviews, *chosen, "--json")
    assert json.loads(printed.stdout) == values
    again = run("agree", reviews, reviews, *chosen, "--output", str(out))
    assert again.returncode == 1
    assert "already holds something" in again.stderr


def test_names_on_the_page_are_text(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", REVIEWS, "1,BLA,<b>x</b>,2026-03-02")
    other = write(tmp_path / "b.csv", REVIEWS, "1,BLA,[red]y,2026-03-02")
    told = run("agree", str(first), str(other), "--output", str(tmp_path / "out"))
    assert told.returncode == 0, told.stderr
    assert "[red]y" in told.stdout
    assert "&lt;b&gt;x" in (tmp_path / "out/agree.html").read_text()
