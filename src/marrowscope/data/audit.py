"""Audit labelled cells: the same content twice, and pictures that share pixels."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from marrowscope.data.manifest import Manifest
from marrowscope.data.overlaps import Overlap, find_overlaps, grey
from marrowscope.results import csv_file, prepare_folder, write_json

OVERLAPS, DUPLICATES, SUMMARY = "overlaps.csv", "duplicates.csv", "audit.json"


@dataclass(frozen=True)
class Audit:
    """What was found in a manifest; pairs are places in its list of cells."""

    manifest: Manifest
    duplicates: tuple[tuple[int, int], ...]
    """Pairs of the same content; n copies make n - 1 pairs."""
    overlaps: tuple[Overlap, ...]
    """Pairs that share pixels without being the same file."""

    def summary(self) -> dict[str, Any]:
        """Give the counts, for machines."""
        cells = self.manifest.cells
        shared = [(each.a, each.b) for each in self.overlaps]
        return {
            "cells": len(cells),
            "rejected": len(self.manifest.rejects),
            "by_source_and_class": dict(
                sorted(Counter(f"{cell.source} {cell.label}" for cell in cells).items())
            ),
            "duplicates": len(self.duplicates),
            "duplicates_of_two_classes": self._of_two_classes(self.duplicates),
            "overlaps": len(shared),
            "overlaps_of_two_classes": self._of_two_classes(shared),
            "cells_that_overlap": len({place for pair in shared for place in pair}),
        }

    def _of_two_classes(self, pairs: Iterable[tuple[int, int]]) -> int:
        cells = self.manifest.cells
        return sum(cells[a].label != cells[b].label for a, b in pairs)


def audit(
    manifest: Manifest,
    folder: Path,
    *,
    overwrite: bool = False,
    each: Callable[[], object] = lambda: None,
) -> Audit:
    """Search a manifest and write `overlaps.csv`, `duplicates.csv` and `audit.json`.

    `overlaps.csv` is what `train --overlaps` takes. `each` is called for every cell.

    Raises:
        MissingExtraError: OpenCV is not installed.
        OutputError: the folder cannot be used.
    """
    prepare_folder(folder, overwrite)
    cells = manifest.cells
    by_content: dict[str, list[int]] = defaultdict(list)
    for place, cell in enumerate(cells):
        by_content[cell.sha256].append(place)
    duplicates = [pair for places in by_content.values() for pair in pairwise(places)]
    unique = [places[0] for places in by_content.values()]
    files = [manifest.root / cells[place].path for place in unique]
    overlaps = [
        replace(o, a=unique[o.a], b=unique[o.b])
        for o in find_overlaps(len(files), lambda index: grey(files[index]), each)
    ]
    result = Audit(manifest, tuple(duplicates), tuple(overlaps))
    _write(result, folder)
    return result


def _write(result: Audit, folder: Path) -> None:
    cells = result.manifest.cells
    with csv_file(folder / DUPLICATES, ["path_a", "path_b", "label_a", "label_b"]) as rows:
        for one, other in result.duplicates:
            a, b = cells[one], cells[other]
            rows.writerow([a.path, b.path, a.label, b.label])
    header = ["path_a", "path_b", "dx", "dy", "shared_area", "correlation", "label_a", "label_b"]
    with csv_file(folder / OVERLAPS, header) as rows:
        for each in result.overlaps:
            a, b = cells[each.a], cells[each.b]
            numbers = [f"{each.dx}", f"{each.dy}"]
            numbers += [f"{each.shared_area:.4f}", f"{each.correlation:.4f}"]
            rows.writerow([a.path, b.path, *numbers, a.label, b.label])
    write_json(folder / SUMMARY, result.summary())
