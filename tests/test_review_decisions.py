"""Review in the store: decisions, undoing them, signing, blind readings and their agreement."""

import hashlib
import json
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from store_fixtures import BUNDLE, people, picture, read_case

from marrowscope.errors import (
    ConflictError,
    DeniedError,
    FrozenError,
    NotThereError,
    StoreError,
    UnknownClassError,
)
from marrowscope.store.audit import entries, export, verify
from marrowscope.store.blind_reading import (
    close_reading,
    compare_readings,
    labels_in,
    list_readings,
    open_reading,
)
from marrowscope.store.cases import lock
from marrowscope.store.cells import add_cells, list_cells
from marrowscope.store.database import Store
from marrowscope.store.decisions import decide, history, undo
from marrowscope.store.enums import CaseState, Role
from marrowscope.store.signing import compute_seal, mark_reviewed, reopen, seal_holds, sign
from marrowscope.store.tables import CaseCell
from marrowscope.store.users import change_role


def labels(cells: Sequence[CaseCell]) -> list[str]:
    return [cell.label for cell in cells]


def test_decisions_count_and_are_taken_back_one_request_at_a_time(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        case = read_case(session, ada)
        cells = list_cells(session, case).rows
        first, second = cells[0].id, cells[1].id
        decide(session, ada, case, [first, second], "BLA")
        decide(session, ada, case, [first], "MYB")
        assert labels(cells) == ["MYB", "BLA", "", ""]
        assert (cells[0].counts_as, cells[2].counts_as) == ("MYB", cells[2].machine)
        undo(session, ada, case)
        assert labels(cells) == ["BLA", "BLA", "", ""]
        undo(session, ada, case)
        assert labels(cells) == ["", "", "", ""]
        assert cells[0].decided_by is None
        with pytest.raises(NotThereError, match="Ada has decided nothing on the case A-1 to take"):
            undo(session, ada, case)
        kept = [
            (each.before, each.after, each.undoes is None) for each in history(session, cells[0])
        ]
        assert kept == [
            ("", "BLA", True),
            ("BLA", "MYB", True),
            ("MYB", "BLA", False),
            ("BLA", "", False),
        ]


def test_the_log_has_every_decision_with_who_before_after_and_model(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        case = read_case(session, ada)
        cell = list_cells(session, case).rows[0]
        decide(session, ada, case, [cell.id], "BLA")
        undo(session, ada, case)
        decided, undone = list(entries(session, case.public_id))[-2:]
        assert (decided.who, decided.action, decided.cell) == ("Ada", "decide", str(cell.id))
        assert decided.before == f'{{"by": "model", "label": "{cell.machine}"}}'
        assert decided.after == '{"by": "person", "label": "BLA"}'
        assert decided.model_sha256 == case.model_sha256 != ""
        assert (undone.action, undone.before, undone.after) == (
            "undo",
            decided.after,
            decided.before,
        )
        assert verify(session) is None


def test_the_same_request_is_done_once(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada)
        one, two = (cell.id for cell in list_cells(session, case).rows[:2])
        made = decide(session, them.ada, case, [one, two], "BLA", request="r1")
        assert decide(session, them.ada, case, [two, one], "BLA", request="r1") == made
        for who, cells, label in (
            (them.ada, [one], "BLA"),
            (them.ada, [one, two], "MYB"),
            (them.ben, [one, two], "BLA"),
        ):
            with pytest.raises(ConflictError, match="the request 'r1' was used for another dec"):
                decide(session, who, case, cells, label, request="r1")
        decide(session, them.ada, case, [one], "PMO")
        undone = undo(session, them.ada, case, request="u1")
        assert undo(session, them.ada, case, request="u1") == undone
        assert session.get_one(CaseCell, one).label == "BLA"
        with pytest.raises(ConflictError, match="the request 'r1' was used for another"):
            undo(session, them.ada, case, request="r1")


def test_undo_does_not_touch_what_others_decided_later(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada)
        cell = list_cells(session, case).rows[0]
        decide(session, them.ada, case, [cell.id], "BLA")
        decide(session, them.ben, case, [cell.id], "MYB")
        with pytest.raises(ConflictError, match=f"cell {cell.id} was decided on again by another"):
            undo(session, them.ada, case)
        undo(session, them.ben, case)
        assert cell.label == "BLA"
        undo(session, them.ada, case)
        assert cell.label == ""


def test_who_became_a_reader_takes_nothing_back(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada)
        cell = list_cells(session, case).rows[0]
        decide(session, them.ben, case, [cell.id], "BLA")
        change_role(session, them.ben, Role.READER, "Root")
        with pytest.raises(DeniedError):
            undo(session, them.ben, case)
        assert cell.label == "BLA"


def test_what_cannot_be_decided_is_refused_as_a_whole(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada, 2)
        add_cells(session, them.ada, case, "1", [picture(9)])
        first, second, unread = list_cells(session, case).rows
        with pytest.raises(ConflictError, match=f"cell {unread.id} is waiting; decide on cells th"):
            decide(session, them.ada, case, [first.id, unread.id], "BLA")
        with pytest.raises(UnknownClassError, match="unknown class 'XYZ'"):
            decide(session, them.ada, case, [first.id], "XYZ")
        with pytest.raises(NotThereError, match="the case A-1 has no cell 999"):
            decide(session, them.ada, case, [first.id, 999], "BLA")
        with pytest.raises(DeniedError, match="Rita is a reader; deciding on cells needs a revie"):
            decide(session, them.reader, case, [first.id], "BLA")
        with pytest.raises(StoreError, match="decide on 1 to 5,000 cells at once, got 0"):
            decide(session, them.ada, case, [], "BLA")
        with pytest.raises(StoreError, match="a request is named by at most 64 characters"):
            decide(session, them.ada, case, [first.id], "BLA", request="r" * 65)
        assert labels([first, second, unread]) == ["", "", ""]


def test_the_database_keeps_decisions_as_they_were(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        case = read_case(session, ada)
        decide(session, ada, case, [list_cells(session, case).rows[0].id], "BLA")
    with (
        pytest.raises(DBAPIError, match="rows of decisions are only added"),
        store.write() as session,
    ):
        session.execute(text("UPDATE decisions SET after = 'MYB'"))


def test_a_case_goes_from_draft_to_signed_and_is_frozen(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada)
        cell = list_cells(session, case).rows[0]
        with pytest.raises(ConflictError, match="the case A-1 is a draft; finish its review bef"):
            sign(session, them.ada, case, case.version)
        mark_reviewed(session, them.ada, case, case.version)
        seen = case.version
        decide(session, them.ben, case, [cell.id], "BLA")
        assert case.state is CaseState.DRAFT
        with pytest.raises(
            ConflictError, match=f"has changed since you saw it .version {seen}, no"
        ):
            sign(session, them.ada, case, seen)
        mark_reviewed(session, them.ada, case, case.version)
        with pytest.raises(DeniedError, match="Rita is a reader; signing a case needs a reviewer"):
            sign(session, them.reader, case, case.version)
        sign(session, them.ada, case, case.version)
        assert (case.state, case.signed_by) == (CaseState.SIGNED, them.ada.id)
        words = "the case A-1 is signed; reopen it to change it"
        for attempt in (
            lambda: decide(session, them.ada, case, [cell.id], "MYB"),
            lambda: undo(session, them.ben, case),
            lambda: add_cells(session, them.ada, case, "1", [picture(9)]),
            lambda: open_reading(session, them.ben, case),
            lambda: mark_reviewed(session, them.ada, case, case.version),
        ):
            with pytest.raises(FrozenError, match=words):
                attempt()


def test_a_seal_tells_whether_a_signed_case_was_changed(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        case = read_case(session, ada)
        mark_reviewed(session, ada, case, case.version)
        sign(session, ada, case, case.version)
        assert seal_holds(session, case)
    with store.write() as session:
        session.execute(text("UPDATE cells SET label = 'BLA'"))
    with store.write() as session:
        session.add(case)
        assert not seal_holds(session, case)


def test_a_seal_covers_the_bundle_and_one_from_before_it_was_kept_holds(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        case = read_case(session, ada)
        whole = compute_seal(session, case)
        case.bundle_sha256 = "0" * 64
        assert compute_seal(session, case) != whole
        case.bundle_sha256 = ""
        # as 1.0 computed it
        first = [case.public_id, "A-1", "", "", "", 0.1, "default", BUNDLE.model_sha256]
        lines = [[*first, list(BUNDLE.classes)]]
        lines += [
            [cell.sha256, cell.file, "read", cell.machine, "", None]
            for cell in list_cells(session, case).rows
        ]
        told = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        assert compute_seal(session, case) == hashlib.sha256(told.encode()).hexdigest()


def test_reopening_is_recorded_with_its_reason(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        case = read_case(session, ada)
        mark_reviewed(session, ada, case, case.version)
        sign(session, ada, case, case.version)
        seal = case.seal
        with pytest.raises(StoreError, match="the reason for reopening is empty; give one"):
            reopen(session, ada, case, " ")
        reopen(session, ada, case, "wrong slide")
        assert (case.state, case.signed_by, case.seal) == (CaseState.DRAFT, None, "")
        last = list(export(session, case.public_id))[-1]
        assert '"after": {"reason": "wrong slide", "state": "draft"}' in last
        assert seal in last
        with pytest.raises(ConflictError, match="the case A-1 is not signed, or archived"):
            reopen(session, ada, case, "again")


def test_a_case_that_is_not_done_is_not_reviewed(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada, 2)
        open_reading(session, them.ben, case)
        with pytest.raises(ConflictError, match="Ben still reads the case A-1 blind"):
            mark_reviewed(session, them.ada, case, case.version)
        add_cells(session, them.ada, case, "1", [picture(9)])
        with pytest.raises(ConflictError, match="1 cells of the case A-1 wait to be read"):
            mark_reviewed(session, them.ada, case, case.version)


def test_two_readers_read_blind_and_their_agreement_is_counted(store: Store) -> None:
    """Three of four cells that both read get one class; by chance 3/8 + 1/8 would: kappa 1/2."""
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada, 5)
        cells = list_cells(session, case).rows
        numbers = [cell.id for cell in cells]
        for who in (them.reader, them.ben):
            open_reading(session, who, case)
        decide(session, them.reader, case, numbers[:3], "BLA")
        decide(session, them.reader, case, numbers[3:4], "MYB")
        decide(session, them.ben, case, numbers, "BLA")
        undo(session, them.ben, case)
        decide(session, them.ben, case, numbers[:2], "BLA")
        decide(session, them.ben, case, numbers[2:5], "MYB")
        assert labels(cells) == [""] * 5
        with pytest.raises(DeniedError, match="Ben reads the case A-1 blind; close that reading"):
            compare_readings(session, them.ben, case, them.reader, them.ben)
        close_reading(session, them.ben, case)
        with pytest.raises(ConflictError, match="Rita has not closed a blind reading of the case"):
            compare_readings(session, them.ben, case, them.reader, them.ben)
        close_reading(session, them.reader, case)
        with pytest.raises(ConflictError, match="Rita has closed a blind reading of the case A-1"):
            open_reading(session, them.reader, case)
        found = compare_readings(session, them.ben, case, them.reader, them.ben)
        assert found.same is not None
        assert (found.same.cells, found.same.agreed.value) == (4, 0.75)
        assert found.same.kappa.value == pytest.approx(0.5)
        assert found.names == ("Rita", "Ben")
        assert "Rita: 1 cell not decided on, in no figure" in found.left_out
        first = list_readings(session, case)[0]
        assert labels_in(session, first) == dict.fromkeys(numbers[:3], "BLA") | {numbers[3]: "MYB"}


def test_after_a_blind_reading_a_reviewers_decisions_count(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada)
        cell = list_cells(session, case).rows[0]
        open_reading(session, them.ada, case)
        decide(session, them.ada, case, [cell.id], "BLA")
        assert cell.label == ""
        close_reading(session, them.ada, case)
        with pytest.raises(ConflictError, match="Ada has no open blind reading of the case A-1"):
            close_reading(session, them.ada, case)
        decide(session, them.ada, case, [cell.id], "MYB")
        lock(session, case)
        assert cell.label == "MYB"
