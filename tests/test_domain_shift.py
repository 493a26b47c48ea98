"""What a model loses on other sources: worked numbers, intervals as wide as they must be."""

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score

from marrowscope.metrics.domain_shift import Domain, drops, most_trained
from marrowscope.metrics.scores import Answers

CODES = ("BLA", "EOS", "LYT")


def answers(truth: list[int], predicted: list[int], groups: list[int] | None = None) -> Answers:
    """Cells with certain predictions, each its own group unless told."""
    own = np.arange(len(truth)) if groups is None else np.array(groups)
    sure = np.eye(len(CODES))[predicted]
    return Answers(np.array(truth), np.array(predicted), sure, own)


def block(rights: dict[int, int], cells: int, wrong: int) -> Answers:
    """So many cells a class, so many of them right, the rest taken for the class `wrong`."""
    truth = [code for code in rights for _ in range(cells)]
    predicted = [code if at < n else wrong for code, n in rights.items() for at in range(cells)]
    return answers(truth, predicted)


def only(reference: Answers, other: Answers, least_support: int = 10) -> Domain:
    (domain,) = drops(
        {"mll": reference, "pbc": other},
        CODES,
        "mll",
        least_support=least_support,
        rounds=500,
        seed=0,
    )
    return domain


def test_a_worked_drop() -> None:
    """At home all 40 blasts and 40 eosinophils are right; away 20 of each are called LYT.

    Away: precision 1, recall 1/2, F1 2/3 for both; accuracy 1/2. The drops are 1/3 and 1/2.
    """
    domain = only(block({0: 40, 1: 40}, 40, 2), block({0: 20, 1: 20}, 40, 2))
    assert domain.classes == ("BLA", "EOS")
    assert (domain.cells, domain.cells_reference) == (80, 80)
    assert domain.macro_f1.value == pytest.approx(2 / 3)
    assert domain.macro_f1_reference.value == 1
    assert domain.drop.value == pytest.approx(1 / 3)
    assert domain.accuracy_drop.value == pytest.approx(1 / 2)
    assert domain.macro_recall_drop.value == pytest.approx(1 / 2)
    low, high = 100 * domain.drop.low, 100 * domain.drop.high
    assert 20 < low < 33.3 < high < 50
    assert domain.verdict == f"worse by {low:.1f} to {high:.1f} points of macro-F1"


def test_only_classes_with_enough_cells_in_both_count() -> None:
    """LYT is there at home alone, EOS away alone; BLA taken for LYT is still wrong."""
    home = answers([0] * 20 + [2] * 20, [0] * 20 + [2] * 20)
    away = answers([0] * 20 + [1] * 20 + [2] * 9, [0] * 10 + [2] * 10 + [0] * 20 + [0] * 9)
    domain = only(home, away)
    assert domain.classes == ("BLA",)
    assert (domain.cells, domain.cells_reference) == (20, 20)
    assert domain.accuracy.value == 0.5
    theirs = f1_score([0] * 20, [0] * 10 + [2] * 10, labels=[0], average="macro")
    assert domain.macro_f1.value == pytest.approx(theirs)


def test_a_set_against_itself_shows_no_drop_but_an_interval() -> None:
    """Independent draws: paired ones would give an interval of width 0."""
    same = block({0: 30, 1: 25}, 40, 2)
    domain = only(same, same)
    assert domain.drop.value == 0
    assert domain.drop.low < -0.02 < 0.02 < domain.drop.high
    assert domain.verdict.startswith("no drop shown (-")


def test_the_interval_is_as_wide_as_that_of_two_independent_shares() -> None:
    """Accuracies 0.8 and 0.6 of 200: the difference has the standard error 0.0447."""
    domain = only(block({0: 80, 1: 80}, 100, 2), block({0: 60, 1: 60}, 100, 2))
    error = math.sqrt(0.8 * 0.2 / 200 + 0.6 * 0.4 / 200)
    assert domain.accuracy_drop.low == pytest.approx(0.2 - 1.96 * error, abs=0.02)
    assert domain.accuracy_drop.high == pytest.approx(0.2 + 1.96 * error, abs=0.02)


def test_whole_groups_are_drawn() -> None:
    home = block({0: 90, 1: 90}, 100, 2)
    truth, predicted = [0] * 100 + [1] * 100, [0] * 60 + [2] * 40 + [1] * 60 + [2] * 40
    single = only(home, answers(truth, predicted))
    tens = only(home, answers(truth, predicted, [at // 10 for at in range(200)]))
    assert tens.drop.high - tens.drop.low > 2 * (single.drop.high - single.drop.low)


def test_better_elsewhere_is_said_too() -> None:
    domain = only(block({0: 20, 1: 20}, 40, 2), block({0: 40, 1: 40}, 40, 2))
    low, high = 100 * domain.drop.low, 100 * domain.drop.high
    assert domain.verdict == f"better by {-high:.1f} to {-low:.1f} points of macro-F1"


def test_too_few_groups_or_no_shared_class_get_no_verdict() -> None:
    home = block({0: 30, 1: 25}, 40, 2)
    few = answers([0] * 20, [1] * 20, [at // 5 for at in range(20)])
    domain = only(home, few)
    assert domain.verdict == "too few to tell"
    assert domain.drop.value > 0
    assert math.isnan(domain.drop.low)
    nothing = only(home, answers([2] * 20, [2] * 20))
    assert nothing.verdict == "no class has enough cells in both"
    assert (nothing.classes, nothing.cells) == ((), 0)
    assert math.isnan(nothing.drop.value)


def test_the_reference_has_most_training_cells_of_the_sets_there() -> None:
    images = {
        "train mll": {"BLA": 30, "EOS": 5},
        "train pbc": {"EOS": 20},
        "test pbc": {"EOS": 900},
        "train far": {"BLA": 1000},
    }
    assert most_trained(images, ["mll", "pbc", "ours"]) == "mll"
    assert most_trained(images, ["pbc", "ours"]) == "pbc"
    assert not most_trained(images, ["ours"])
    assert most_trained({"train ": {"BLA": 3}}, ["unnamed source", "ours"]) == "unnamed source"


def test_without_a_reference_there_is_nothing_to_compare() -> None:
    assert drops({"ours": block({0: 9}, 9, 2)}, CODES, "", least_support=1, rounds=9, seed=0) == ()
