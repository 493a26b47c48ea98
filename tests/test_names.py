"""Names say what they hold, functions are verbs, docstrings open with what is returned or done."""

from collections import Counter
from collections.abc import Iterable

import pytest
from measure_house import BARRED, ROOT, Place, bindings, functions_ending_in_of, openings_with_of
from measure_house import parsed as modules_in

FOLDERS = "src", "tests", "tools", "benchmarks"
ALLOWED = {
    "names": {
        "benchmarks": 59,
        "cases": 1,
        "detection": 1,
        "inference": 2,
        "io": 3,
        "marrowscope": 1,
        "metrics": 1,
        "tests": 377,
        "tools": 17,
        "train": 7,
        "web": 2,
    },
    "functions": {
        "benchmarks": 5,
        "cases": 6,
        "detection": 11,
        "differential": 11,
        "evaluation": 4,
        "inference": 5,
        "io": 4,
        "marrowscope": 4,
        "metrics": 2,
        "model": 4,
        "tests": 23,
        "tools": 4,
        "train": 14,
        "web": 4,
    },
    "docstrings": {
        "cases": 11,
        "commands": 1,
        "detection": 12,
        "differential": 3,
        "evaluation": 16,
        "inference": 4,
        "io": 3,
        "marrowscope": 2,
        "metrics": 10,
        "model": 7,
        "train": 11,
        "web": 13,
    },
}
"""Old ones that still stand, by rule and package: lower these numbers, never raise one."""


def too_many(places: Iterable[Place], allowed: dict[str, int]) -> list[str]:
    """Name the places of each package that has more of them than it may."""
    every = list(places)
    counts = Counter(place.package for place in every)
    over = {package for package, count in counts.items() if count > allowed.get(package, 0)}
    return [str(place) for place in every if place.package in over]


@pytest.fixture(scope="module")
def places() -> dict[str, list[Place]]:
    """What breaks a rule, by rule."""
    modules = [module for folder in FOLDERS for module in modules_in(ROOT / folder)]
    return {
        "names": [
            place for module in modules for place in bindings(*module) if place.name in BARRED
        ],
        "functions": [place for module in modules for place in functions_ending_in_of(*module)],
        "docstrings": [place for module in modules for place in openings_with_of(*module)],
    }


@pytest.mark.parametrize("rule", ALLOWED)
def test_no_new_name_breaks_a_rule(rule: str, places: dict[str, list[Place]]) -> None:
    assert not too_many(places[rule], ALLOWED[rule])


def test_one_more_than_allowed_is_told() -> None:
    one, two = (Place(ROOT / "src/marrowscope/io/npz.py", line, "each") for line in (1, 2))
    assert not too_many([one], {"io": 1})
    assert too_many([one, two], {"io": 1}) == [
        "src/marrowscope/io/npz.py:1: each",
        "src/marrowscope/io/npz.py:2: each",
    ]
