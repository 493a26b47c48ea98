"""Recipes: small TOML files that say how a network is trained, by name or path."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marrowscope.errors import SettingsError
from marrowscope.train.settings import TrainSettings, settings_from

FOLDER = Path(__file__).parent / "recipes"
RECIPES: dict[str, Path] = {file.stem: file for file in sorted(FOLDER.glob("*.toml"))}
"""The recipes that ship with the package."""


def settings_of(recipe: str, changes: Mapping[str, Any] | None = None) -> TrainSettings:
    """Read a recipe by name or path, and change some of its settings.

    Raises:
        SettingsError: there is no such recipe, it is no TOML, or a setting is wrong.
    """
    file = RECIPES.get(recipe, Path(recipe))
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError:
        raise SettingsError(
            f"no recipe {recipe!r}; there are {', '.join(RECIPES)}, or give a TOML file"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: no TOML ({error})") from None
    return settings_from(values | dict(changes or {}))


def read_changes(texts: list[str]) -> dict[str, str]:
    """Read `NAME=VALUE` pairs.

    Raises:
        SettingsError: a text has no `=`.
    """
    pairs = [text.partition("=") for text in texts]
    wrong = [text for text, (_, equals, _) in zip(texts, pairs, strict=True) if not equals]
    if wrong:
        raise SettingsError(f"a setting is changed by NAME=VALUE, got {', '.join(wrong)}")
    return {name.strip(): value.strip() for name, _, value in pairs}
