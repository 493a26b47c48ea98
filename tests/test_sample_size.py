"""How many cells to count or review: worked values, simulations, and what is not enough."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import beta, betabinom, binomtest

from marrowscope.differential.error_correction import own_weights
from marrowscope.differential.review_priority import Worklist
from marrowscope.differential.sample_size import (
    cells_until_clear,
    chances_of,
    in_doubt,
    review_first,
    reviews_until_clear,
)
from marrowscope.errors import SettingsError
from marrowscope.metrics.classification import exact_interval
from marrowscope.model.bundle import load_bundle, load_tested
from marrowscope.types import Prediction

CLASSES = ("ART", "BLA", "MON", "NGS")


def cell(name: str, *probabilities: float) -> Prediction:
    label = CLASSES[int(np.argmax(probabilities))]
    return Prediction(name, label, max(probabilities), probabilities)


CELLS = [
    cell("sure.png", 0.0, 1.0, 0.0, 0.0),
    cell("likely.png", 0.0, 0.9, 0.1, 0.0),
    cell("half.png", 0.0, 0.5, 0.4, 0.1),
    cell("other.png", 0.0, 0.3, 0.7, 0.0),
    cell("never.png", 0.0, 0.0, 0.0, 1.0),
    cell("dirt.png", 0.6, 0.4, 0.0, 0.0),
]


def test_worked_example_of_30_in_500() -> None:
    found = cells_until_clear(30, 500, 5)
    assert found.more == 1503
    assert 100 * exact_interval(120, 2003).low == pytest.approx(5.0, abs=0.01)
    assert found.likely is None
    assert found.in_words == (
        "To tell it from 5%: 1,503 more cells (2,003 in all) if the share stays at 6.0%. The true "
        "share is not known: so many settle it with a chance of 51%, 10,000 with less than 80%."
    )


@pytest.mark.parametrize(("cells", "of", "percent"), [(8, 100, 5), (3, 100, 5), (68, 400, 20)])
def test_so_many_are_enough_and_fewer_are_not(cells: int, of: int, percent: float) -> None:
    """At a share of 8%, 25 cells more give 2 more of them: scipy's limits leave 5% just there."""
    more = cells_until_clear(cells, of, percent).more
    assert more
    whole = of // np.gcd(cells, of)
    for total, clear in ((of + more + 2 * whole, True), (of + more - 2 * whole, False)):
        there = round(total / whole) * cells // int(np.gcd(cells, of))
        limits = binomtest(there, round(total / whole) * whole).proportion_ci(method="exact")
        assert (not limits.low < percent / 100 <= limits.high) == clear


def test_the_chance_is_that_of_drawing_a_share_and_then_cells() -> None:
    """20,000 draws of what 159 more cells show, each held against scipy's or our exact limits."""
    found = cells_until_clear(8, 100, 5)
    assert found.more == 159
    random = np.random.default_rng(0)
    new = random.binomial(159, random.beta(8.5, 92.5, 20_000))
    clear = {}
    for extra in range(160):
        limits = exact_interval(8 + extra, 259)
        clear[extra] = not limits.low < 0.05 <= limits.high
    drawn = np.mean([clear[int(extra)] for extra in new])
    assert found.chance == pytest.approx(drawn, abs=0.012)
    exact = sum(betabinom.pmf(extra, 159, 8.5, 92.5) for extra, settled in clear.items() if settled)
    assert found.chance == pytest.approx(exact)
    assert found.likely == 1300


def test_what_is_clear_needs_no_more() -> None:
    found = cells_until_clear(0, 500, 5)
    assert (found.more, found.chance, found.likely) == (0, 1.0, 0)
    assert found.in_words == "The interval does not straddle 5%."


def test_a_share_at_the_threshold_is_never_clear() -> None:
    found = cells_until_clear(100, 500, 20)
    assert (found.more, found.chance, found.likely) == (None, 0.0, None)
    assert found.in_words == (
        "To tell it from 20%: 10,000 more cells are not enough if the share stays at 20.0%, so "
        "near is it. The true share is not known: 10,000 with less than 80%."
    )
    assert cells_until_clear(2, 10, 20).likely == 680


def test_the_cap_is_kept() -> None:
    assert cells_until_clear(30, 500, 5, cap=1503).more == 1503
    assert cells_until_clear(30, 500, 5, cap=1502).more is None
    assert cells_until_clear(8, 100, 5, cap=1000).likely is None


def test_no_cells() -> None:
    found = cells_until_clear(0, 0, 5)
    assert (found.more, found.in_words) == (None, "No cell was counted: count first.")


@pytest.mark.parametrize(
    ("cells", "of", "percent", "message"),
    [
        (6, 5, 5, "6 of 5 cells is no share; give 0 to 5 cells"),
        (-1, 5, 5, "-1 of 5 cells is no share; give 0 to 5 cells"),
        (1, 5, 100, "a threshold lies between 0 and 100 percent; got 100"),
    ],
)
def test_what_is_no_share_or_threshold(cells: int, of: int, percent: float, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        cells_until_clear(cells, of, percent)
    assert str(caught.value) == message


def test_the_cells_nearest_to_a_half_come_first() -> None:
    order = review_first(CELLS, CLASSES)
    assert [each.path for each in order[:4]] == [
        "half.png", "dirt.png", "other.png", "likely.png",
    ]  # fmt: skip
    assert [each.variance for each in order[:4]] == pytest.approx([0.25, 0.24, 0.21, 0.09])
    rest = review_first(CELLS, CLASSES, reviewed={"half.png": "MON", "dirt.png": "ART"})
    assert [each.path for each in rest[:2]] == ["other.png", "likely.png"]
    together = review_first(CELLS, CLASSES, codes=("BLA", "MON"))
    assert together[0].path == "dirt.png"


def test_a_reviewed_cell_is_sure() -> None:
    chances = chances_of(CELLS, CLASSES, reviewed={"half.png": "BLA", "likely.png": "MON"})
    assert list(chances.values()) == [1.0, 0.0, 1.0, 0.3, 0.0, 0.4]
    with pytest.raises(SettingsError) as caught:
        chances_of(CELLS, CLASSES, codes=("PLM",))
    assert str(caught.value) == "the model does not know PLM; it knows ART, BLA, MON, NGS"


def test_the_models_doubt_widens_the_interval_and_reviews_narrow_it() -> None:
    """40 cells at 0.75 of 500: as good as 500 * 28.2 / (28.2 + 7.5) = 395 sure cells."""
    doubtful = in_doubt([0.75] * 40 + [0.0] * 460, 500)
    assert (doubtful.percent, doubtful.cells) == (6.0, 40)
    assert (round(doubtful.low, 1), round(doubtful.high, 1)) == (3.9, 8.8)
    sure = in_doubt([1.0] * 30 + [0.0] * 470, 500)
    exact = exact_interval(30, 500)
    assert (sure.low, sure.high) == pytest.approx((100 * exact.low, 100 * exact.high))
    assert sure.cells == 0


def test_so_many_reviews_are_enough_and_one_fewer_is_not() -> None:
    chances = [0.75] * 48 + [0.0] * 452
    found = reviews_until_clear(chances, 500, 5)
    assert found.reviews == 31
    assert found.in_words == "To tell it from 5%, review about 31 cells, the most doubtful first."
    for reviews, clear in ((31, True), (30, False)):
        left = (48 - reviews) * 0.75 * 0.25
        drawing = 500 * 0.072 * 0.928
        size = 500 * drawing / (drawing + left)
        low = beta.ppf(0.025, 0.072 * size, size - 0.072 * size + 1)
        assert (low >= 0.05) == clear


def test_reviews_that_are_not_needed_or_not_enough() -> None:
    assert reviews_until_clear([0.75] * 100, 1000, 5).reviews == 0
    found = reviews_until_clear([0.75] * 40, 500, 5)
    assert found.reviews is None
    assert found.in_words == (
        "To tell it from 5%, reviewing is not enough, not even of all 40 cells: more must be "
        "counted."
    )
    assert reviews_until_clear([], 500, 5).reviews == 0
    assert reviews_until_clear([1.0] * 500, 500, 5).reviews == 0
    with pytest.raises(SettingsError, match=r"^2.0 of 1 cells is no share"):
        reviews_until_clear([1.0, 1.0], 1, 5)


def test_the_interval_holds_the_true_share_as_often_as_it_says() -> None:
    """Shares drawn, cells of them, and a model that doubts some: 95% or more are covered."""
    random = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        share = random.uniform(0.02, 0.3)
        blast = random.random(300) < share
        chance = np.where(random.random(300) < 0.5, blast, share)
        found = in_doubt(chance, 300)
        covered.append(found.low <= 100 * share <= found.high)
    assert np.mean(covered) >= 0.95


def test_reviewing_in_order_takes_away_more_doubt_than_any_other_order() -> None:
    random = np.random.default_rng(2)
    cells = [cell(f"{i}.png", 0.0, p, 1 - p, 0.0) for i, p in enumerate(random.random(60))]
    order = [each.variance for each in review_first(cells, CLASSES)]
    assert all(one >= other for one, other in pairwise(order))
    for _ in range(20):
        assert np.cumsum(order)[9] >= sum(random.permutation(order)[:10])


def test_chances_hold_for_the_mix_that_they_are_weighed_by() -> None:
    """0.25 * 3 / (0.25 * 3 + 0.75 * 7/9) = 0.5625; a sure cell stays sure."""
    cells = [cell("a.png", 0.0, 0.25, 0.75, 0.0), CELLS[0], CELLS[4]]
    weights = np.array([1.0, 3.0, 7 / 9, 1.0])
    chances = chances_of(cells, CLASSES, weights=weights)
    assert list(chances.values()) == pytest.approx([0.5625, 1.0, 0.0])
    order = review_first([*CELLS, cells[0]], CLASSES, weights=weights)
    assert order[0].path == "a.png"


def test_a_worklist_keeps_the_most_doubtful_and_the_share() -> None:
    worklist = Worklist(CLASSES, np.ones(4), limit=2)
    for each in CELLS:
        worklist.add(each)
    work = worklist.work()
    assert worklist.counted == 5
    assert [each.path for each in work.first] == ["half.png", "other.png"]
    assert work.blasts is not None
    assert work.blasts.percent == pytest.approx(100 * 2.7 / 5)
    assert [review.percent for review in work.reviews] == [10, 20]
    assert work.in_words.startswith("By the chance of each cell to be a blast: 54.0% (")


def test_a_worklist_without_cells_or_without_blasts_in_the_model_is_empty() -> None:
    unknown = Worklist(("LYT", "NGS"), np.ones(2))
    unknown.add(Prediction("a.png", "NGS", 0.5, (0.5, 0.5)))
    for worklist in (Worklist(CLASSES, np.ones(4)), unknown):
        work = worklist.work()
        assert (work.first, work.blasts, work.reviews, work.in_words) == ((), None, (), "")


def test_without_a_known_mix_there_is_an_order_but_no_share() -> None:
    worklist = Worklist(CLASSES)
    for each in CELLS:
        worklist.add(each)
    work = worklist.work()
    assert [each.path for each in work.first] == ["half.png", "other.png", "likely.png"]
    assert (work.blasts, work.reviews) == (None, ())


def test_the_weights_undo_a_mix_that_is_not_that_of_the_test() -> None:
    """Test cells of `default`, drawn so that 60% are blasts; they were about one in eight."""
    bundle = load_bundle("default")
    tested = load_tested(bundle)
    blast = np.array(tested.labels) == "BLA"
    random = np.random.default_rng(0)
    drawn = [*random.choice(np.flatnonzero(blast), 600)]
    drawn += [*random.choice(np.flatnonzero(~blast), 400)]
    cells = [
        Prediction(str(number), "BLA", 0.0, tuple(tested.probabilities[index].tolist()))
        for number, index in enumerate(drawn)
    ]
    plain = sum(chances_of(cells, bundle.classes).values())
    weighed = sum(chances_of(cells, bundle.classes, weights=own_weights(cells, bundle)).values())
    assert plain < 500
    assert weighed == pytest.approx(600, abs=30)


def test_a_bundle_without_test_cells_has_no_weights_and_no_cells_change_nothing() -> None:
    bundle = load_bundle("default")
    assert own_weights(CELLS, replace(bundle, adjustment=None)) is None
    weights = own_weights([], bundle)
    assert weights is not None
    assert (weights == 1).all()
