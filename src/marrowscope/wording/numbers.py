"""Numbers with their nouns, ranges and lists, the same everywhere."""

from collections.abc import Sequence


def count_noun(number: int, singular: str, plural: str = "") -> str:
    """Give a number with its noun: `0 cells`, `1 cell`, `1,200 cells`."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def percent_range(low: float, high: float) -> str:
    """Give limits in percent, to one digit: `4.1-8.5`."""
    return f"{low:.1f}-{high:.1f}"


def join_and(words: Sequence[str]) -> str:
    """Join words as a sentence does: `a`, `a and b`, `a, b and c`."""
    *first, last = words or ("",)
    return f"{', '.join(first)} and {last}" if first else last
