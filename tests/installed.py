"""What is installed here: the libraries that a part of marrowscope needs, with their licences."""

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import Distribution, distribution

from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


CONTRIBUTORS = ("dev", "fuzz")
"""Extras that are of use in a clone alone."""


def needed_by(requirements: Iterable[str]) -> dict[str, Distribution]:
    """All distributions that requirements lead to on this machine, by name."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()
    waiting = [Requirement(requirement) for requirement in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        for extra in wanted.extras | {""}:
            if (name, extra) not in done:
                done.add((name, extra))
                found[name] = distribution(name)
                waiting += _below(found[name], extra)
    return found


def _below(of: Distribution, extra: str) -> list[Requirement]:
    all_of_them = map(Requirement, of.requires or ())
    return [
        each
        for each in all_of_them
        if each.marker is None or each.marker.evaluate({"extra": extra})
    ]


@cache
def needed() -> dict[str, Distribution]:
    """What the base install and all extras need, but for those of contributors."""
    extras = PROJECT["optional-dependencies"]
    chosen = [extras[name] for name in extras if name not in CONTRIBUTORS]
    parts = [PROJECT["dependencies"], *chosen]
    return needed_by(each for part in parts for each in part)
