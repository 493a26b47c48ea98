"""A `bundle.json` that is whole but short, and changes of single values in it."""

import json
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from typing import Any

from marrowscope.model.bundle import SHIPPED

MODEL = b"a model"
"""Stands for the network, which is not loaded."""
ODD_VALUES = ("null", "-1", "1e999", "NaN", '"x"', "[]", "{}", "true", "[[1]]", "0", "9" * 400)
"""JSON that is seldom what is asked for."""
Place = tuple[str | int, ...]
"""Keys and indices that lead to a value."""


def whole_description() -> dict[str, Any]:
    """Give the shipped description for `MODEL`, with little of what is long."""
    values: dict[str, Any] = json.loads(_description())
    return values


@cache
def _description() -> str:
    values: dict[str, Any] = json.loads((SHIPPED["default"] / "bundle.json").read_text())
    values["model"]["sha256"] = sha256(MODEL).hexdigest()
    values["novelty"] = values["adjustment"] = None
    scores = [value[:2] for value in values["abstention"]["scores"]]
    values["abstention"] |= {"scores": scores, "cells": [len(score) for score in scores]}
    images = values["origin"]["images"]
    values["origin"] = {"images": {name: images[name] for name in ("train mll", "train pbc")}}
    evaluation = values["evaluation"]
    values["evaluation"] = {"grouped_by": evaluation["grouped_by"], "sets": {}}
    for name, figures in evaluation["sets"].items():
        kept = {key: figures[key] for key in ("cells", "accuracy")}
        values["evaluation"]["sets"][name] = kept
    return json.dumps(values)


def places(values: object, so_far: Place = ()) -> Iterator[Place]:
    """Give the places of all values within one, itself left out."""
    pairs = values.items() if isinstance(values, dict) else ()
    for key, value in enumerate(values) if isinstance(values, list) else pairs:
        yield (*so_far, key)
        yield from places(value, (*so_far, key))


def put(values: Any, place: Place, value: object) -> None:
    """Put a value in a place."""
    for key in place[:-1]:
        values = values[key]
    values[place[-1]] = value


def changed_description(content: bytes) -> bytes:
    """Put the JSON after the first two bytes in the place that these number."""
    values = whole_description()
    there = list(places(values))
    try:
        value = json.loads(content[2:])
    except (ValueError, RecursionError):
        return content
    put(values, there[int.from_bytes(content[:2], "big") % len(there)], value)
    return json.dumps(values).encode()
