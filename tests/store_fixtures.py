"""A small reading room for tests: users, and a case whose cells were read, without a model."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import or_, update
from sqlalchemy.orm import Session

from marrowscope.model.bundle import SHIPPED, Bundle, load_bundle
from marrowscope.store.case_model import name_model
from marrowscope.store.cases import Facts, make_case
from marrowscope.store.cells import NewCell, add_cells, keep_readings, waiting
from marrowscope.store.database import Store
from marrowscope.store.enums import JobState, Role
from marrowscope.store.tables import Case, Job, User
from marrowscope.store.timestamps import now
from marrowscope.store.users import make_user
from marrowscope.store.workspace import Room, open_room
from marrowscope.types import Prediction

PASSWORD = "a marrow of words"  # noqa: S105 - of no real account
BUNDLE: Bundle = load_bundle(str(SHIPPED["default"]))


@dataclass(frozen=True)
class People:
    """One user of each role, and another reviewer."""

    reader: User
    ada: User
    ben: User
    admin: User


def end_leases(store: Store, processes: Iterable[int]) -> None:
    """Let the leases of dead processes' jobs be over, as if they had been silent for long."""
    with store.write() as session:
        running = update(Job).where(
            Job.state == JobState.RUNNING,
            or_(*(Job.owner.contains(f"-{process}-") for process in processes)),
        )
        session.execute(running.values(lease_until=now() - timedelta(hours=1)))


def people(session: Session) -> People:
    """Make the users, without passwords."""
    roles = Role.READER, Role.REVIEWER, Role.REVIEWER, Role.ADMIN
    names = "Rita", "Ada", "Ben", "Root"
    return People(*map(lambda name, role: make_user(session, name, role), names, roles))


def a_room(folder: Path) -> Room:
    """Open a room in a folder that has people."""
    opened = open_room(folder)
    with opened.store.write() as session:
        people(session)
    return opened


def picture(number: int) -> NewCell:
    """A picture that differs from those of other numbers."""
    return NewCell(f"{number}.png", f"{number:064x}", 70, 72)


def reading(number: int, novelty: float = 0.0) -> Prediction:
    """What a model may say: class 0, 1, 2... in turn, the more certain the higher the number."""
    classes = BUNDLE.classes
    best = number % len(classes)
    sure = 0.5 + 0.4 * number / (1 + number)
    rest = (1 - sure) / (len(classes) - 1)
    shares = tuple(sure if place == best else rest for place in range(len(classes)))
    return Prediction(str(number), classes[best], sure, shares, novelty=novelty)


def read_case(session: Session, who: User, cells: int = 4, title: str = "A-1") -> Case:
    """Make a case with cells that were read."""
    case = make_case(session, who, Facts(title, um_per_px=0.1))
    add_cells(session, who, case, "1", [picture(number) for number in range(cells)])
    name_model(session, case, BUNDLE)
    rows = waiting(session, case, cells)
    outcomes = {cell.id: reading(number) for number, cell in enumerate(rows)}
    keep_readings(session, case, BUNDLE, outcomes)
    return case
