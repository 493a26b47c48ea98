"""The whole fields of a case: added as pictures, then their cells are found and added."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from marrowscope.detection.results import NEIGHBOURS, RED_CELLS
from marrowscope.errors import ConflictError, NotThereError
from marrowscope.store.audit import SYSTEM, Event, append
from marrowscope.store.cases import change
from marrowscope.store.cells import LONGEST, Added, slide_called
from marrowscope.store.enums import CellState, FieldState, Origin, Role
from marrowscope.store.tables import Case, CaseCell, CellPlace, Field, User
from marrowscope.store.users import check_role
from marrowscope.store.validation import needed
from marrowscope.types import Place

FIND = "find"
"""The kind of the job that finds the cells of the fields of a case."""
GIVEN = "given"
NAMED = 200
"""Characters of a field's name in the names of its cells."""


@dataclass(frozen=True)
class NewField:
    """A field that came in and can be opened; its bytes are among the blobs."""

    file: str
    """Its name as it came."""
    sha256: str
    width: int
    """Pixels."""
    height: int
    """Pixels."""


@dataclass(frozen=True)
class Cut:
    """A cell on a field, whose crop is among the blobs."""

    place: Place
    sha256: str
    side: int
    """Pixels of the crop."""


@dataclass(frozen=True)
class Outcome:
    """What was found on a field."""

    state: FieldState
    um_per_px: float | None = None
    """Side of a pixel on the slide, in micrometres; None where nothing tells."""
    scale: str = ""
    """What that rests on: given, file, red cells, other fields or unknown."""
    flags: tuple[str, ...] = ()
    """Why it is outside the plain range."""
    reason: str = ""
    """Why it was rejected."""
    cells: tuple[Cut, ...] = ()


def add_fields(
    session: Session, actor: User, case: Case, slide: str, fields: Sequence[NewField]
) -> Added:
    """Add fields to a slide of a case; one that the case has already is not added again.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        StoreError: a name is empty, not one line or too long (a slide's has 64 characters, a
            file's 255).
    """
    check_role(actor, Role.REVIEWER, "adding fields")
    change(session, case)
    place = slide_called(session, case, slide)
    had = set(session.scalars(select(Field.sha256).where(Field.case_id == case.id)))
    fresh = {field.sha256: field for field in reversed(fields) if field.sha256 not in had}
    for field in reversed(fresh.values()):
        session.add(
            Field(
                case_id=case.id,
                slide_id=place.id,
                **asdict(field) | {"file": needed("name of the file", field.file, LONGEST)},
                state=FieldState.WAITING,
            )
        )
    added = Added(len(fresh), len(fields) - len(fresh))
    after = {"slide": place.name} | asdict(added)
    append(session, Event(actor.name, "fields add", case.public_id, after=after))
    return added


def list_fields(session: Session, case: Case) -> Sequence[Field]:
    """Give the fields of a case, as they came."""
    query = select(Field).where(Field.case_id == case.id)
    return session.scalars(query.options(joinedload(Field.slide)).order_by(Field.id)).all()


def find_field(session: Session, case: Case, number: int) -> Field:
    """Give a field of a case by its number.

    Raises:
        NotThereError: the case has no such field.
    """
    field = session.get(Field, number)
    if field is None or field.case_id != case.id:
        raise NotThereError(f"the case {case.title} has no field {number}")
    return field


def next_field(session: Session, case: Case) -> Field | None:
    """Give the first field whose cells are still to be found; None if there is none."""
    query = select(Field).where(Field.case_id == case.id, Field.state == FieldState.WAITING)
    return session.scalars(query.order_by(Field.id).limit(1)).first()


def fields_by_state(session: Session, case: Case) -> dict[FieldState, int]:
    """Count the fields of a case by their state; 0 for states without any."""
    query = select(Field.state, func.count()).where(Field.case_id == case.id)
    counts = {row[0]: row[1] for row in session.execute(query.group_by(Field.state))}
    return {state: counts.get(state, 0) for state in FieldState}


def keep_found(session: Session, case: Case, number: int, outcome: Outcome) -> int:
    """Keep what was found on a field that waits for it; give the number of new cells.

    Nothing is kept if the field was looked at before, or deleted meanwhile.

    Raises:
        FrozenError: the case is signed or archived.
    """
    change(session, case)
    field = session.get(Field, number, populate_existing=True)
    if field is None or field.state is not FieldState.WAITING:
        return 0
    field.state, field.reason = outcome.state, outcome.reason
    field.um_per_px, field.scale = outcome.um_per_px, outcome.scale
    field.flags = list(outcome.flags)
    before = _places_on(session, field)
    fresh = [cut for cut in outcome.cells if _box(cut.place) not in before]
    for cut in fresh:
        add_cut(session, case, field, cut, Origin.FOUND)
    after: dict[str, Any] = {"field": field.id, "file": field.file, "state": field.state.value}
    after |= {"cells": len(fresh), "um_per_px": field.um_per_px, "scale": field.scale}
    after |= {"flags": list(outcome.flags)} if outcome.flags else {}
    append(session, Event(SYSTEM, "field look", case.public_id, after=after))
    return len(fresh)


def neighbours_scale(session: Session, case: Case, field: Field) -> float | None:
    """Give the median scale by red cells of fields of the same size; None for fewer than three."""
    query = select(Field.um_per_px).where(
        Field.case_id == case.id,
        Field.scale == RED_CELLS,
        Field.width == field.width,
        Field.height == field.height,
    )
    scales = [scale for scale in session.scalars(query) if scale]
    return median(scales) if len(scales) >= NEIGHBOURS else None


def add_cut(session: Session, case: Case, field: Field, cut: Cut, origin: Origin) -> CaseCell:
    """Add a cell on a field, to be read; the case must be locked."""
    x0, y0, x1, y1 = _box(cut.place)
    cell = CaseCell(
        case_id=case.id,
        slide_id=field.slide_id,
        file=f"{field.file[-NAMED:]} at {(x0 + x1) // 2}, {(y0 + y1) // 2}",
        sha256=cut.sha256,
        width=cut.side,
        height=cut.side,
        state=CellState.WAITING,
        label="",
        machine="",
    )
    session.add(cell)
    session.flush()
    place = CellPlace(cell_id=cell.id, field_id=field.id, x0=x0, y0=y0, x1=x1, y1=y1, origin=origin)
    session.add(place)
    session.flush()
    return cell


def _box(place: Place) -> tuple[int, int, int, int]:
    return place.x0, place.y0, place.x1, place.y1


def _places_on(session: Session, field: Field) -> set[tuple[int, ...]]:
    columns = (CellPlace.x0, CellPlace.y0, CellPlace.x1, CellPlace.y1)
    rows = session.execute(select(*columns).where(CellPlace.field_id == field.id))
    return {tuple(row) for row in rows}


def look_again(session: Session, actor: User, case: Case, field: Field) -> None:
    """Let the cells of a field that is flagged, or was of no use, be found and read all the same.

    Raises:
        DeniedError: the user is a reader.
        FrozenError: the case is signed or archived.
        ConflictError: the cells of the field were found already, or wait to be.
    """
    check_role(actor, Role.REVIEWER, "having a field looked at again")
    change(session, case)
    session.refresh(field)
    if field.state not in {FieldState.FLAGGED, FieldState.REJECTED}:
        raise ConflictError(
            f"the field {field.file} is {field.state}; only one that is flagged or rejected is "
            "looked at again"
        )
    before = {"state": field.state.value, "flags": list(field.flags)}
    field.state, field.keep_flagged, field.reason = FieldState.WAITING, True, ""
    after = {"field": field.id, "file": field.file}
    append(session, Event(actor.name, "field force", case.public_id, before=before, after=after))


def cell_scales(
    session: Session, case: Case, cells: Iterable[CaseCell]
) -> Mapping[int, float | None]:
    """Give the side of a pixel of cells' pictures, in micrometres, by the numbers of the cells.

    That of a cell on a field is the field's, of others the case's.
    """
    numbers = [cell.id for cell in cells]
    query = (
        select(CellPlace.cell_id, Field.um_per_px)
        .join(Field, Field.id == CellPlace.field_id)
        .where(CellPlace.cell_id.in_(numbers))
    )
    return dict.fromkeys(numbers, case.um_per_px) | {
        row[0]: row[1] for row in session.execute(query)
    }
