"""How properties are tried: the same examples each time, few enough for the gate."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as some

from marrowscope.taxonomy import CLASSES

bounded = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""Bounds of a test; `@settings(bounded, max_examples=N)` for another number of examples."""

codes = some.sampled_from(tuple(CLASSES))
words = some.text(some.characters(exclude_categories=["Cs"]), max_size=12)
"""Any text that UTF-8 can hold: line breaks, quotes, commas, signs of all scripts."""
names = words.filter(lambda name: name.strip(".") and "/" not in name and "\0" not in name)
"""What a file can be called."""
