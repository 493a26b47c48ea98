"""Corrected shares: worked examples, QuaPy's values, known truths, and what a bundle keeps."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES

from marrowscope.commands.classify_output import show_details
from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split
from marrowscope.differential.error_correction import NO_CELLS, NOT_SEALED, adjust
from marrowscope.differential.options import CountingOptions
from marrowscope.errors import BundleError, OutputError
from marrowscope.evaluation.evaluate import evaluate
from marrowscope.inference.classify import Classified, classify
from marrowscope.inference.options import OutputOptions
from marrowscope.metrics.quantification import (
    Sample,
    answer_rows,
    drawn_mixes,
    mix_behind,
    mix_by_em,
    of_nucleated,
)
from marrowscope.model.bundle import Bundle, load_bundle, load_tested, seal_tested
from marrowscope.model.metadata import FILES
from marrowscope.model.test_predictions import (
    LabelledCells,
    cells_by_source,
    read_tested,
    to_correct_with,
    write_tested,
)
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Picture, Prediction

ROWS = np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.0, 0.1, 0.9]])
CELLS = sorted((SAMPLES / "cells/mll").glob("*/*.jpg"))[::6]


def test_worked_adjusted_count() -> None:
    """80% of the blasts are found, 10% of the others taken for such: 0.8 * 0.2 + 0.1 * 0.8."""
    rows = np.array([[0.8, 0.2], [0.1, 0.9]])
    assert mix_behind(rows, np.array([0.24, 0.76])) == pytest.approx([0.2, 0.8])
    fewer_than_the_false_alarms = np.array([0.05, 0.95])
    assert mix_behind(rows, fewer_than_the_false_alarms) == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize(
    ("seen", "theirs"),
    [
        ([0.36, 0.31, 0.33], [0.410526, 0.315789, 0.273685]),
        ([0.02, 0.50, 0.48], [0.0, 0.623202, 0.376798]),
        ([0.30, 0.10, 0.60], [0.362638, 0.0, 0.637362]),
    ],
)
def test_adjusted_count_equals_quapy(seen: list[float], theirs: list[float]) -> None:
    """`ACC.solve_adjustment(..., 'inversion', 'minimize')` of QuaPy 0.2.3."""
    assert mix_behind(ROWS, np.array(seen)) == pytest.approx(theirs, abs=1e-4)


def test_worked_em() -> None:
    """68 of 100 cells are four to one for the first class.

    At a share p, 0.2 + 0.6 p of the cells are such: 0.68 comes from p = 0.8.
    """
    cells = np.array([[0.8, 0.2]] * 68 + [[0.2, 0.8]] * 32)
    assert mix_by_em(cells, np.array([0.5, 0.5])) == pytest.approx([0.8, 0.2], abs=1e-5)
    certain = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert mix_by_em(certain, np.array([0.5, 0.5])) == pytest.approx([0.25, 0.75])


def test_em_equals_quapy() -> None:
    """`EMQ.EM` of QuaPy 0.2.3."""
    cells = np.array(
        [
            [0.7, 0.2, 0.1],
            [0.1, 0.6, 0.3],
            [0.05, 0.15, 0.8],
            [0.2, 0.2, 0.6],
            [0.8, 0.1, 0.1],
            [0.1, 0.8, 0.1],
        ]
    )
    found = mix_by_em(cells, np.array([0.2, 0.5, 0.3]))
    assert found == pytest.approx([0.57097041, 0.01928781, 0.40974177], abs=1e-5)


def test_draws_of_a_sample_scatter_as_a_share_does() -> None:
    """Of 400 cells, 100 of them certain blasts: 0.25, with a standard error of 0.0217."""
    cells = np.repeat([[1.0, 0.0], [0.0, 1.0]], [100, 300], axis=0)
    sample = Sample(2, rounds=4000)
    for part in np.array_split(np.random.default_rng(1).permutation(cells), 7):
        sample.add(part)
    assert sample.cells == 400
    assert sample.mean == pytest.approx([0.25, 0.75])
    assert sample.drawn.mean(axis=0) == pytest.approx([0.25, 0.75], abs=0.002)
    assert sample.drawn[:, 0].std() == pytest.approx(np.sqrt(0.25 * 0.75 / 400), rel=0.05)


def test_rows_are_drawn_by_groups_and_one_without_cells_is_taken_as_recognised() -> None:
    """40 of 50 cells right; every cell twice in its group is no more to go by than once."""
    answers = np.repeat([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [40, 10], axis=0)
    truth, groups = np.zeros(50, dtype=np.int64), np.arange(50)
    once = answer_rows(answers, truth, groups, 3000)
    twice = answer_rows(np.tile(answers, (2, 1)), np.tile(truth, 2), np.tile(groups, 2), 3000)
    assert once.mean.tolist() == [[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    assert twice.mean.tolist() == once.mean.tolist()
    assert once.drawn[:, 0, 0].std() == pytest.approx(np.sqrt(0.8 * 0.2 / 50), rel=0.05)
    assert twice.drawn[:, 0, 0].std() == pytest.approx(once.drawn[:, 0, 0].std(), rel=0.05)
    assert (once.drawn[:, 1:] == np.eye(3)[1:]).all()


def test_only_nucleated_cells_are_the_whole() -> None:
    counted = np.array([True, True, False])
    assert of_nucleated(np.array([0.2, 0.6, 0.2]), counted) == pytest.approx([0.25, 0.75, 0.0])
    assert np.isnan(of_nucleated(np.array([0.0, 0.0, 1.0]), counted)).all()


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """60% of one class in 300 cells, of which 80% are found: plain misses, adjusted covers."""
    random = np.random.default_rng(0)
    covered, errors = 0, []
    for repeat in range(150):
        truth = np.repeat(np.arange(3), 60)
        test = np.eye(3)[[random.choice(3, p=ROWS[index]) for index in truth]]
        seen = np.eye(3)[random.choice(3, 300, p=np.array([0.6, 0.3, 0.1]) @ ROWS)]
        rows = answer_rows(test, truth, np.arange(180), 200, repeat)
        sample = Sample(3, 200, repeat + 1)
        sample.add(seen)
        low, high = np.quantile(drawn_mixes(rows, sample)[:, 0], [0.025, 0.975])
        covered += low <= 0.6 <= high
        errors.append((seen[:, 0].mean() - 0.6, mix_behind(rows.mean, sample.mean)[0] - 0.6))
    assert 0.9 <= covered / 150 <= 0.99
    plain, adjusted = np.abs(errors).mean(axis=0)
    assert adjusted < 0.75 * plain


def labelled(labels: list[str], sources: list[str]) -> LabelledCells:
    cells = np.full((len(labels), 2), 0.5, dtype=np.float16)
    return LabelledCells(cells, tuple(labels), tuple(sources), tuple(range(len(labels))))


def test_cells_of_the_source_at_hand_are_used_alone_where_there_are_enough() -> None:
    labels = ["NGS"] * 37 + ["MYB"] * 47
    sources = ["mll"] * 20 + ["pbc"] * 17 + ["mll"] * 3 + ["pbc"] * 44
    kept = to_correct_with(labelled(labels, sources), "mll")
    assert cells_by_source(kept) == {"MYB": {"mll": 3, "pbc": 44}, "NGS": {"mll": 20}}
    assert kept.groups == (*range(20), *range(37, 84))
    assert len(kept.probabilities) == 67
    everything = cells_by_source(to_correct_with(labelled(labels, sources), ""))
    assert everything == {"MYB": {"mll": 3, "pbc": 44}, "NGS": {"mll": 20, "pbc": 17}}


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle("default")


def drawn(bundle: Bundle, cells: dict[str, int]) -> Iterator[Prediction]:
    """Real predictions of so many test cells of each class, drawn with replacement."""
    known = load_tested(bundle)
    random = np.random.default_rng(0)
    for code, number in cells.items():
        mine = np.flatnonzero(np.array(known.labels) == code)
        for row in known.probabilities[random.choice(mine, number)].astype(float):
            best = int(row.argmax())
            yield Prediction("", bundle.classes[best], row[best], tuple(row.tolist()))


def test_a_marrow_full_of_blasts_comes_closer_to_the_truth(shipped: Bundle) -> None:
    mix = {"BLA": 300, "PMO": 10, "MYB": 30, "NGS": 60, "EBO": 60, "LYT": 20, "NIF": 20}
    cells = list(drawn(shipped, mix))
    nucleated = [cell for cell in cells if CLASSES[cell.label].counted]
    plain = 100 * sum(cell.label == "BLA" for cell in nucleated) / len(nucleated)
    truth = 100 * 300 / 480
    found = adjust(cells, shipped)
    blasts, plasma = found.shares
    assert found.cells == 500
    assert blasts.percent is not None
    assert blasts.low is not None
    assert blasts.high is not None
    assert abs(blasts.percent - truth) < abs(plain - truth) / 2
    assert blasts.low < truth < blasts.high
    assert blasts.in_words.startswith("Blasts, adjusted for the model's errors: ")
    assert plasma.percent is not None
    assert plasma.percent < 5
    assert found.notes[0].startswith("Model-dependent:")
    assert found.notes[1].startswith("How MYB, MMZ, NGB, BAS, EBO, PLM, KSC, PLT are read")
    assert adjust(cells, shipped) == found


def test_only_excluded_cells_and_no_cells_are_told(shipped: Bundle) -> None:
    empty = adjust([], shipped)
    assert (empty.shares, empty.notes) == ((), (NO_CELLS,))
    index = shipped.classes.index("ART")
    artefact = Prediction("", "ART", 1.0, tuple(np.eye(len(shipped.classes))[index].tolist()))
    blasts, _ = adjust([artefact] * 20, shipped).shares
    assert blasts.percent is None
    assert blasts.note == (
        "Blasts: no adjusted share, as no nucleated cell is left after the correction."
    )


def classified(bundle: Bundle, folder: Path, coverage: float | None = None) -> Classified:
    return classify(
        map(Picture, CELLS), bundle, folder, counting=CountingOptions(coverage=coverage)
    )


def evaluated(bundle: Bundle, manifest: Manifest, split: Split, folder: Path) -> Bundle:
    return evaluate(bundle, manifest, split, folder, least_support=1, rounds=100).bundle


def test_evaluate_seals_the_test_cells_that_are_counted(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    sealed = evaluated(toy_bundle, manifest, split, tmp_path / "e")
    besides = {"references.npz", "known-cells.zip", "tested.npz", "failures.jpg"}
    assert set(sealed.files) == {*FILES, *besides}
    assert {file.name for file in sealed.folder.iterdir()} == set(sealed.files)
    assert load_bundle(str(sealed.folder)).adjustment == sealed.adjustment
    assert sealed.adjustment is not None
    known = load_tested(sealed)
    cells = [row for row in split.part("test") if row.cell.label in sealed.classes]
    assert len(known.labels) + sealed.adjustment.set_aside == len(cells)
    assert cells_by_source(known) == sealed.adjustment.rows
    assert "## Cells that shares are adjusted with" in (sealed.folder / "MODEL_CARD.md").read_text()


def test_too_few_test_cells_give_no_share(
    toy_bundle: Bundle, manifest: Manifest, split: Split, tmp_path: Path
) -> None:
    sealed = evaluated(toy_bundle, manifest, split, tmp_path / "e")
    blasts = classified(sealed, tmp_path / "c").adjusted.shares[0]
    assert blasts.percent is None
    assert "20 in 5 are needed" in blasts.note


def test_a_bundle_that_was_evaluated_before_says_so(toy_bundle: Bundle, tmp_path: Path) -> None:
    result = classified(toy_bundle, tmp_path / "c")
    assert result.adjusted.notes == (NOT_SEALED,)
    written = json.loads((tmp_path / "c/differential.json").read_text())
    assert written["adjusted"]["notes"] == [NOT_SEALED]


def with_test_cells(bundle: Bundle) -> Bundle:
    """The toy bundle with 30 made-up test cells of each class, of which 8 in 10 are right."""
    size = len(bundle.classes)
    right = np.full((size, size), 0.2 / (size - 1)) + np.eye(size) * (0.8 - 0.2 / (size - 1))
    cells = np.tile(right, (30, 1)).astype(np.float16)
    labels = 30 * bundle.classes
    given = LabelledCells(cells, labels, ("mll",) * len(labels), tuple(range(len(labels))))
    return seal_tested(bundle, given, "mll")


def test_cells_to_review_are_part_of_an_adjusted_share(
    toy_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = with_test_cells(toy_bundle)
    all_cells = classified(bundle, tmp_path / "all")
    sure = classified(bundle, tmp_path / "sure", coverage=0.5)
    assert sure.review is not None
    assert sure.review.cells > 0
    assert sure.differential.counted < all_cells.differential.counted
    assert sure.adjusted == all_cells.adjusted
    assert sure.adjusted.cells == all_cells.cells - all_cells.novel
    written = json.loads((tmp_path / "sure/differential.json").read_text())["adjusted"]
    assert written["shares"][0]["percent"] == sure.adjusted.shares[0].percent is not None
    show_details(sure, bundle)
    shown = " ".join(capsys.readouterr().out.split())
    assert sure.adjusted.shares[0].in_words in shown
    assert "as counted" in shown


def test_an_interrupted_classification_stays_with_its_test_cells(
    toy_bundle: Bundle, tmp_path: Path
) -> None:
    classified(toy_bundle, tmp_path / "c")
    with pytest.raises(OutputError, match="tested was"):
        classify(
            map(Picture, CELLS),
            with_test_cells(toy_bundle),
            tmp_path / "c",
            output=OutputOptions(resume=True),
        )


def test_changed_test_cells_are_refused(toy_bundle: Bundle) -> None:
    bundle = with_test_cells(toy_bundle)
    file = bundle.folder / "tested.npz"
    file.write_bytes(file.read_bytes() + b"0")
    with pytest.raises(BundleError, match=r"is not what bundle\.json describes"):
        load_bundle(str(bundle.folder))


@pytest.mark.parametrize("damage", ["text", "pickle", "kinds", "classes", "sum", "short"])
def test_a_file_that_holds_something_else_is_refused(damage: str, tmp_path: Path) -> None:
    file = write_tested(labelled(["BLA", "NGS"], ["mll", "mll"]), tmp_path)
    classes = ["BLA", "NGS"]
    with np.load(file) as content:
        values = dict(content)
    if damage == "pickle":
        values["labels"] = np.array(["BLA", {}], dtype=object)
    elif damage == "kinds":
        values["groups"] = np.array([0.5, 1.0])
    elif damage == "classes":
        classes = ["BLA", "EOS"]
    elif damage == "sum":
        values["probabilities"] = values["probabilities"] * np.float16(0.5)
    elif damage == "short":
        values["groups"] = values["groups"][:1]
    with file.open("wb") as content:
        np.savez(content, **values)
    if damage == "text":
        file.write_text("hello")
    message = {
        "text": "cannot be read as test cells",
        "pickle": "cannot be read as test cells",
        "kinds": "got the kinds f, U, U, f and the shape (2, 2)",
        "classes": "has cells of NGS; the bundle covers BLA, EOS",
        "sum": "must be 0..1 and add up to 1",
        "short": "got (2, 2), 2, 2 and 1",
    }[damage]
    with pytest.raises(BundleError) as refused:
        read_tested(file, classes)
    assert message in str(refused.value)
