"""The outcomes that an interrupted classification left, taken up again in step with its inputs."""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from marrowscope.errors import OutputError
from marrowscope.inference.predictor import BATCH_SIZE, Outcome
from marrowscope.io.csv_safety import row_as_it_was
from marrowscope.io.tables import REJECT_HEADER, RowFormat
from marrowscope.types import Found, Prediction, Reject


class Cursor:
    """Takes the rows of a CSV one by one, up to half a row at its end; knows their bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._read = 0
        self._rows = map(row_as_it_was, csv.reader(self._lines(), strict=True))
        self.taken = 0
        """Bytes of the rows taken so far."""
        self.next = self._row()
        """The row that is taken next; empty at the end."""

    def take(self) -> list[str]:
        """Give the next row and move on."""
        row = self.next
        self.taken = self._read
        self.next = self._row()
        return row

    def _row(self) -> list[str]:
        try:
            return next(self._rows, [])
        except (csv.Error, UnicodeDecodeError):
            return []

    def _lines(self) -> Iterator[str]:
        for line in self._file:
            if not line.endswith(b"\n"):
                return
            self._read += len(line)
            yield line.decode()


class Outcomes:
    """The outcomes in two CSV files, one of predictions and one of rejects, as they were found."""

    def __init__(self, predictions: Path, rejects: Path, row_format: RowFormat) -> None:
        """Open both files.

        Raises:
            OutputError: one has other columns than those that a classification writes.
        """
        with ExitStack() as files:
            self._predictions = _open(files, predictions, row_format.header)
            self._rejects = _open(files, rejects, list(REJECT_HEADER))
            self._files = files.pop_all()
        self._folder = predictions.parent
        self._format = row_format
        self._matched = 0
        self.keep = (0, 0)
        """Bytes of the two files that hold the outcomes given so far, and the headers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.close()

    @property
    def at_end(self) -> bool:
        """Whether no row is left."""
        return not self._predictions.next and not self._rejects.next

    def replay(self, items: Iterable[Found], take: Callable[[Outcome], object]) -> Iterator[Found]:
        """Hand over the outcomes that are there already; give the inputs that are still to do.

        It goes by whole batches: with the rest in the same batches as in a run without a break,
        the figures are the same, as a quantised model scores a cell by the batch it is in.

        Raises:
            OutputError: there are outcomes, and none is of these inputs.
        """
        rest = inputs = iter(items)
        while batch := list(islice(inputs, BATCH_SIZE)):
            outcomes = self._match(batch)
            if not outcomes:
                rest = chain(batch, inputs)
                break
            for outcome in outcomes:
                take(outcome)
        self._check_inputs()
        return rest

    def _match(self, batch: Sequence[Found]) -> list[Outcome]:
        """Give the outcomes of a batch; none unless all are there, and as the same batch."""
        outcomes = []
        for item in batch:
            if (outcome := self._outcome(item)) is None:
                return []
            outcomes.append(outcome)
            self._matched += 1
        if len(batch) < BATCH_SIZE and not self.at_end:
            return []
        self.keep = (self._predictions.taken, self._rejects.taken)
        return outcomes

    def _outcome(self, item: Found) -> Outcome | None:
        path = [str(item.path)]
        if not isinstance(item, Reject) and self._predictions.next[:1] == path:
            return self._prediction(self._predictions.take())
        if self._rejects.next[:1] == path and len(self._rejects.next) == len(REJECT_HEADER):
            return Reject(*self._rejects.take())
        return None

    def _prediction(self, row: list[str]) -> Prediction | None:
        try:
            if len(row) == len(self._format.header):
                return self._format.parse(row)
        except ValueError:
            pass
        return None

    def _check_inputs(self) -> None:
        if not self._matched and not self.at_end:
            first = (self._predictions.next or self._rejects.next)[0]
            raise OutputError(
                f"{self._folder} holds outcomes of other inputs, such as {first}; give the same "
                "inputs in the same order and words, another folder, or --overwrite to start anew"
            )


def _open(files: ExitStack, path: Path, header: Sequence[str]) -> Cursor:
    """Read a table's header; one that is cut off has no rows.

    Raises:
        OutputError: the table has other columns.
    """
    cursor = Cursor(files.enter_context(path.open("rb")))
    if cursor.next and cursor.take() != header:
        raise OutputError(
            f"{path} was not written by this classification: its columns are not "
            f"{','.join(header)}; give another folder, or --overwrite to start anew"
        )
    return cursor
