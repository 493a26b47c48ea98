"""Thresholds: the band of a share, and those that its interval straddles."""

import pytest

from marrowscope.differential.thresholds import (
    BLASTS,
    ICC_2022,
    IMWG_2014,
    PLASMA_CELLS,
    WHO_2022,
    find,
)


@pytest.mark.parametrize(
    ("cells", "of", "band"),
    [
        (24, 500, "WHO 2022: under 5%"),
        (25, 500, "WHO 2022: 5% to under 10% (MDS-IB1)"),
        (49, 500, "WHO 2022: 5% to under 10% (MDS-IB1)"),
        (50, 500, "WHO 2022: 10% to under 20% (MDS-IB2)"),
        (99, 500, "WHO 2022: 10% to under 20% (MDS-IB2)"),
        (100, 500, "WHO 2022: 20% or more (AML)"),
        (7, 70, "WHO 2022: 10% to under 20% (MDS-IB2)"),
    ],
)
def test_a_threshold_belongs_to_the_band_above_it(cells: int, of: int, band: str) -> None:
    assert WHO_2022.band(cells, of) == band


def test_the_two_schemes_name_the_same_shares_otherwise() -> None:
    assert ICC_2022.band(30, 500) == "ICC 2022: 5% to under 10% (MDS-EB)"
    assert ICC_2022.band(75, 500) == "ICC 2022: 10% to under 20% (MDS/AML)"
    assert (
        IMWG_2014.band(59, 100) == "IMWG 2014: 10% to under 60% (a criterion of myeloma if clonal)"
    )


@pytest.mark.parametrize(
    ("cells", "of", "percents"),
    [
        (0, 500, []),  # 0 to 0.7
        (25, 500, [5]),  # 3.3 to 7.3
        (50, 500, [10]),  # 7.5 to 13.0
        (75, 500, []),  # 12.0 to 18.4
        (100, 500, [20]),  # 16.6 to 23.8
        (10, 100, [5, 10]),  # 4.9 to 17.6
        (13, 100, [10, 20]),  # 7.1 to 21.2
    ],
)
def test_every_straddled_threshold_is_found(cells: int, of: int, percents: list[float]) -> None:
    finding = find(BLASTS, {"BLA": cells}, of)
    for scheme in BLASTS.schemes:
        of_scheme = [each for each in finding.straddled if each.scheme == scheme.name]
        assert [each.percent for each in of_scheme] == percents
    assert [each.percent for each in finding.more] == percents


def test_a_finding_in_words() -> None:
    assert find(BLASTS, {"BLA": 30}, 500).in_words == (
        "Blasts: 6.0% (95% interval 4.1 to 8.5; 30 of 500 cells). WHO 2022: 5% to under 10% "
        "(MDS-IB1); ICC 2022: 5% to under 10% (MDS-EB). The interval straddles 5% (WHO 2022: "
        "MDS-IB1; ICC 2022: MDS-EB): the count cannot tell on which side the share lies. Some "
        "genetic findings lower these thresholds."
    )
    assert find(PLASMA_CELLS, {"PLM": 5}, 500).in_words == (
        "Plasma cells: 1.0% (95% interval 0.3 to 2.3; 5 of 500 cells). IMWG 2014: under 10%. "
        "Pictures do not show whether plasma cells are clonal."
    )


def test_proerythroblasts_and_immature_lymphocytes_are_no_blasts() -> None:
    finding = find(BLASTS, {"BLA": 1, "PEB": 50, "LYI": 50, "FGC": 50}, 500)
    assert (finding.cells, finding.codes) == (1, ("BLA",))


def test_thresholds_name_their_source_and_rise() -> None:
    sources = {
        "WHO 2022": "Khoury et al., Leukemia 2022;36:1703-1719",
        "ICC 2022": "Arber et al., Blood 2022;140:1200-1228",
        "IMWG 2014": "Rajkumar et al., Lancet Oncol 2014;15:e538-e548",
    }
    schemes = (*BLASTS.schemes, *PLASMA_CELLS.schemes)
    assert [scheme.name for scheme in schemes] == list(sources)
    for scheme in schemes:
        percents = [threshold.percent for threshold in scheme.thresholds]
        assert percents == sorted(set(percents))
        assert {(threshold.scheme, threshold.source) for threshold in scheme.thresholds} == {
            (scheme.name, sources[scheme.name])
        }
