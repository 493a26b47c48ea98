"""The report on a set of classified cells: one self-contained HTML page."""

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from marrowscope import __version__
from marrowscope.bundle import Bundle
from marrowscope.differential import Differential
from marrowscope.images import read_image
from marrowscope.labels import CLASSES
from marrowscope.novelty import Novelty, novel_in_words
from marrowscope.pages import render, thumbnail
from marrowscope.records import Prediction, Reject
from marrowscope.results import set_in_words, write_text
from marrowscope.review import Review

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


class Strangers:
    """Keeps the cells most unlike the known ones, and how many there were; memory is bounded."""

    def __init__(self, limit: int = SHOWN_PER_CLASS) -> None:
        self._limit = limit
        self._kept: list[tuple[float, int, Prediction]] = []
        self.cells = 0

    def add(self, prediction: Prediction) -> None:
        """Take one cell into account."""
        self.cells += 1
        heapq.heappush(self._kept, (prediction.novelty, -self.cells, prediction))
        if len(self._kept) > self._limit:
            heapq.heappop(self._kept)

    def strangest(self) -> list[Prediction]:
        """Give the kept cells, the strangest first."""
        return [prediction for _, _, prediction in sorted(self._kept, reverse=True)]


class Tally:
    """What memory keeps of all outcomes: counts, the least certain cells, the first rejects."""

    def __init__(self, novelty: Novelty | None = None, *, keep_novel: bool = False) -> None:
        self._novelty = novelty
        self.keep_novel = keep_novel
        self.gallery = Gallery()
        self.to_review = Gallery()
        """Cells whose set of classes is not their class alone."""
        self.sets: Counter[tuple[str, ...]] = Counter()
        """How often each of their sets came."""
        self.strangers = Strangers()
        self.rejected = 0
        self.first_rejects: list[Reject] = []

    @property
    def cells(self) -> int:
        """Cells that were classified, those to review and those set aside among them."""
        return sum(self.gallery.cells.values()) + self.sets.total() + self.set_aside

    @property
    def novel(self) -> int:
        """Cells that are unlike the known ones."""
        return self.strangers.cells

    @property
    def set_aside(self) -> int:
        """Cells that are not counted, as they are unlike the known ones."""
        return 0 if self.keep_novel else self.novel

    def add(self, outcome: Prediction | Reject) -> None:
        """Take one outcome into account."""
        if isinstance(outcome, Prediction):
            self._add(outcome)
            return
        self.rejected += 1
        if len(self.first_rejects) < SHOWN_REJECTS:
            self.first_rejects.append(outcome)

    def sets_aside(self, prediction: Prediction) -> bool:
        """Whether a cell is not counted, as it is unlike the known ones."""
        return not self.keep_novel and self._is_novel(prediction)

    def _is_novel(self, prediction: Prediction) -> bool:
        return self._novelty is not None and self._novelty.is_novel(prediction.novelty)

    def _add(self, prediction: Prediction) -> None:
        if self._is_novel(prediction):
            self.strangers.add(prediction)
        if self.sets_aside(prediction):
            return
        if prediction.set in (None, (prediction.label,)):
            self.gallery.add(prediction)
        else:
            self.to_review.add(prediction)
            self.sets[prediction.set or ()] += 1


@dataclass(frozen=True)
class Picture:
    """A cell as the page shows it."""

    name: str
    data: str
    label: str
    percent: float
    second: str
    second_percent: float
    set: str
    """Classes that it may be of, in words; empty where no coverage was asked for."""


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
    tally: Tally,
    review: Review | None = None,
) -> None:
    """Write the page: the differential, cells to review, then the cells of each class.

    Of all cells of a kind, the least certain come first.
    """
    widest = max([row.high for row in differential.rows if row.cells], default=100.0)
    text = render(
        "report.html.j2",
        bundle=bundle,
        differential=differential,
        groups=_groups(tally.gallery, bundle),
        review=review,
        to_review=_groups(tally.to_review, bundle),
        rejects=tally.first_rejects,
        rejected=tally.rejected,
        cells=tally.cells,
        novel=tally.novel,
        set_aside=tally.set_aside,
        novel_note=novel_in_words(bundle.novelty, tally.novel, counted=tally.keep_novel),
        strangers=[_picture(prediction, bundle) for prediction in tally.strangers.strangest()],
        scale=max(10.0, min(100.0, widest)),
        left_out=[CLASSES[code] for code in bundle.left_out if code in CLASSES],
        version=__version__,
    )
    write_text(file, text)


def _groups(gallery: Gallery, bundle: Bundle) -> list[Group]:
    return [
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


def _picture(prediction: Prediction, bundle: Bundle) -> Picture:
    ranked = sorted(
        zip(prediction.probabilities, bundle.classes, strict=True), key=lambda pair: -pair[0]
    )
    return Picture(
        name=Path(prediction.path).name,
        data=thumbnail(read_image(Path(prediction.path)), THUMBNAIL_PIXELS),
        label=prediction.label,
        percent=100 * prediction.probability,
        second=ranked[1][1],
        second_percent=100 * ranked[1][0],
        set="" if prediction.set is None else set_in_words(prediction.set),
    )
