"""Count a case as it stands: the differential, and which cells to review until it is certain."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from marrowscope.differential.accumulator import Fate, Tally
from marrowscope.differential.count import Differential, count
from marrowscope.differential.me_ratio import ICSH, Formula
from marrowscope.differential.reference_ranges import ADULT_MARROW, Norms
from marrowscope.differential.review_priority import Work, work_of
from marrowscope.model.bundle import Bundle
from marrowscope.store.case_model import check_model
from marrowscope.store.enums import CellState
from marrowscope.store.tables import Case, CaseCell
from marrowscope.types import Prediction

COLUMNS = (
    CaseCell.id,
    CaseCell.machine,
    CaseCell.probability,
    CaseCell.probabilities,
    CaseCell.set,
    CaseCell.novelty,
    CaseCell.label,
    CaseCell.decided_by,
)
"""What `case_predictions` needs of a cell."""
BLIND = "blind"
"""Stands for the one reader of a blind reading."""


@dataclass(frozen=True)
class CaseCount:
    """What a case amounts to just now."""

    version: int
    """Version of the case that was counted."""
    differential: Differential
    work: Work
    """Cells to review for the sake of the blasts; their paths are the numbers of the cells."""
    fates: dict[Fate, int]
    """How many of the cells that were read are counted, and how many not and why."""


def count_case(
    session: Session,
    case: Case,
    bundle: Bundle,
    norms: Norms = ADULT_MARROW,
    formula: Formula = ICSH,
    *,
    blind: Mapping[int, str] | None = None,
) -> CaseCount:
    """Count the cells of a case that were read; a person's class goes before the model's.

    Cells unlike those that the model knows count once a person gave them a class. `blind` has the
    classes of a blind reading by the numbers of cells, which go instead of all others' then.

    Raises:
        StoreError: another bundle has read the case.
        BundleError: the bundle's test cells cannot be read.
    """
    check_model(case, bundle)
    tally = Tally(bundle.novelty)
    fates = dict.fromkeys(Fate, 0)
    predictions: list[Prediction] = []
    for prediction in case_predictions(session, case, blind):
        fate = tally.add_cell(prediction)
        fates[fate] += 1
        if fate is not Fate.UNLIKE:
            predictions.append(prediction)
    return CaseCount(
        case.version,
        count(tally.gallery.cells, bundle.classes, norms, formula),
        work_of(lambda: predictions, bundle),
        fates,
    )


def case_predictions(
    session: Session, case: Case, blind: Mapping[int, str] | None = None
) -> Iterator[Prediction]:
    """Give the cells of a case that were read, with the classes that count, as they came.

    Each is as `cells.counted_prediction` gives it, in a third of the time. `blind` has the classes
    of a blind reading by the numbers of cells.
    """
    query = select(*COLUMNS).where(CaseCell.case_id == case.id, CaseCell.state == CellState.READ)
    for row in session.execute(query.order_by(CaseCell.id)):
        number, machine, probability, probabilities, codes, novelty, label, by = row
        reviewer = str(by)
        if blind is not None:
            label, reviewer = blind.get(number, ""), BLIND
        yield Prediction(
            str(number),
            label or machine,
            probability,
            tuple(probabilities),
            None if codes is None else tuple(codes),
            math.nan if novelty is None else novelty,
            reviewer if label else "",
        )
