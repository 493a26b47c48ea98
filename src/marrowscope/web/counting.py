"""The differential of a case as it stands, with what is left to review until it is certain."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from marrowscope.differential import Differential, count
from marrowscope.records import Prediction
from marrowscope.store.kinds import CellState
from marrowscope.store.readers import labels_in, open_reading_of
from marrowscope.store.tables import Case, CaseCell, User
from marrowscope.worklist import Work, Worklist


@dataclass(frozen=True)
class Standing:
    """What a case counts to at one moment."""

    version: int
    """Of the case."""
    differential: Differential
    work: Work
    """The share of blasts with the model's doubt, and which cells to review first."""
    decided: int
    """Cells that a person decided on."""
    set_aside: int
    """Cells not counted, as they are unlike the known ones and nobody decided on them."""


def standing(session: Session, case: Case, who: User) -> Standing:
    """Count a case as a user sees it: by people's classes, else by the model's."""
    reading = open_reading_of(session, case, who)
    blind = labels_in(session, reading) if reading else None
    labels: Counter[str] = Counter()
    worklist = Worklist(case.classes)
    decided = set_aside = 0
    for number, label, machine, novel, probabilities in _rows(session, case):
        person = label if blind is None else blind.get(number, "")
        decided += bool(person)
        if novel and not person:
            set_aside += 1
            continue
        labels[person or machine] += 1
        chances = _certain(person, case.classes) if person else tuple(probabilities)
        worklist.add(Prediction(str(number), person or machine, 1.0, chances))
    return Standing(case.version, count(labels, case.classes), worklist.work(), decided, set_aside)


def _rows(session: Session, case: Case) -> Iterable[tuple[int, str, str, bool, list[float]]]:
    columns = (
        CaseCell.id,
        CaseCell.label,
        CaseCell.machine,
        CaseCell.novel,
        CaseCell.probabilities,
    )
    query = select(*columns).where(CaseCell.case_id == case.id, CaseCell.state == CellState.READ)
    for row in session.execute(query.order_by(CaseCell.id)):
        yield row[0], row[1], row[2], row[3], row[4]


def _certain(label: str, classes: Iterable[str]) -> tuple[float, ...]:
    """Give the probabilities of a cell whose class is known: `MYB` of PMO, MYB is (0, 1)."""
    return tuple(float(code == label) for code in classes)
