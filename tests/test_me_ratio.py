"""The M:E ratio: worked values, formulas, and samples that lack one side."""

import pytest
from scipy.stats import binom, binomtest

from marrowscope.differential.me_ratio import FORMULAS, ICSH, formula_of, me_ratio
from marrowscope.errors import SettingsError


def test_worked_ratio() -> None:
    """300 : 100 is 3.0; the limits of 300 of 400 are 70.5 and 79.2%, as odds 2.4 and 3.8."""
    ratio = me_ratio({"NGS": 250, "MON": 50, "EBO": 90, "PEB": 10, "LYT": 70, "PLM": 9, "ART": 5})
    assert (ratio.value, ratio.myeloid, ratio.erythroid, ratio.note) == (3.0, 300, 100, "")
    limits = binomtest(300, 400).proportion_ci(method="exact")
    assert ratio.low == pytest.approx(limits.low / (1 - limits.low))
    assert ratio.high == pytest.approx(limits.high / (1 - limits.high))
    assert ratio.in_words == "M:E ratio 3.0 (95% interval 2.4 to 3.8; 300 by 100 cells)."


def test_the_interval_covers_the_ratio_that_was_drawn_from() -> None:
    """The intervals of 95% or more of all counts of 200 cells at M:E 3, by chance, cover 3."""
    covered = 0.0
    for myeloid in range(100, 200):
        ratio = me_ratio({"NGS": myeloid, "EBO": 200 - myeloid})
        assert ratio.low is not None
        assert ratio.high is not None
        if ratio.low <= 3 <= ratio.high:
            covered += binom.pmf(myeloid, 200, 0.75)
    assert 0.95 <= covered < 0.975


def test_what_cannot_be_computed_is_told() -> None:
    without = me_ratio({"NGS": 90}, reference=(2.0, 4.0))
    assert (without.value, without.high) == (None, None)
    assert without.low == pytest.approx(0.025 ** (1 / 90) / (1 - 0.025 ** (1 / 90)))
    assert without.in_words == (
        "M:E ratio not computable: no erythroid cell was counted beside 90 myeloid cells; the 95% "
        "interval begins at 23.9. Usual: 2 to 4."
    )
    nothing = me_ratio({"LYT": 9})
    assert (nothing.value, nothing.low, nothing.high) == (None, None, None)
    assert nothing.note == "no myeloid and no erythroid cell was counted."
    erythroid = me_ratio({"EBO": 40})
    assert (erythroid.value, erythroid.low) == (0.0, 0.0)
    assert erythroid.high == pytest.approx(1 / 0.025 ** (1 / 40) - 1)


def test_formulas_differ_by_blasts_and_monocytes() -> None:
    cells = {"BLA": 7, "MON": 11, "NGS": 100, "EBO": 50}
    found = {name: me_ratio(cells, formula).myeloid for name, formula in FORMULAS.items()}
    assert found == {
        "icsh": 118, "without-blasts": 111, "without-monocytes": 107, "granulocytes": 100,
    }  # fmt: skip
    assert me_ratio(cells).formula == (
        "(BLA + PMO + MYB + MMZ + NGB + NGS + FGC + EOS + ABE + BAS + MON) / (PEB + EBO)"
    )
    assert formula_of("icsh") is ICSH
    with pytest.raises(SettingsError) as caught:
        formula_of("mine")
    assert str(caught.value) == (
        "no M:E formula 'mine'; formulas are icsh, without-blasts, without-monocytes, granulocytes"
    )
