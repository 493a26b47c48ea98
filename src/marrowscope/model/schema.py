"""What `bundle.json` may hold: each value's kind and range, checked before any is used."""

import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

Check = Callable[[str, Any], None]
"""Takes where a value stands and the value; raises a ValueError that names both."""
MOST_PIXELS = 4096
"""Largest side of a network's input, in pixels."""
LONGEST_SHOWN = 60
"""Characters of a value that an error shows; the rest is left out."""


def check_description(values: object) -> None:
    """Check the kinds and ranges of all that `bundle.json` must hold, and of what it may.

    What is not known is left alone, as a later version may have added it.

    Raises:
        ValueError: a value is missing, of another kind, or out of its range; its place is named,
            such as `calibration.factor.3`.
    """
    DESCRIPTION("", values)


def _text(where: str, value: Any) -> None:
    _demand(isinstance(value, str), where, value, "a text")


def _number(low: float = -math.inf, high: float = math.inf) -> Check:
    within = f"a number from {low:g} to {high:g}" if math.isfinite(low + high) else "a number"

    def check(where: str, value: Any) -> None:
        kind = isinstance(value, int | float) and not isinstance(value, bool)
        _demand(kind and low <= value <= high and abs(value) < 1e300, where, value, within)

    return check


def _whole(low: int = 0, high: int = 2**53) -> Check:
    within = f"a whole number from {low} to {high}"

    def check(where: str, value: Any) -> None:
        _demand(type(value) is int and low <= value <= high, where, value, within)

    return check


def _list(of: Check, length: int | None = None) -> Check:
    wanted = "a list" if length is None else f"a list of {length}"

    def check(where: str, value: Any) -> None:
        there = isinstance(value, list) and length in {None, len(value)}
        _demand(there, where, value, wanted)
        for number, item in enumerate(value):
            of(f"{where}.{number}", item)

    return check


def _table(of: Check) -> Check:
    def check(where: str, value: Any) -> None:
        _demand(isinstance(value, dict), where, value, "a table of names and values")
        for name, item in value.items():
            of(f"{where}.{name}", item)

    return check


def _or_none(of: Check) -> Check:
    def check(where: str, value: Any) -> None:
        if value is not None:
            of(where, value)

    return check


def _record(needed: Mapping[str, Check], more: Mapping[str, Check] | None = None) -> Check:
    more = more or {}

    def check(where: str, value: Any) -> None:
        _demand(isinstance(value, dict), where, value, "a table of names and values")
        missing = [name for name in needed if name not in value]
        if missing:
            raise ValueError(f"{where or 'it'} has no {', '.join(missing)}")
        for name, of in chain(needed.items(), more.items()):
            if name in value:
                of(f"{where}.{name}".lstrip("."), value[name])

    return check


def _demand(holds: bool, where: str, value: object, wanted: str) -> None:
    if not holds:
        shown = repr(value)
        shown = shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
        raise ValueError(f"{where or 'it'} must be {wanted}, got {shown}")


_share = _number(0, 1)
_any = _number()
PREPROCESSING = _record(
    {
        "size": _whole(1, MOST_PIXELS),
        "resample": _text,
        "mean": _list(_any, 3),
        "std": _list(_number(1e-6, 1e6), 3),
    },
    {"field_um": _number(0, 1e6)},
)
CALIBRATION = _record(
    {"method": _text, "factor": _list(_any), "shift": _list(_any), "cells": _whole()},
    {"bend": _number(0, 1e6)},
)
ABSTENTION = _record(
    {"method": _text, "scores": _list(_list(_share)), "cells": _list(_whole())},
)
NOVELTY = _record(
    {
        "method": _text,
        "shrinkage": _share,
        "threshold": _any,
        "false_alarms": _share,
        "cells": _whole(),
        "references_sha256": _text,
    },
    {"pictures": _or_none(_record({"cells": _whole(), "credit": _text, "sha256": _text}))},
)
ADJUSTMENT = _record(
    {
        "reference": _text,
        "rows": _table(_table(_whole())),
        "set_aside": _whole(),
        "tested_sha256": _text,
    }
)
FIGURES = _record({"cells": _whole(), "accuracy": _record({"value": _share})})
EVALUATION = _record(
    {"sets": _table(FIGURES), "grouped_by": _text},
    {"failures": _or_none(_record({"wrong": _whole(), "shown": _whole(), "sha256": _text}))},
)
DESCRIPTION = _record(
    {
        "format": _whole(),
        "name": _text,
        "licence": _text,
        "model": _record({"sha256": _text, "precision": _text}),
        "classes": _list(_text),
        "classes_sha256": _text,
        "left_out": _table(_text),
        "preprocessing": PREPROCESSING,
        "split_hash": _text,
        "origin": _record({"images": _table(_table(_whole()))}),
        "evaluation": _or_none(EVALUATION),
    },
    {
        "calibration": _or_none(CALIBRATION),
        "abstention": _or_none(ABSTENTION),
        "review": _list(_record({"error_rate": _share, "threshold": _or_none(_share)})),
        "novelty": _or_none(NOVELTY),
        "adjustment": _or_none(ADJUSTMENT),
    },
)
"""Of the whole file; format 1."""
