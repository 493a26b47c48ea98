"""What is computed for a state of a case is computed once, by one of all who ask."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from marrowscope.web.cache import Kept


def test_of_several_who_ask_at_once_one_computes() -> None:
    kept: Kept[int] = Kept(2)
    made: list[str] = []
    all_there = threading.Barrier(8)

    def make() -> int:
        made.append("a")
        return len(made)

    def ask(_: int) -> int:
        all_there.wait()
        return kept.get("a", make)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {1}
    assert made == ["a"]


def test_the_oldest_goes_and_an_error_is_not_kept() -> None:
    kept: Kept[int] = Kept(2)
    for key in "abc":
        assert kept.get(key, lambda: 1) == 1
    assert kept.get("c", lambda: 2) == 1
    assert kept.get("a", lambda: 2) == 2
    with pytest.raises(ZeroDivisionError):
        kept.get("d", lambda: 1 // 0)
    assert kept.get("d", lambda: 4) == 4
