"""Boxes of cells on fields: listed, drawn around missed cells, removed from what is no cell."""

from collections.abc import Sequence

from sqlalchemy import case as when
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from marrowscope.errors import ConflictError, NotThereError, StoreError
from marrowscope.store.audit import Event, append
from marrowscope.store.cases import change
from marrowscope.store.enums import CellState, FieldState, Origin, Role
from marrowscope.store.fields import Cut, add_cut
from marrowscope.store.tables import Case, CaseCell, CellPlace, Field, User
from marrowscope.store.timestamps import now
from marrowscope.store.users import check_role
from marrowscope.types import Place

SMALLEST = 8
"""Pixels of a side of a box that is drawn."""
NO_CELL = "removed by {}: no cell to be counted"


def boxes_on(session: Session, field: Field) -> Sequence[CellPlace]:
    """Give the cells on a field, those removed too, in reading order."""
    query = select(CellPlace).where(CellPlace.field_id == field.id)
    rows = query.options(joinedload(CellPlace.cell)).order_by(CellPlace.y0, CellPlace.x0)
    return session.scalars(rows).all()


def cells_by_field(session: Session, case: Case) -> dict[int, tuple[int, int]]:
    """Count the cells on each field of a case that stand, and those removed, by its `id`."""
    removed = func.sum(when((CellPlace.removed_by.is_not(None), 1), else_=0))
    query = select(CellPlace.field_id, func.count(), removed).join(
        Field, Field.id == CellPlace.field_id
    )
    rows = session.execute(query.where(Field.case_id == case.id).group_by(CellPlace.field_id))
    return {number: (cells - int(gone), int(gone)) for number, cells, gone in rows}


def place_drawn(field: Field, x0: int, y0: int, x1: int, y1: int) -> Place:
    """Give a box that a person drew on a field, whichever corner came first.

    Raises:
        ConflictError: the scale of the field is not known (yet), so no cell can be cut from it.
        StoreError: the box lies outside the field, or is smaller than 8 pixels a side.
    """
    if field.um_per_px is None or field.state is FieldState.WAITING:
        raise ConflictError(
            f"the scale of the field {field.file} is not known yet, so its cells cannot be cut out"
        )
    left, right = max(0, min(x0, x1)), min(field.width, max(x0, x1))
    top, bottom = max(0, min(y0, y1)), min(field.height, max(y0, y1))
    if min(right - left, bottom - top) < SMALLEST:
        raise StoreError(
            f"a box has at least {SMALLEST} pixels a side within the field ({field.width} x "
            f"{field.height}); got {x0}, {y0} to {x1}, {y1}"
        )
    return Place(field.file, left, top, right, bottom, field.um_per_px)


def draw_cell(session: Session, actor: User, case: Case, field: Field, cut: Cut) -> CaseCell:
    """Add a cell that was missed; the model reads it like any other.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        ConflictError: this very box is there already.
    """
    check_role(actor, Role.REVIEWER, "adding a cell")
    change(session, case)
    same = select(CaseCell.id).where(CaseCell.case_id == case.id, CaseCell.sha256 == cut.sha256)
    if session.scalar(same) is not None:
        raise ConflictError("this very box is there already")
    cell = add_cut(session, case, field, cut, Origin.DRAWN)
    after = {"field": field.id, "box": _box(cut.place)}
    append(session, Event(actor.name, "cell draw", case.public_id, str(cell.id), after=after))
    return cell


def remove_cell(session: Session, actor: User, case: Case, cell: CaseCell) -> None:
    """Say that what lies in a box is no cell: it is not counted any more, but stays on record.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        NotThereError: the cell lies on no field.
        ConflictError: it is removed already.
    """
    check_role(actor, Role.REVIEWER, "removing a cell")
    change(session, case)
    place = find_place(session, cell)
    if place.removed_by is not None:
        raise ConflictError(f"cell {cell.id} is removed already")
    before = {"state": cell.state.value, "label": cell.counts_as}
    place.removed_by, place.removed_at = actor.id, now()
    cell.state, cell.reason = CellState.REJECTED, NO_CELL.format(actor.name)
    after = {"field": place.field_id, "box": [place.x0, place.y0, place.x1, place.y1]}
    event = Event(actor.name, "cell remove", case.public_id, str(cell.id), before, after)
    append(session, event)


def restore_cell(session: Session, actor: User, case: Case, cell: CaseCell) -> None:
    """Take a removal back: the cell counts as it did; one that was never read waits for it.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        NotThereError: the cell lies on no field.
        ConflictError: it is not removed.
    """
    check_role(actor, Role.REVIEWER, "taking a removal back")
    change(session, case)
    place = find_place(session, cell)
    if place.removed_by is None:
        raise ConflictError(f"cell {cell.id} is not removed")
    place.removed_by = place.removed_at = None
    cell.state = CellState.READ if cell.machine else CellState.WAITING
    cell.reason = ""
    after = {"state": cell.state.value, "label": cell.counts_as}
    append(session, Event(actor.name, "cell restore", case.public_id, str(cell.id), after=after))


def find_place(session: Session, cell: CaseCell) -> CellPlace:
    """Give the place of a cell on its field.

    Raises:
        NotThereError: it has none, as it came as a picture of its own.
    """
    place = session.get(CellPlace, cell.id, populate_existing=True)
    if place is None:
        raise NotThereError(f"cell {cell.id} is a picture of its own, and lies on no field")
    return place


def _box(place: Place) -> list[int]:
    return [place.x0, place.y0, place.x1, place.y1]
