"""The report on a set of classified cells: one self-contained HTML page."""

import heapq
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from marrowscope import __version__
from marrowscope.bundle import Bundle
from marrowscope.differential import Differential
from marrowscope.images import read_image
from marrowscope.labels import CLASSES
from marrowscope.pages import render, thumbnail
from marrowscope.records import Prediction, Reject

SHOWN_PER_CLASS = 60
SHOWN_REJECTS = 200
THUMBNAIL_PIXELS = 144


class Gallery:
    """Keeps the least certain cells of each class, and how many there were; memory is bounded."""

    def __init__(self, limit: int = SHOWN_PER_CLASS) -> None:
        self._limit = limit
        self._kept: dict[str, list[tuple[float, int, Prediction]]] = defaultdict(list)
        self.cells: dict[str, int] = defaultdict(int)

    def add(self, prediction: Prediction) -> None:
        """Take one prediction into account."""
        kept = self._kept[prediction.label]
        self.cells[prediction.label] += 1
        item = (-prediction.probability, -self.cells[prediction.label], prediction)
        if len(kept) < self._limit:
            heapq.heappush(kept, item)
        else:
            heapq.heappushpop(kept, item)

    def least_certain(self, label: str) -> list[Prediction]:
        """Give the kept cells of a class, the least certain first."""
        return [prediction for _, _, prediction in sorted(self._kept[label], reverse=True)]


@dataclass(frozen=True)
class Picture:
    """A cell as the page shows it."""

    name: str
    data: str
    percent: float
    second: str
    second_percent: float


@dataclass(frozen=True)
class Group:
    """The cells of one class as the page shows them."""

    code: str
    name: str
    counted: bool
    cells: int
    pictures: list[Picture]


def write_report(
    file: Path,
    bundle: Bundle,
    differential: Differential,
    gallery: Gallery,
    rejects: Sequence[Reject],
) -> None:
    """Write the page: the differential, then the cells of each class, the least certain first."""
    groups = [
        Group(
            code,
            kind.name,
            kind.counted,
            gallery.cells[code],
            [_picture(prediction, bundle) for prediction in gallery.least_certain(code)],
        )
        for code, kind in CLASSES.items()
        if gallery.cells.get(code)
    ]
    widest = max([row.high for row in differential.rows if row.cells], default=100.0)
    text = render(
        "report.html.j2",
        bundle=bundle,
        differential=differential,
        groups=groups,
        rejects=rejects[:SHOWN_REJECTS],
        rejected=len(rejects),
        cells=sum(gallery.cells.values()),
        scale=max(10.0, min(100.0, widest)),
        left_out=[CLASSES[code] for code in bundle.left_out if code in CLASSES],
        version=__version__,
    )
    file.write_text(text, encoding="utf-8")


def _picture(prediction: Prediction, bundle: Bundle) -> Picture:
    ranked = sorted(
        zip(prediction.probabilities, bundle.classes, strict=True), key=lambda pair: -pair[0]
    )
    return Picture(
        name=Path(prediction.path).name,
        data=thumbnail(read_image(Path(prediction.path)), THUMBNAIL_PIXELS),
        percent=100 * prediction.probability,
        second=ranked[1][1],
        second_percent=100 * ranked[1][0],
    )
