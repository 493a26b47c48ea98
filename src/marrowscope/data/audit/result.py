"""What an audit found, and the lists that it is written to."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marrowscope.data.audit.near_duplicates import Copy
from marrowscope.data.audit.overlaps import Overlap
from marrowscope.data.manifest import Manifest
from marrowscope.data.split import DAMAGED_FILE, PAIR_FILES
from marrowscope.io.tables import csv_file

OVERLAPS, DUPLICATES = PAIR_FILES
PAGE = "audit.html"


@dataclass(frozen=True)
class Damage:
    """A picture that is `unreadable` or `damaged`, or of an `odd size` for its source."""

    place: int
    kind: str
    reason: str


@dataclass(frozen=True)
class Audit:
    """What was found in a manifest; pairs are places in its list of cells."""

    manifest: Manifest
    damaged: tuple[Damage, ...]
    duplicates: tuple[tuple[int, int], ...]
    """Pairs of the same content; n copies make n - 1 pairs."""
    copies: tuple[Copy, ...]
    """Pairs of the same picture in different files: turned, mirrored, resized, encoded anew."""
    overlaps: tuple[Overlap, ...]
    """Pairs that share pixels, shifted."""
    looks: dict[str, dict[str, dict[str, float]]]
    """Percentiles (`p5`, `p50`, `p95`) of each measure of `LOOKS`, by source and measure."""

    def summary(self) -> dict[str, Any]:
        """Give the counts and looks, for machines."""
        cells = self.manifest.cells
        kinds = Counter(damage.kind for damage in self.damaged)
        pairs = {
            "duplicates": self.duplicates,
            "copies": [(copy.a, copy.b) for copy in self.copies],
            "overlaps": [(overlap.a, overlap.b) for overlap in self.overlaps],
        }
        counts: dict[str, Any] = {
            "cells": len(cells),
            "rejected": len(self.manifest.rejects),
            "by_source_and_class": dict(
                sorted(Counter(f"{cell.source} {cell.label}" for cell in cells).items())
            ),
        }
        counts |= {kind: kinds[kind] for kind in ("unreadable", "damaged", "odd size")}
        for name, pairs_of_kind in pairs.items():
            counts[name] = len(pairs_of_kind)
            counts[f"{name}_of_two_classes"] = sum(
                self.of_two_classes(*pair) for pair in pairs_of_kind
            )
        touched = {place for pair in pairs["overlaps"] for place in pair}
        return counts | {"cells_that_overlap": len(touched), "looks": self.looks}

    def of_two_classes(self, a: int, b: int) -> bool:
        """Tell whether two cells have different labels."""
        return self.manifest.cells[a].label != self.manifest.cells[b].label


def write_lists(result: Audit, folder: Path) -> None:
    """Write `damaged.csv`, `duplicates.csv` and `overlaps.csv`, which a split reads."""
    cells = result.manifest.cells
    with csv_file(folder / DAMAGED_FILE, ["path", "kind", "reason", "label", "source"]) as rows:
        for damage in result.damaged:
            cell = cells[damage.place]
            rows.writerow([cell.path, damage.kind, damage.reason, cell.label, cell.source])
    header = ["path_a", "path_b", "kind", "angle", "mirrored", "correlation", "label_a", "label_b"]
    with csv_file(folder / DUPLICATES, header) as rows:
        for first, second in result.duplicates:
            rows.writerow(_pair(result, first, second, "same content", "0", "no", "1"))
        for copy in result.copies:
            numbers = [f"{copy.angle:.1f}", "yes" if copy.mirrored else "no"]
            numbers.append(f"{copy.correlation:.4f}")
            rows.writerow(_pair(result, copy.a, copy.b, "same picture", *numbers))
    header = ["path_a", "path_b", "dx", "dy", "shared_area", "correlation", "label_a", "label_b"]
    with csv_file(folder / OVERLAPS, header) as rows:
        for overlap in result.overlaps:
            numbers = [f"{overlap.dx}", f"{overlap.dy}"]
            numbers += [f"{overlap.shared_area:.4f}", f"{overlap.correlation:.4f}"]
            rows.writerow(_pair(result, overlap.a, overlap.b, *numbers))


def _pair(result: Audit, first: int, second: int, *values: str) -> list[str]:
    a, b = result.manifest.cells[first], result.manifest.cells[second]
    return [a.path, b.path, *values, a.label, b.label]
