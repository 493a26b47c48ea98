"""What a sweep may try: each setting's range, read from text and checked."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from marrowscope.errors import SettingsError
from marrowscope.train.settings import TrainSettings, settings_from

Ranges = Mapping[str, BaseDistribution]
"""What may be tried, by the name of the setting."""
KEPT = ("classes", "min_images", "seed", "workers", "threads", "log")
"""Settings that a sweep keeps: they decide what is measured, or do not bear on it."""
FORMS = "NAME=LOW:HIGH, NAME=LOW:HIGH:log or NAME=A,B,C"


def read_ranges(texts: Sequence[str], fixed: Collection[str] = ()) -> dict[str, BaseDistribution]:
    """Read ranges of settings; one that is `fixed` can have none.

    `learning_rate=1e-5:1e-3:log` is between two numbers, `balance=none,focal` one of a list.

    Raises:
        SettingsError: there is no text, or one is no range; a name is unknown, kept, fixed or
            given twice; or an end or choice is not allowed.
    """
    if not texts:
        raise SettingsError(f"nothing to try: give a range as {FORMS}")
    ranges: dict[str, BaseDistribution] = {}
    for text in texts:
        name, equals, range_ = (part.strip() for part in text.partition("="))
        if not equals:
            raise SettingsError(f"a range is {FORMS}, got {text!r}")
        _check_name(name, ranges, fixed)
        ranges[name] = _choices(name, range_) if ":" not in range_ else _between(name, range_)
    return ranges


def _check_name(name: str, ranges: Ranges, fixed: Collection[str]) -> None:
    names = [field.name for field in fields(TrainSettings) if field.name != "preprocessing"]
    free = [setting for setting in names if setting not in KEPT]
    if name not in free:
        why = "is the same in all trials" if name in names else "is no setting"
        raise SettingsError(f"{name} {why}; a sweep can try {', '.join(free)}")
    if name in ranges:
        raise SettingsError(f"{name} has two ranges; give one")
    if name in fixed:
        raise SettingsError(f"{name} has both a range and a fixed value; give one")


def _choices(name: str, text: str) -> CategoricalDistribution:
    values = [_checked(name, choice.strip()) for choice in text.split(",")]
    if len(set(values)) < max(2, len(values)):
        raise SettingsError(
            f"{name} needs two or more different choices, got {text!r}; a single value is "
            f"fixed with --set {name}=VALUE"
        )
    return CategoricalDistribution(values)


def _between(name: str, text: str) -> FloatDistribution | IntDistribution:
    low, high, *scale = text.split(":")
    if scale not in ([], ["log"]):
        raise SettingsError(f"a range is {FORMS}, got {name}={text!r}")
    ends = _checked(name, low), _checked(name, high)
    if any(isinstance(end, bool | str) for end in ends):
        raise SettingsError(f"{name} is no number; list its choices: {name}=A,B,C")
    if not float(ends[0]) < float(ends[1]):
        raise SettingsError(f"the range of {name} must rise from LOW to HIGH, got {text!r}")
    if scale and float(ends[0]) <= 0:
        raise SettingsError(f"the range of {name} must begin above 0 for log, got {text!r}")
    if isinstance(ends[0], int):
        return IntDistribution(int(ends[0]), int(ends[1]), log=bool(scale))
    return FloatDistribution(float(ends[0]), float(ends[1]), log=bool(scale))


def _checked(name: str, text: str) -> str | bool | float:
    """Give a value of the setting's own kind, if the setting may have it."""
    value: str | bool | float = getattr(settings_from({name: text}), name)
    return value
