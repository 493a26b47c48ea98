"""The folder of a classification: its files, and whether one that is there can be gone on with."""

import json
from collections.abc import Mapping
from pathlib import Path

from marrowscope.detection.results import field_files
from marrowscope.errors import OutputError, SettingsError
from marrowscope.io.tables import (
    PREDICTIONS,
    REJECTS,
    REPLACE,
    partial_of,
    prepare_folder,
    write_json,
)

WENT_IN, DIFFERENTIAL, REPORT = "classify.json", "differential.json", "report.html"
TABLE = "predictions.parquet"
FILES = (WENT_IN, PREDICTIONS, REJECTS, TABLE, REPORT, DIFFERENTIAL)
"""In the order in which they are written; with the last one a classification is finished."""


def result_files(folder: Path) -> list[Path]:
    """Name all files that a classification may write into its folder, half-written ones too."""
    files = [way(folder / name) for name in FILES for way in (Path, partial_of)]
    return files + field_files(folder)


def open_folder(folder: Path, went_in: Mapping[str, str], *, overwrite: bool, resume: bool) -> bool:
    """Make a folder ready for a classification; tell whether the one in it is finished already.

    `went_in` is what decides the figures besides the cells; it is kept in `classify.json`.

    Raises:
        OutputError: the folder cannot be used, holds something that must not be overwritten, or
            a classification with something else.
        SettingsError: it is to be overwritten and to be gone on with.
    """
    if overwrite and resume:
        raise SettingsError(
            "--overwrite starts anew and --resume goes on with what is there; give one of them"
        )
    if resume and (folder / WENT_IN).is_file():
        _check_same(folder, went_in)
        if (folder / DIFFERENTIAL).is_file():
            return True
        (folder / TABLE).unlink(missing_ok=True)
        return False
    if resume:
        partial_of(folder / WENT_IN).unlink(missing_ok=True)
    prepare_folder(folder, overwrite, _what_else(folder, resume))
    for file in result_files(folder):
        file.unlink(missing_ok=True)
    write_json(folder / WENT_IN, went_in)
    return False


def engine_of(folder: Path) -> str:
    """Name the engine with which the classification in a folder was begun; empty if none was."""
    try:
        values = json.loads((folder / WENT_IN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(values.get("engine", "")) if isinstance(values, dict) else ""


def _what_else(folder: Path, resume: bool) -> str:
    """Say how a folder that holds something may be used."""
    if resume:
        return f"{REPLACE}; it has no {WENT_IN}, so there is nothing to go on with"
    if (folder / WENT_IN).is_file() and not (folder / DIFFERENTIAL).is_file():
        return "--resume to go on with the classification in it, or --overwrite to start it anew"
    return REPLACE


def _check_same(folder: Path, went_in: Mapping[str, str]) -> None:
    file = folder / WENT_IN
    try:
        before = dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(
            f"{file} cannot be read ({error}); give another folder, or --overwrite to start anew"
        ) from None
    differ = [
        f"{name} was {before.get(name) or 'nothing'}, now it is {went_in.get(name) or 'nothing'}"
        for name in sorted({*before, *went_in})
        if (before.get(name) or "") != (went_in.get(name) or "")
    ]
    if differ:
        raise OutputError(
            f"{folder} was begun with something else: {'; '.join(differ)}; give the same, another "
            "folder, or --overwrite to start anew"
        )
