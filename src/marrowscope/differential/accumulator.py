"""What memory keeps of classified cells: how many of each class, and those worth showing."""

import heapq
from collections import Counter, defaultdict
from enum import StrEnum

from marrowscope.model.novelty import Novelty
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Prediction, Reject

SHOWN_PER_CLASS = 60
SHOWN_REJECTS = 200


class Fate(StrEnum):
    """What became of a cell in the differential."""

    COUNTED = "counted"
    NO_CELL = "not counted"
    """Of a class that is not part of the nucleated differential."""
    TO_REVIEW = "to review"
    """The model abstains."""
    UNLIKE = "unlike known cells"


class Gallery:
    """Keeps the least certain cells of each class, and how many there were; memory is bounded."""

    def __init__(self, limit: int = SHOWN_PER_CLASS) -> None:
        self._limit = limit
        self._kept: dict[str, list[tuple[float, int, Prediction]]] = defaultdict(list)
        self.cells: dict[str, int] = defaultdict(int)

    def add(self, prediction: Prediction) -> None:
        """Take one prediction into account; what a person decided is certain."""
        tile_rows = self._kept[prediction.label]
        self.cells[prediction.label] += 1
        doubt = -prediction.probability - bool(prediction.reviewer)
        item = (doubt, -self.cells[prediction.label], prediction)
        if len(tile_rows) < self._limit:
            heapq.heappush(tile_rows, item)
        else:
            heapq.heappushpop(tile_rows, item)

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
            self.add_cell(outcome)
            return
        self.rejected += 1
        if len(self.first_rejects) < SHOWN_REJECTS:
            self.first_rejects.append(outcome)

    def add_cell(self, prediction: Prediction) -> Fate:
        """Take one cell into account, and say what became of it; a person's word counts."""
        fate = self._fate(prediction)
        if self._is_novel(prediction):
            self.strangers.add(prediction)
        if fate in {Fate.COUNTED, Fate.NO_CELL}:
            self.gallery.add(prediction)
        elif fate is Fate.TO_REVIEW:
            self.to_review.add(prediction)
            self.sets[prediction.set or ()] += 1
        return fate

    def sets_aside(self, prediction: Prediction) -> bool:
        """Tell whether a cell is not counted, as it is unlike the known ones."""
        return not self.keep_novel and self._is_novel(prediction)

    def _fate(self, prediction: Prediction) -> Fate:
        if not prediction.reviewer:
            if self.sets_aside(prediction):
                return Fate.UNLIKE
            if prediction.set not in {None, (prediction.label,)}:
                return Fate.TO_REVIEW
        return Fate.COUNTED if CLASSES[prediction.label].counted else Fate.NO_CELL

    def _is_novel(self, prediction: Prediction) -> bool:
        """Tell whether a cell that no person has looked at is unlike the known ones."""
        if prediction.reviewer or self._novelty is None:
            return False
        return self._novelty.is_novel(prediction.novelty)
