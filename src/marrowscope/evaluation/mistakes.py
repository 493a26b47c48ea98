"""Choose the mistakes of an evaluation that a page shows; memory holds no others."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from marrowscope.errors import ComparisonError
from marrowscope.io.tables import PREDICTIONS, read_csv

COLUMNS = ("path", "label", "probability", "truth", "source")
MOST_OF_A_SQUARE = 24
"""Mistakes that are kept of each true and predicted class, at most."""

Square = tuple[str, str]
"""True and predicted class."""


@dataclass(frozen=True, order=True)
class Mistake:
    """A cell that was taken for another class; the surest comes last in order."""

    probability: float
    """Of the predicted class, 0..1."""
    path: str
    truth: str
    predicted: str
    of_truth: float
    """Probability of the true class, 0..1."""
    source: str


@dataclass(frozen=True)
class Mistakes:
    """How many cells lie in each square of the confusion matrix, and the surest mistakes."""

    cells: Counter[Square]
    """Of all squares, the right ones too."""
    kept: dict[Square, tuple[Mistake, ...]]
    """Of each square off the diagonal, the surest first."""

    @property
    def wrong(self) -> int:
        """Number of cells off the diagonal."""
        return sum(cells for (truth, taken), cells in self.cells.items() if truth != taken)

    def of_class(self, code: str, number: int) -> tuple[Mistake, ...]:
        """Give the surest mistakes of a true class, `number` at most, the surest first."""
        of_row = (
            mistake for square, row in self.kept.items() if square[0] == code for mistake in row
        )
        return tuple(heapq.nlargest(number, of_row))

    def within(self, pictures: int) -> dict[Square, tuple[Mistake, ...]]:
        """Give the kept mistakes, of each square the same number at most, `pictures` in all.

        Of squares with 5, 2 and 1 mistakes and 6 pictures, 3, 2 and 1 are given. With fewer
        pictures than squares, the first of each of the fullest squares.
        """
        most = self.most_of_a_square(pictures)
        if most:
            return {square: row[:most] for square, row in self.kept.items()}
        fullest = sorted(self.kept, key=lambda square: (-self.cells[square], square))
        return {square: self.kept[square][:1] for square in fullest[:pictures]}

    def most_of_a_square(self, pictures: int) -> int:
        """Give the largest number a square that needs no more than `pictures` in all.

        It is `MOST_OF_A_SQUARE` at most, and 0 with fewer pictures than squares.
        """
        sizes = [len(row) for row in self.kept.values()]
        fitting = (
            most
            for most in range(MOST_OF_A_SQUARE, 0, -1)
            if sum(min(size, most) for size in sizes) <= pictures
        )
        return next(fitting, 0)


def read_mistakes(folder: Path, classes: Collection[str]) -> Mistakes:
    """Read the mistakes of an evaluation's folder, row by row.

    Cells whose true class is none of `classes` are left out.

    Raises:
        ComparisonError: its predictions cannot be read.
    """
    cells: Counter[Square] = Counter()
    by_square: dict[Square, list[Mistake]] = defaultdict(list)
    for mistake in _scored(folder / PREDICTIONS, classes):
        square = (mistake.truth, mistake.predicted)
        cells[square] += 1
        if mistake.truth == mistake.predicted:
            continue
        if len(by_square[square]) < MOST_OF_A_SQUARE:
            heapq.heappush(by_square[square], mistake)
        else:
            heapq.heappushpop(by_square[square], mistake)
    surest = {square: tuple(sorted(row, reverse=True)) for square, row in by_square.items()}
    return Mistakes(cells, surest)


def _scored(file: Path, classes: Collection[str]) -> Iterator[Mistake]:
    """Give the cells of some true classes, right or wrong."""
    for row in read_csv(file, COLUMNS, ComparisonError):
        if row["truth"] not in classes:
            continue
        try:
            yield Mistake(
                probability=float(row["probability"]),
                path=row["path"],
                truth=row["truth"],
                predicted=row["label"],
                of_truth=float(row[row["truth"]]),
                source=row["source"],
            )
        except (KeyError, ValueError) as error:
            raise ComparisonError(
                f"{file}: the row of {row['path']!r} holds no prediction ({error!r}); evaluate the "
                "bundle again"
            ) from None
