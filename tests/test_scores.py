"""Every way of scoring, at both class mixes, against hand-worked numbers and scikit-learn."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    matthews_corrcoef,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

from marrowscope.errors import PredictionError, SettingsError, UnknownClassError
from marrowscope.metrics.prevalence import ADULT_MARROW, read_prevalence
from marrowscope.metrics.ranking import Ranking, top_k_hits
from marrowscope.metrics.scores import (
    Answers,
    Score,
    check_probabilities,
    marrow_shares,
    marrow_weights,
    score,
)
from marrowscope.metrics.tolerance import TOLERATED, forgiven, lineages, tolerated_in_words
from marrowscope.taxonomy import FOURTEEN, cell_class

Numbers = NDArray[np.float64]

CLASSES = ("PMO", "MYB", "BLA")
TRUTH = np.array([0] * 5 + [1] * 4 + [2] * 3)
PROBABILITIES = np.array([
    [.7, .2, .1], [.6, .1, .3], [.5, .3, .2], [.3, .5, .2], [.1, .3, .6],
    [.2, .8, .0], [.3, .6, .1], [.1, .5, .4], [.6, .3, .1],
    [.2, .1, .7], [.3, .2, .5], [.4, .5, .1],
])  # fmt: skip
# Strict, at the test's mix: the matrix of test_metrics.py (rows PMO, MYB, BLA).
#   3 1 1
#   1 3 0
#   0 1 2
# top-2: the fifth cell (BLA, then MYB) and the last (MYB, then PMO) miss: 10/12.
# BLA has the probabilities .7 .5 .1 in its own cells, .6 .4 .3 .2 .2 .1 .1 .1 .0 in the others:
#   AUROC: .7 beats 9 of them, .5 beats 8, .1 beats 1 and equals 3: (9 + 8 + 1 + 3/2) / 27
#   average precision: (1/1 at .7 + 2/3 at .5 + 3/11 at .1) / 3 = 64/99
# Tolerant: PMO/MYB is one step, so these confusions move onto the diagonal: accuracy 10/12.
#   4 0 1
#   0 4 0
#   0 1 2
# Lineages (blasts, neutrophilic): accuracy (2 + 8) / 12, precision of blasts 2/3.
#   2 1
#   1 8
# Marrow mix PMO 20, MYB 60, BLA 20 percent: each row is divided by its cells, times its share.
#   .12 .04 .04       accuracy .12 + .45 + .4/3 = 2.11/3
#   .15 .45 .00       precision PMO .12/.27 = 4/9, MYB .45/(.49 + .2/3) = 135/167
#   .00 .2/3 .4/3     precision BLA (.4/3)/(.04 + .4/3) = 10/13, at the test's mix 2/3


def outcomes(truth: NDArray[np.int64], probabilities: Numbers, groups: int = 0) -> Answers:
    numbers = np.arange(len(truth)) % (groups or len(truth))
    return Answers(truth, probabilities.argmax(axis=1), probabilities, numbers)


def scored(
    cells: Answers,
    classes: tuple[str, ...],
    percent: dict[str, float],
    least: int = 1,
    rounds: int = 50,
) -> dict[tuple[str, str], Score]:
    support = np.bincount(cells.truth, minlength=len(classes))
    shares = marrow_shares(percent, classes, support, least)
    found = score(cells, classes, shares, least_support=least, rounds=rounds, seed=0)
    return {(each.scoring, each.mix): each for each in found}


def test_hand_worked_example() -> None:
    found = scored(outcomes(TRUTH, PROBABILITIES), CLASSES, {"PMO": 20.0, "MYB": 60.0, "BLA": 20.0})
    strict = found["strict", "test"]
    assert strict.figures["accuracy"].value == pytest.approx(8 / 12)
    assert strict.figures["macro_f1"].value == pytest.approx(2 / 3)
    assert strict.figures["kappa"].value == pytest.approx(47 / 95)
    assert strict.figures["mcc"].value == pytest.approx(1 / 2)
    assert strict.figures["top2"].value == pytest.approx(10 / 12)
    assert strict.per_class["BLA"]["auroc"].value == pytest.approx(19.5 / 27)
    assert strict.per_class["BLA"]["average_precision"].value == pytest.approx(64 / 99)
    assert found["tolerant", "test"].figures["accuracy"].value == pytest.approx(10 / 12)
    lineage = found["lineage", "test"]
    assert lineage.figures["accuracy"].value == pytest.approx(10 / 12)
    assert lineage.per_class["blasts"]["precision"].value == pytest.approx(2 / 3)
    marrow = found["strict", "marrow"]
    assert marrow.figures["accuracy"].value == pytest.approx(2.11 / 3)
    precisions = [marrow.per_class[code]["precision"].value for code in CLASSES]
    assert precisions == pytest.approx([4 / 9, 135 / 167, 10 / 13])
    recalls = [marrow.per_class[code]["recall"].value for code in CLASSES]
    assert recalls == pytest.approx([3 / 5, 3 / 4, 2 / 3])


def of_scikit_learn(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], size: int, weights: Numbers
) -> dict[str, float]:
    """Compute the figures of a set that need no probabilities."""
    kept = sorted(set(truth[weights > 0].tolist()))
    found: dict[str, float] = {}
    for average, labels in (("macro", kept), ("weighted", list(range(size)))):
        values = precision_recall_fscore_support(
            truth, predicted, labels=labels, average=average, zero_division=0,
            sample_weight=weights,
        )  # fmt: skip
        for name, value in zip(("precision", "recall", "f1"), values[:3], strict=True):
            found[f"{average}_{name}"] = value
    return found | {
        "accuracy": accuracy_score(truth, predicted, sample_weight=weights),
        "balanced_accuracy": found["macro_recall"],
        "kappa": cohen_kappa_score(truth, predicted, sample_weight=weights),
        "mcc": matthews_corrcoef(truth, predicted, sample_weight=weights),
    }


def random_cells(seed: int, classes: int, cells: int = 300) -> tuple[NDArray[np.int64], Numbers]:
    """Cells of all classes; probabilities of one decimal have many ties."""
    random = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), random.integers(0, classes, cells - classes)])
    logits = random.normal(size=(cells, classes)) * 2
    logits[np.arange(cells), truth] += 2
    powers = np.exp(logits)
    sure: Numbers = powers / powers.sum(axis=1, keepdims=True)
    return truth, sure.round(1) if seed % 2 else sure


@pytest.mark.parametrize("seed", range(4))
def test_every_figure_equals_that_of_scikit_learn(seed: int) -> None:
    truth, probabilities = random_cells(seed, len(FOURTEEN))
    cells = outcomes(truth, probabilities)
    names, lineage_of = lineages(FOURTEEN)
    merged = np.stack(
        [probabilities[:, lineage_of == index].sum(axis=1) for index in range(len(names))], axis=1
    ).round(9)
    near = forgiven(truth, cells.predicted, FOURTEEN)
    ways: dict[str, tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64], Numbers | None]]
    ways = {
        "strict": (FOURTEEN, truth, cells.predicted, probabilities),
        "tolerant": (FOURTEEN, truth, near, None),
        "lineage": (names, lineage_of[truth], lineage_of[cells.predicted], merged),
    }
    percent = dict(ADULT_MARROW.percent)
    shares = marrow_shares(percent, FOURTEEN, np.bincount(truth, minlength=14), 1)
    marrow = marrow_weights(np.ones(len(truth)), truth, shares)
    assert marrow is not None
    found = scored(cells, FOURTEEN, percent, rounds=5)
    for mix, weights in (("test", np.ones(len(truth))), ("marrow", marrow)):
        for scoring, (codes, true, predicted, chances) in ways.items():
            ours = found[scoring, mix]
            theirs = of_scikit_learn(true, predicted, len(codes), weights)
            assert {name: ours.figures[name].value for name in theirs} == pytest.approx(theirs)
            compare_classes(ours, codes, true, predicted, weights)
            if chances is not None:
                compare_ranking(ours, codes, true, chances, weights)


def compare_classes(
    ours: Score,
    codes: tuple[str, ...],
    true: NDArray[np.int64],
    predicted: NDArray[np.int64],
    weights: Numbers,
) -> None:
    theirs = precision_recall_fscore_support(
        true, predicted, labels=range(len(codes)), zero_division=0, sample_weight=weights
    )
    for index, code in enumerate(codes):
        assert (code in ours.per_class) == bool(weights[true == index].sum() > 0)
        if code in ours.per_class:
            row = ours.per_class[code]
            values = [row[name].value for name in ("precision", "recall", "f1")]
            assert values == pytest.approx([their[index] for their in theirs[:3]])
            assert ours.support[code] == (true == index).sum()


def compare_ranking(
    ours: Score,
    codes: tuple[str, ...],
    true: NDArray[np.int64],
    chances: Numbers,
    weights: Numbers,
) -> None:
    top2 = top_k_accuracy_score(true, chances, k=2, labels=range(len(codes)), sample_weight=weights)
    assert ours.figures["top2"].value == pytest.approx(top2)
    areas, averages = [], []
    for index, code in enumerate(codes):
        if code in ours.per_class:
            row = ours.per_class[code]
            areas.append(roc_auc_score(true == index, chances[:, index], sample_weight=weights))
            averages.append(
                average_precision_score(true == index, chances[:, index], sample_weight=weights)
            )
            assert row["auroc"].value == pytest.approx(areas[-1])
            assert row["average_precision"].value == pytest.approx(averages[-1])
    assert ours.figures["macro_auroc"].value == pytest.approx(np.mean(areas))
    assert ours.figures["macro_average_precision"].value == pytest.approx(np.mean(averages))


def test_balanced_accuracy_counts_classes_that_the_macro_means_leave_out() -> None:
    truth, probabilities = random_cells(0, 3, 60)
    truth[truth == 2] = 0
    truth[:2] = 2
    cells = outcomes(truth, probabilities)
    strict = scored(cells, CLASSES, {"PMO": 1.0}, least=10)["strict", "test"]
    theirs = balanced_accuracy_score(truth, cells.predicted)
    assert strict.figures["balanced_accuracy"].value == pytest.approx(theirs)
    assert strict.macro_classes == ("PMO", "MYB")
    theirs = precision_recall_fscore_support(
        truth, cells.predicted, labels=[0, 1], average="macro"
    )[1]
    assert strict.figures["macro_recall"].value == pytest.approx(theirs)


def test_ranking_figures_of_a_class_without_cells_or_without_others_are_no_numbers() -> None:
    chances = np.array([[0.9, 0.1], [0.8, 0.2]])
    area, average = Ranking(np.array([0, 0]), chances).auroc_and_average_precision(np.ones(2))
    assert np.isnan(area).all()
    assert average[0] == 1
    assert np.isnan(average[1])


def test_the_ranking_example_of_the_docstring() -> None:
    chances = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]])
    ranking = Ranking(np.array([0, 1, 0]), chances)
    area, average = ranking.auroc_and_average_precision(np.ones(3))
    assert area[0] == pytest.approx(1 / 2)
    assert average[0] == pytest.approx(5 / 6)


def test_weights_of_draws_give_the_figures_of_cells_drawn_so_often() -> None:
    truth, probabilities = random_cells(1, 3, 100)
    times = np.random.default_rng(0).integers(0, 4, len(truth))
    found = Ranking(truth, probabilities).auroc_and_average_precision(times.astype(float))
    again = np.repeat(np.arange(len(truth)), times)
    for index in range(3):
        mine, chance = truth[again] == index, probabilities[again, index]
        assert found[0][index] == pytest.approx(roc_auc_score(mine, chance))
        assert found[1][index] == pytest.approx(average_precision_score(mine, chance))


def test_ties_of_the_second_place_go_as_in_scikit_learn() -> None:
    chances = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]])
    assert top_k_hits(np.array([1, 2]), chances).tolist() == [False, True]
    assert top_k_accuracy_score([1, 2], chances, k=2, labels=[0, 1, 2]) == 0.5


def test_single_steps_of_maturation_are_forgiven_and_two_steps_are_not() -> None:
    classes = ("PMO", "MYB", "MMZ", "BLA")
    truth, predicted = np.array([0, 1, 0, 3, 0]), np.array([1, 0, 2, 0, 3])
    assert forgiven(truth, predicted, classes).tolist() == [0, 1, 2, 0, 3]
    assert tolerated_in_words() == "PMO/MYB, MYB/MMZ, MMZ/NGB, NGB/NGS, PEB/EBO"
    lineage = [{cell_class(code).lineage for code in pair} for pair in TOLERATED]
    assert all(len(each) == 1 for each in lineage)


def test_intervals_come_from_whole_groups() -> None:
    truth = np.repeat([0, 1], 200)
    right = np.tile(np.repeat([True, False], 20), 10)
    probabilities = np.where((right == (truth == 0))[:, None], [[0.8, 0.2]], [[0.2, 0.8]])
    by_cell = outcomes(truth, probabilities)
    by_group = Answers(truth, by_cell.predicted, probabilities, np.arange(400) // 20)
    one, other = (
        scored(cells, CLASSES[:2], {"PMO": 1.0, "MYB": 3.0}, rounds=300)["strict", "marrow"]
        for cells in (by_cell, by_group)
    )
    for name in ("accuracy", "macro_f1", "top2", "macro_auroc", "kappa"):
        narrow, wide = one.figures[name], other.figures[name]
        assert narrow.value == wide.value
        assert narrow.low <= narrow.value <= narrow.high
        if name != "top2":
            assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_a_class_outside_the_mix_weighs_nothing_in_it() -> None:
    found = scored(outcomes(TRUTH, PROBABILITIES), CLASSES, {"MYB": 50.0, "BLA": 50.0})
    marrow = found["strict", "marrow"]
    assert (marrow.cells, marrow.support) == (7, {"MYB": 4, "BLA": 3})
    assert marrow.macro_classes == ("MYB", "BLA")
    assert set(marrow.per_class) == {"MYB", "BLA"}


def test_a_mix_without_any_class_of_the_test_gives_no_score() -> None:
    found = scored(outcomes(TRUTH, PROBABILITIES), CLASSES, {"PLM": 100.0})
    assert {mix for _, mix in found} == {"test"}
    one = scored(outcomes(np.zeros(3, int), PROBABILITIES[:3]), CLASSES, {"PMO": 1.0})
    assert one["strict", "test"].figures["accuracy"].value == 1
    assert math.isnan(one["strict", "marrow"].figures["macro_auroc"].value)


def test_the_part_of_the_mix_that_the_cells_stand_for() -> None:
    percent = {"BLA": 20.0, "NGS": 60.0, "LYT": 20.0}
    shares = marrow_shares(percent, ("BLA", "NGS", "LYT", "ART"), np.array([10, 10, 9, 99]), 10)
    assert shares.tolist() == pytest.approx([0.2, 0.6, 0, 0])
    weights = marrow_weights(np.ones(3), np.array([0, 0, 1]), np.array([0.2, 0.8]))
    assert weights is not None
    assert weights.tolist() == pytest.approx([0.1, 0.1, 0.8])
    assert marrow_weights(np.array([1.0, 1, 0]), np.array([0, 0, 1]), np.array([0.2, 0.8])) is None


def test_a_mix_is_read_from_a_table(tmp_path: Path) -> None:
    file = tmp_path / "ours.csv"
    file.write_text("label,percent\nBLA,2\nART,20.5\n")
    assert dict(read_prevalence(file).percent) == {"BLA": 2.0, "ART": 20.5}
    assert read_prevalence(file).source == "ours.csv"
    assert read_prevalence(None) is ADULT_MARROW


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("BLA,much", "percent of BLA must be a number 0 to 100, got 'much'"),
        ("BLA,nan", "percent of BLA must be a number 0 to 100, got 'nan'"),
        ("BLA,-1", "percent of BLA must be a number 0 to 100, got '-1'"),
        ("BLA,1\nBLA,2", "BLA comes twice; give every class once"),
        ("BLA,0", "no class is more than 0 percent; give the mix of a marrow"),
    ],
)
def test_a_table_that_is_no_mix_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    file = tmp_path / "ours.csv"
    file.write_text(f"label,percent\n{rows}\n")
    with pytest.raises(SettingsError) as caught:
        read_prevalence(file)
    assert str(caught.value) == f"{file}: {message}"
    file.write_text("label,percent\nXYZ,1\n")
    with pytest.raises(UnknownClassError, match="unknown class 'XYZ'"):
        read_prevalence(file)


@pytest.mark.parametrize("row", [[math.nan, 0.5], [1.2, -0.2], [0.5, 0.4], [math.inf, 0.0]])
def test_what_is_no_probability_is_refused(row: list[float]) -> None:
    check_probabilities(np.array([[0.5, 0.5], [1.0, 0.0]]), ["a.png", "b.png"])
    with pytest.raises(PredictionError) as caught:
        check_probabilities(np.array([[0.5, 0.5], row]), ["a.png", "b.png"])
    values = ", ".join(f"{value:.3g}" for value in row)
    assert str(caught.value).startswith(
        "1 of 2 cells have no probabilities, numbers 0 to 1 that add up to 1 "
        f"(the first: b.png: {values}); "
    )
