"""Comparisons: worked numbers, verdicts that say no more than was shown, and what is refused."""

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from scipy.stats import binom
from test_classify import rows_of, run

from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split, write_split
from marrowscope.errors import ComparisonError
from marrowscope.evaluation.compare import Difference, Pair, compare, holm, mcnemar
from marrowscope.evaluation.evaluate import evaluate
from marrowscope.evaluation.load import Evaluated, Scored, read_evaluation
from marrowscope.model.bundle import Bundle

CELLS_OF_A_CLASS = 60


def evaluated(
    name: str, rights: dict[str, int], *, wrong: str = "", classes: Sequence[str] = ()
) -> Evaluated:
    """Sixty cells a class, each its own group; so many of the first are right, the rest `wrong`."""
    cells = {}
    codes = list(rights)
    for number, (code, right) in enumerate(rights.items()):
        other = wrong or codes[number - 1]
        for at in range(CELLS_OF_A_CLASS):
            label = code if at < right else other
            cells[f"{code}/{at}"] = Scored(code, number * CELLS_OF_A_CLASS + at, "mll", label)
    covered = tuple(classes or codes)
    return Evaluated(Path(name), name, "f" * 64, "e" * 64, "test", "patient", covered, cells)


def only(one: Evaluated, other: Evaluated, least_support: int = 10) -> Pair:
    (pair,) = compare([one, other], rounds=500, least_support=least_support).pairs
    return pair


def by_class(pair: Pair) -> dict[str, Difference]:
    return {row.code: row for row in pair.classes}


def test_mcnemar_by_hand() -> None:
    """Ten discordant cells, 9 to 1: a coin falls so or further off in 2 * (1 + 10) of 1,024."""
    assert mcnemar(9, 1) == pytest.approx(22 / 1024)
    assert mcnemar(1, 9) == mcnemar(9, 1) == pytest.approx(0.0215, abs=5e-5)
    assert mcnemar(5, 5) == 1
    assert mcnemar(0, 0) == 1
    assert mcnemar(6, 0) == pytest.approx(2 / 64)


def test_mcnemar_equals_the_sum_of_both_tails() -> None:
    for a in range(12):
        for b in range(12):
            tails = 2 * binom.cdf(min(a, b), a + b, 0.5)
            assert mcnemar(a, b) == pytest.approx(min(1, tails))


def test_holm_by_hand() -> None:
    """0.01 * 3 = 0.03; 0.03 * 2 = 0.06; 0.04 * 1 = 0.04, but not below the one before: 0.06."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


def test_a_worked_difference() -> None:
    """Of 60 blasts, A has 30 right and B the same and 24 more: recall 0.5 and 0.9.

    McNemar: 0 to 24, p = 2 / 2**24; the other class is the same in both, p = 1; Holm doubles.
    """
    pair = only(evaluated("A", {"BLA": 30, "LYT": 50}), evaluated("B", {"BLA": 54, "LYT": 50}))
    blasts = by_class(pair)["BLA"]
    assert (blasts.first, blasts.other) == pytest.approx((0.5, 0.9))
    assert blasts.difference.value == pytest.approx(0.4)
    assert 0.25 < blasts.difference.low < 0.35
    assert blasts.test is not None
    assert (blasts.test.only_first, blasts.test.only_other) == (0, 24)
    assert blasts.test.p == pytest.approx(2 / 2**24)
    assert blasts.test.p_holm == pytest.approx(4 / 2**24)
    assert blasts.better == "B"
    assert blasts.verdict.startswith("B is better by 40.0 points of recall (")
    assert blasts.verdict.endswith(", p < 0.001)")
    lymphocytes = by_class(pair)["LYT"]
    assert lymphocytes.verdict == "no difference shown (0.0 to 0.0 points of recall, p = 1.000)"
    accuracy = next(row for row in pair.headline if row.figure == "accuracy")
    assert accuracy.difference.value == pytest.approx(24 / 120)
    assert {row.better for row in pair.headline} == {"B"}


def test_the_first_may_be_the_better_one() -> None:
    one, other = evaluated("A", {"BLA": 54, "LYT": 50}), evaluated("B", {"BLA": 30, "LYT": 50})
    row = by_class(only(one, other))["BLA"]
    assert row.difference.value == pytest.approx(-0.4)
    assert row.verdict.startswith("A is better by 40.0 points of recall (2")
    mirrored = by_class(only(other, one))["BLA"].difference
    assert (mirrored.low, mirrored.high) == pytest.approx(
        (-row.difference.high, -row.difference.low)
    )


def test_the_same_predictions_differ_by_nothing() -> None:
    rights = {"BLA": 30, "LYT": 50}
    pair = only(evaluated("A", rights), evaluated("B", rights))
    for row in (*pair.headline, *pair.classes):
        interval = row.difference
        assert (interval.value, interval.low, interval.high) == (0, 0, 0)
        assert row.verdict.startswith(f"no difference shown (0.0 to 0.0 points of {row.figure}")
        assert row.better == ""


def test_a_difference_within_chance_is_not_shown() -> None:
    pair = only(evaluated("A", {"BLA": 30, "LYT": 50}), evaluated("B", {"BLA": 31, "LYT": 49}))
    assert {row.better for row in (*pair.headline, *pair.classes)} == {""}


def test_cells_of_few_groups_are_not_taken_for_many() -> None:
    """Sixty blasts of four patients: McNemar would take them for sixty witnesses."""
    rights = {"BLA": 20, "LYT": 60}
    pair = only(_in_groups("A", rights, 15), _in_groups("B", rights | {"BLA": 60}, 15))
    row = by_class(pair)["BLA"]
    assert (row.cells, row.groups, row.test) == (60, 4, None)
    assert row.verdict == "too few to tell"
    assert np.isnan(row.difference.low)
    pair = only(_in_groups("A", rights, 60), _in_groups("B", rights | {"BLA": 60}, 60))
    assert {row.verdict for row in pair.headline} == {"too few to tell"}


def _in_groups(name: str, rights: dict[str, int], size: int) -> Evaluated:
    whole = evaluated(name, rights)
    cells = {path: each._replace(group=each.group // size) for path, each in whole.cells.items()}
    return replace(whole, cells=cells)


def test_classes_with_too_few_cells_are_left_out_of_the_tests() -> None:
    one, other = evaluated("A", {"BLA": 30, "LYT": 50}), evaluated("B", {"BLA": 54, "LYT": 50})
    few = {path for path in one.cells if path.startswith("LYT") and int(path[4:]) >= 5}
    one, other = (
        replace(each, cells={p: c for p, c in each.cells.items() if p not in few})
        for each in (one, other)
    )
    result = compare([one, other], rounds=200)
    assert result.macro_classes == ("BLA",)
    row = by_class(result.pairs[0])["LYT"]
    assert (row.cells, row.verdict, row.test) == (5, "too few to tell", None)
    blasts = by_class(result.pairs[0])["BLA"].test
    assert blasts is not None
    assert blasts.p_holm == blasts.p
    with pytest.raises(ComparisonError) as caught:
        compare([one, other], least_support=100)
    assert str(caught.value) == (
        "no class has 100 true cells (the most: BLA with 60); give a smaller --least-support, or "
        "evaluate on more cells"
    )


def test_classes_that_not_all_cover_are_left_out_and_their_names_count_as_wrong() -> None:
    """B takes its wrong cells for plasma cells, which A does not know."""
    rights = {"BLA": 30, "LYT": 50, "PLM": 40}
    one = evaluated("A", rights, wrong="LYT", classes=["BLA", "LYT"])
    other = evaluated("B", rights, wrong="PLM")
    result = compare([one, other], rounds=200)
    assert result.classes == ("BLA", "LYT")
    assert result.cells == 2 * CELLS_OF_A_CLASS
    assert result.not_covered == {"PLM": CELLS_OF_A_CLASS}
    assert result.left_out_in_words == ("60 cells of classes that not all bundles cover (PLM 60)",)
    row = by_class(result.pairs[0])["BLA"]
    assert (row.first, row.other) == (0.5, 0.5)


def test_each_of_several_is_compared_with_the_first() -> None:
    three = [evaluated(name, {"BLA": n, "LYT": 50}) for name, n in (("A", 30), ("B", 54), ("C", 8))]
    pairs = compare(three, rounds=200).pairs
    assert [(pair.first, pair.other) for pair in pairs] == [("A", "B"), ("A", "C")]
    assert [by_class(pair)["BLA"].better for pair in pairs] == ["B", "A"]


A = evaluated("A", {"BLA": 30, "LYT": 50})
B = replace(A, folder=Path("B"), name="B")
Change = Callable[[Evaluated], Evaluated]


def without_a_cell(given: Evaluated) -> Evaluated:
    return replace(given, cells={p: c for p, c in given.cells.items() if p != "BLA/7"})


REFUSED: dict[str, tuple[Change, str]] = {
    "twice": (lambda b: replace(b, folder=A.folder), "A is given twice; give each once"),
    "split": (
        lambda b: replace(b, split_hash="d" * 64),
        (
            "A is of the split eeeeeeeeeeee, B of dddddddddddd: what one was trained on may be "
            "what the other is tested on. Train and evaluate both with one split"
        ),
    ),
    "part": (
        lambda b: replace(b, part="val"),
        "A is of the part 'test', B of 'val'; evaluate both on one part",
    ),
    "cells": (
        without_a_cell,
        (
            "A and B are not of the same cells: 1 are in only one of them (the first: BLA/7); "
            "evaluate both with the same data and audit, or give --common to compare on the cells "
            "that all have"
        ),
    ),
    "changed": (
        lambda b: replace(b, cells=b.cells | {"BLA/7": b.cells["BLA/7"]._replace(truth="LYT")}),
        (
            "BLA/7 has another class or group in A than in B; one of them was changed: evaluate "
            "both bundles again"
        ),
    ),
    "classes": (
        lambda b: replace(b, classes=("PLM", "EBO")),
        "no cell is left of a class that all bundles cover; they cover in common: no class",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused(case: str) -> None:
    change, message = REFUSED[case]
    with pytest.raises(ComparisonError) as caught:
        compare([A, change(B)])
    assert str(caught.value) == message


def test_one_alone_is_refused() -> None:
    with pytest.raises(ComparisonError, match="1 given to compare; give two or more"):
        compare([A])
    with pytest.raises(ComparisonError, match="0 given to compare; give two or more"):
        compare([])


def test_cells_that_only_some_have_are_left_out_on_demand() -> None:
    result = compare([A, without_a_cell(B)], common=True, rounds=200)
    assert result.cells == len(A.cells) - 1
    assert result.left_out_in_words == ("1 cells that only some of the evaluations have",)


@pytest.fixture(scope="module")
def figures(
    exported: Path, manifest: Manifest, split: Split, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two real evaluations of the toy bundle, and one of a bundle that is always right."""
    from marrowscope.model.bundle import load_bundle

    folder = tmp_path_factory.mktemp("figures")
    shutil.copytree(exported, folder / "bundle")
    for name in ("one", "two"):
        bundle = load_bundle(str(folder / "bundle"))
        evaluate(bundle, manifest, split, folder / name, least_support=1, rounds=100)
    shutil.copytree(folder / "one", folder / "oracle")
    rows = rows_of(folder / "one/predictions.csv")
    with (folder / "oracle/predictions.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | {"label": row["truth"]} for row in rows)
    return folder


def test_an_evaluation_is_read_back(figures: Path, toy_bundle: Bundle, split: Split) -> None:
    read = read_evaluation(figures / "one")
    assert read.name == "toy"
    assert read.classes == toy_bundle.classes
    assert read.split_hash == split.hash
    assert len(read.cells) == len(split.part("test"))
    assert read_evaluation(figures / "one", "mine").name == "mine"


def test_evaluations_that_were_changed_are_refused(figures: Path, tmp_path: Path) -> None:
    shutil.copytree(figures / "one", tmp_path / "e")
    table, metrics = tmp_path / "e/predictions.csv", tmp_path / "e/metrics.json"
    lines = table.read_text().splitlines()
    path = lines[1].split(",")[0]
    table.write_text("\n".join([*lines, lines[1]]))
    with pytest.raises(ComparisonError) as caught:
        read_evaluation(tmp_path / "e")
    assert str(caught.value) == (
        f"{table}: the row of {path!r} is there twice or lacks a class or a group; evaluate the "
        "bundle again"
    )
    table.write_text("\n".join(lines))
    metrics.write_text("{}")
    with pytest.raises(ComparisonError) as caught:
        read_evaluation(tmp_path / "e")
    assert str(caught.value) == (
        f"{metrics} cannot be read: KeyError('bundle'); evaluate the bundle again"
    )


def test_the_command_finds_no_difference_between_the_same(figures: Path, tmp_path: Path) -> None:
    done = run(
        "compare", figures / "one", figures / "two",
        "--least-support", 1, "--rounds", 200, "--output", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "macro-F1: no difference shown (0.0 to 0.0 points of macro-F1)" in done.stdout
    assert ", PLM 3" in done.stdout
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "compare.json", "compare.csv", "compare.html",
    }  # fmt: skip
    again = run("compare", figures / "one", figures / "two", "--output", tmp_path / "out")
    assert again.returncode == 1
    assert "already holds something" in again.stderr


def test_the_command_finds_the_better_one(figures: Path, tmp_path: Path) -> None:
    done = run(
        "compare", figures / "one", figures / "oracle",
        "--least-support", 1, "--rounds", 200, "--output", tmp_path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads((tmp_path / "compare.json").read_text())
    (pair,) = printed["pairs"]
    assert [row["other"] for row in pair["headline"]] == [1, 1, 1]
    oracle = str(figures / "oracle")
    assert {row["better"] for row in pair["headline"]} == {oracle}
    assert pair["classes"][0]["difference"]["low"] is None
    rows = rows_of(tmp_path / "compare.csv")
    assert [row["figure"] for row in rows[:3]] == ["macro-F1", "accuracy", "balanced accuracy"]
    assert rows[0]["verdict"].startswith(f"{oracle} is better by ")
    assert rows[3]["low"] == ""
    page = (tmp_path / "compare.html").read_text()
    assert rows[0]["verdict"] in page
    assert page.count("<circle") == len(rows)
    assert "<script" not in page
    assert "http" not in page


def test_bundles_are_evaluated_first(
    exported: Path, figures: Path, split: Split, tmp_path: Path
) -> None:
    bundle = tmp_path / "toy"
    shutil.copytree(exported, bundle)
    write_split(split, tmp_path / "split")
    words = ("compare", figures / "one", bundle)
    bare = run(*words)
    assert bare.returncode == 1
    assert bare.stderr == (
        f"error: {bundle} is a bundle; to evaluate it, --data, --split and --output are needed. "
        "Or give the folder that `marrowscope evaluate` wrote for it\n"
    )
    done = run(
        *words, "--data", SAMPLES / "cells.csv", "--split", tmp_path / "split",
        "--output", tmp_path / "out", "--least-support", 1, "--rounds", 100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "accuracy: no difference shown (0.0 to 0.0 points of accuracy)" in done.stdout
    assert (tmp_path / "out/evaluation-1/metrics.json").is_file()


def test_the_command_refuses_in_words(figures: Path, tmp_path: Path) -> None:
    done = run("compare", figures / "one", tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: {tmp_path}: not an evaluation (no metrics.json, predictions.csv)\n"
        "hint: give the folder that `marrowscope evaluate` wrote, or a bundle with --data, "
        "--split and --output\n"
    )
    done = run("compare", figures / "one", figures / "two", "--data", SAMPLES / "cells.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("error: --data, --split and --audit are for bundles, and no ")
    done = run("compare", figures / "one", figures / "one/")
    assert done.stderr == f"error: {figures / 'one'} is given twice\nhint: give each once\n"
