"""The cells of a case as one user sees them: who reads it blind sees nobody else's decisions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from marrowscope.errors import DeniedError
from marrowscope.store.blind_reading import find_open_reading, labels_in
from marrowscope.store.cases import Page
from marrowscope.store.cells import PAGE, Order, Wanted, list_cells
from marrowscope.store.tables import Case, CaseCell, User

ALL = 1_000_000


@dataclass(frozen=True)
class SeenCell:
    """A cell with the decision on it that a user sees."""

    cell: CaseCell
    label: str
    """By a person; empty for none."""
    by: str
    """Name of that person."""
    at: datetime | None

    @property
    def counts_as(self) -> str:
        """The class code that counts."""
        return self.label or self.cell.machine


def check_not_blind(session: Session, case: Case, who: User) -> None:
    """Check that a user may see what others made of a case.

    Raises:
        DeniedError: the user reads it blind just now.
    """
    if find_open_reading(session, case, who):
        raise DeniedError(
            f"{who.name} reads the case {case.title} blind; close that reading to see this"
        )


def see(session: Session, case: Case, who: User, cells: Sequence[CaseCell]) -> list[SeenCell]:
    """Give cells of a case as a user sees them."""
    reading = find_open_reading(session, case, who)
    if reading is not None:
        labels = labels_in(session, reading)
        return [_blind(cell, labels.get(cell.id, ""), who) for cell in cells]
    deciders = {cell.decided_by for cell in cells if cell.decided_by}
    rows = session.execute(select(User.id, User.name).where(User.id.in_(deciders)))
    names: dict[int | None, str] = {row[0]: row[1] for row in rows}
    return [
        SeenCell(cell, cell.label, names.get(cell.decided_by, ""), cell.decided_at)
        for cell in cells
    ]


def _blind(cell: CaseCell, label: str, who: User) -> SeenCell:
    return SeenCell(cell, label, who.name if label else "", None)


def list_seen(
    session: Session,
    case: Case,
    who: User,
    wanted: Wanted,
    order: Order = Order.FIRST,
    *,
    offset: int = 0,
    limit: int = PAGE,
) -> Page[SeenCell]:
    """List cells of a case as a user sees them."""
    if find_open_reading(session, case, who) is None:
        page = list_cells(session, case, wanted, order, offset=offset, limit=limit)
        return Page(see(session, case, who, page.rows), page.total)
    open_to_all = replace(wanted, label=None, decided=None)
    cells = list_cells(session, case, open_to_all, Order.FIRST, limit=ALL).rows
    rows = sorted(_fitting(see(session, case, who, cells), wanted), key=KEYS[order])
    return Page(rows[offset : offset + limit], len(rows))


def _fitting(cells: Iterable[SeenCell], wanted: Wanted) -> Iterable[SeenCell]:
    for cell in cells:
        if wanted.label is not None and cell.counts_as != wanted.label:
            continue
        if wanted.decided is not None and bool(cell.label) != wanted.decided:
            continue
        yield cell


def _first(cell: SeenCell) -> tuple[object, ...]:
    return (cell.cell.id,)


def _doubtful(cell: SeenCell) -> tuple[object, ...]:
    return (bool(cell.label), not cell.cell.novel, cell.cell.margin, cell.cell.id)


def _class(cell: SeenCell) -> tuple[object, ...]:
    return (cell.counts_as, *_doubtful(cell))


KEYS = {Order.FIRST: _first, Order.DOUBTFUL: _doubtful, Order.CLASS: _class}
"""How each order sorts; the same as `cells.ORDERS` in the database."""
