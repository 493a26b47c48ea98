"""Read sources into one manifest file, row by row: memory does not grow with the pictures."""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from marrowscope.data.manifest import manifest_file, read_cells
from marrowscope.errors import ManifestError, SettingsError, UnknownClassError
from marrowscope.io.tables import REJECT_HEADER, csv_file, read_csv, reject_row
from marrowscope.locations import is_url
from marrowscope.taxonomy import class_of_name, in_order
from marrowscope.types import Reject


@dataclass(frozen=True)
class SourceRead:
    """What came of one source: cells by class code, and how many rejects."""

    path: Path
    cells: dict[str, int]
    rejects: int


@dataclass(frozen=True)
class DataRead:
    """The manifest written, the list of rejects beside it, and the counts of each source."""

    manifest: Path
    rejects: Path
    sources: tuple[SourceRead, ...]


def read(
    sources: Iterable[tuple[str, Path]],
    manifest: Path,
    *,
    code_of: Mapping[str, str] | None = None,
    um_per_px: Mapping[str, float] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> DataRead:
    """Read named sources into a manifest, and what could not be used into a list beside it.

    An empty name stands for that of the folder or file. `um_per_px` gives the micrometres a pixel
    of cells that do not say, by the name of their source, or under an empty name for all others.
    Paths in the manifest are relative to its folder.

    Raises:
        ManifestError: a source is not there, of no form that is read or without a column, the
            manifest's suffix is neither `.csv` nor `.parquet`, no cell was found, or none of a
            source that `um_per_px` names.
        MissingExtraError: Parquet is read or written, or a store read, without its library.
    """
    rejects = manifest.with_name(f"{manifest.stem}-rejects.csv")
    manifest.parent.mkdir(parents=True, exist_ok=True)
    outcomes = []
    scales = dict(um_per_px or {})
    paths: set[str] = set()
    with manifest_file(manifest) as add, csv_file(rejects, REJECT_HEADER) as rejected:
        for name, source in sources:
            counts: Counter[str] = Counter()
            lost = 0
            root, rows = read_cells(source, name, code_of)
            way = PurePosixPath(Path(os.path.relpath(root, manifest.parent)).as_posix())
            for item in rows:
                path = item.path if is_url(item.path) else os.path.normpath(way / item.path)
                moved = replace(item, path=path)
                if isinstance(moved, Reject):
                    rejected.writerow(reject_row(moved))
                    lost += 1
                else:
                    scale = moved.um_per_px or scales.get(moved.source, scales.get(""))
                    add(replace(moved, um_per_px=scale))
                    paths.add(moved.source)
                    counts[moved.label] += 1
                advance()
            by_class = {code: counts[code] for code in in_order(counts)}
            outcomes.append(SourceRead(source, by_class, lost))
        if not any(outcome.cells for outcome in outcomes):
            raise ManifestError(
                f"no labelled cell found in {', '.join(str(outcome.path) for outcome in outcomes)} "
                f"({sum(outcome.rejects for outcome in outcomes):,} rejects)"
            )
        unknown = scales.keys() - paths - {""}
        if unknown:
            raise ManifestError(
                f"--um-per-px names {', '.join(sorted(unknown))}, and no cell comes from there; "
                f"the sources are {', '.join(sorted(paths))}"
            )
    return DataRead(manifest, rejects, tuple(outcomes))


def parse_source(text: str) -> tuple[str, Path]:
    """Read `NAME=PATH`, or a path alone, whose name is empty; what exists is a path."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals and not Path(text).exists() else ("", Path(text))


def parse_scale(text: str) -> tuple[str, float]:
    """Read `NAME=MICROMETRES`, or micrometres alone, whose name is empty.

    Raises:
        SettingsError: they are no number above 0.
    """
    name, equals, number = text.rpartition("=")
    try:
        scale = float(number)
    except ValueError:
        scale = 0.0
    if not 0 < scale < math.inf or (equals and not name):
        raise SettingsError(f"--um-per-px must be micrometres above 0, or NAME=0.1, got {text!r}")
    return name, scale


def read_class_map(file: Path) -> dict[str, str]:
    """Read which class code a label of other data stands for: CSV with the columns `label,code`.

    Raises:
        ManifestError: the file cannot be read, has other columns or names an unknown class.
    """
    rows = read_csv(file, ("label", "code"), ManifestError)
    try:
        return {row["label"]: class_of_name(row["code"]).code for row in rows}
    except UnknownClassError as error:
        raise ManifestError(f"{file}: {error}") from None
