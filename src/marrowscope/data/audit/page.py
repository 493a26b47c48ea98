"""The page of an audit: what was found, with pictures to look at."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from marrowscope import __version__
from marrowscope.data.audit.image_stats import LOOKS
from marrowscope.data.audit.near_duplicates import Copy
from marrowscope.data.audit.overlaps import Overlap
from marrowscope.data.audit.result import Audit, Damage
from marrowscope.errors import ImageError
from marrowscope.io.images import read_image
from marrowscope.io.tables import write_text
from marrowscope.locations import within
from marrowscope.rendering import render, thumbnail

SHOWN = 60
"""Pairs or pictures of each kind on the page; the lists have all."""
PICTURE_PIXELS = 200

Box = tuple[float, float, float, float]
"""Left, top, width and height in percent of a picture."""


@dataclass(frozen=True)
class Picture:
    """A cell as the page shows it; without data it could not be read."""

    name: str
    label: str
    data: str
    box: Box | None = None
    width: int = 1
    height: int = 1


@dataclass(frozen=True)
class Pair:
    """Two pictures side by side, and what they have in common, in words."""

    a: Picture
    b: Picture
    words: str

    @property
    def across(self) -> bool:
        """Tell whether the two have different labels."""
        return self.a.label != self.b.label


def write_audit_page(result: Audit, file: Path) -> None:
    """Write the page: one file that opens anywhere, with at most `SHOWN` pictures of each kind."""
    summary = result.summary()
    text = render(
        "audit.html.j2",
        summary=summary,
        overlaps=[
            _overlap(result, finding) for finding in _of_two_classes_first(result, result.overlaps)
        ],
        copies=[
            _pair(
                result,
                finding.a,
                finding.b,
                _turned(finding.angle, finding.mirrored, finding.correlation),
            )
            for finding in _of_two_classes_first(result, result.copies)
        ],
        duplicates=[
            _pair(result, a, b, "the same file content")
            for a, b in sorted(
                result.duplicates, key=lambda pair: not result.of_two_classes(*pair)
            )[:SHOWN]
        ],
        damaged=[
            (finding, _picture(result, finding.place)) for finding in _worst_first(result.damaged)
        ],
        looks=result.looks,
        scales=_scales(result),
        units=LOOKS,
        version=__version__,
    )
    write_text(file, text)


Found = TypeVar("Found", Overlap, Copy)


def _of_two_classes_first(result: Audit, pairs: Iterable[Found]) -> list[Found]:
    return sorted(pairs, key=lambda pair: not result.of_two_classes(pair.a, pair.b))[:SHOWN]


def _worst_first(damaged: Sequence[Damage]) -> list[Damage]:
    kinds = ("damaged", "unreadable", "odd size")
    return sorted(damaged, key=lambda picture: kinds.index(picture.kind))[:SHOWN]


def _turned(angle: float, mirrored: bool, correlation: float) -> str:
    how = [f"turned by {angle:.0f}°"] if angle else []
    how += ["mirrored"] if mirrored else []
    return (
        f"{' and '.join(how) or 'encoded or resized anew'}; details correlate by {correlation:.3f}"
    )


def _pair(result: Audit, a: int, b: int, words: str) -> Pair:
    return Pair(_picture(result, a), _picture(result, b), words)


def _overlap(result: Audit, overlap: Overlap) -> Pair:
    """Outline the rectangle that two pictures share, in both."""
    words = (
        f"{overlap.shared_area:.0%} shared, shifted by {overlap.dx}, {overlap.dy} pixels; "
        f"correlation {overlap.correlation:.3f}"
    )
    a, b = _picture(result, overlap.a), _picture(result, overlap.b)
    left, top = max(0, overlap.dx), max(0, overlap.dy)
    width = min(a.width, b.width + overlap.dx) - left
    height = min(a.height, b.height + overlap.dy) - top
    return Pair(
        _outlined(a, left, top, width, height),
        _outlined(b, left - overlap.dx, top - overlap.dy, width, height),
        words,
    )


def _outlined(picture: Picture, left: int, top: int, width: int, height: int) -> Picture:
    """Outline a rectangle, given in pixels of the whole picture."""
    across, down = 100 / picture.width, 100 / picture.height
    return replace(picture, box=(left * across, top * down, width * across, height * down))


def _picture(result: Audit, place: int) -> Picture:
    cell = result.manifest.cells[place]
    try:
        image = read_image(within(result.manifest.root, cell.path))
    except ImageError:
        return Picture(cell.path, cell.label, "")
    small = thumbnail(image, PICTURE_PIXELS)
    return Picture(cell.path, cell.label, small, None, image.width, image.height)


def _scales(result: Audit) -> dict[str, tuple[float, float]]:
    """Give the ends of the axis of each measure, the same for all sources."""
    ends = {}
    for name in LOOKS:
        values = [table[name][step] for table in result.looks.values() for step in ("p5", "p95")]
        low, high = min(values, default=0.0), max(values, default=1.0)
        ends[name] = (low, high if high > low else low + 1)
    return ends
