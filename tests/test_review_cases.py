"""Cases and cells in the store: who sees them, what is kept of them, what goes when they go."""

from dataclasses import replace

import pytest
from sqlalchemy import text
from store_fixtures import BUNDLE, people, picture, read_case, reading

from marrowscope.errors import ConflictError, DeniedError, FrozenError, NotThereError, StoreError
from marrowscope.inference.predictor import Outcome
from marrowscope.store.audit import count, verify
from marrowscope.store.case_model import check_model, name_model
from marrowscope.store.cases import (
    Facts,
    archive,
    case_facts,
    change_facts,
    delete_case,
    find_case,
    list_cases,
    list_members,
    make_case,
    restore,
    share,
    unshare,
)
from marrowscope.store.cells import (
    Added,
    NewCell,
    Order,
    Wanted,
    add_cells,
    case_progress,
    counted_prediction,
    find_cell,
    keep_readings,
    list_cells,
    waiting,
)
from marrowscope.store.database import Store
from marrowscope.store.decisions import decide
from marrowscope.store.enums import CaseState, CellState
from marrowscope.types import Reject


def test_nobody_sees_anothers_case(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = make_case(session, them.ada, Facts("A-1"))
        assert find_case(session, them.ada, case.public_id) is case
        assert find_case(session, them.admin, case.public_id) is case
        for other in (them.ben, them.reader):
            with pytest.raises(NotThereError) as raised:
                find_case(session, other, case.public_id)
            words = str(raised.value)
            with pytest.raises(NotThereError) as raised:
                find_case(session, other, "f" * 16)
            assert words.replace(case.public_id, "f" * 16) == str(raised.value)
            assert list_cases(session, other).total == 0
        share(session, them.ada, case, them.reader)
        assert find_case(session, them.reader, case.public_id) is case
        assert list_members(session, case) == [them.reader]
        unshare(session, them.ada, case, them.reader)
        assert list_cases(session, them.reader).total == 0
        with pytest.raises(DeniedError, match="Rita is a reader; making a case needs a reviewer"):
            make_case(session, them.reader, Facts("R-1"))


def test_cases_are_searched_and_paged(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        for number in range(7):
            make_case(session, ada, Facts(f"Marrow {number}", material="100%_aspirate"))
        make_case(session, ada, Facts("Other", stain="Giemsa"))
        page = list_cases(session, ada, "marROW", offset=2, limit=3)
        assert page.total == 7
        assert [case.title for case in page.rows] == ["Marrow 4", "Marrow 3", "Marrow 2"]
        assert list_cases(session, ada, "giemsa").total == 1
        assert list_cases(session, ada, "0%_asp").total == 7
        assert list_cases(session, ada, "0_%").total == 0
        assert list_cases(session, ada, "'; DROP TABLE cases; --").total == 0
        assert list_cases(session, ada, state=CaseState.SIGNED).total == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"title": "  "}, "the title of the case is empty; give one"),
        ({"stain": "a\nb"}, "the stain must be one line of at most 120 characters"),
        ({"date": "2.3.2026"}, "the date of the sample is a day such as 2026-03-02, got '2.3"),
        ({"um_per_px": 0.0}, "the side of a pixel is 0.001 to 10 micrometres, got 0"),
    ],
)
def test_facts_that_are_none_are_refused(store: Store, change: dict[str, str], words: str) -> None:
    with store.write() as session:
        ada = people(session).ada
        with pytest.raises(StoreError, match=words):
            make_case(session, ada, replace(Facts("A-1"), **change))  # type: ignore[arg-type]
        assert list_cases(session, ada).total == 0


def test_facts_are_kept_as_they_were_typed(store: Store) -> None:
    hostile = Facts(
        "<script>alert(1)</script>", "2026-03-02", "'; DROP TABLE cases; --", "é骨", 0.1
    )
    with store.write() as session:
        ada = people(session).ada
        case = make_case(session, ada, Facts("A-1"))
        change_facts(session, ada, case, hostile)
        assert case.version == 2
    with store.read() as session:
        assert case_facts(find_case(session, ada, case.public_id)) == hostile
        assert verify(session) is None


def test_a_picture_is_in_a_case_once(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        case = make_case(session, ada, Facts("A-1"))
        first = [picture(0), picture(1), replace(picture(0), file="copy.png")]
        assert add_cells(session, ada, case, "1", first) == Added(2, 1)
        assert add_cells(session, ada, case, "2", [picture(1), picture(2)]) == Added(1, 1)
        rows = list_cells(session, case).rows
        assert [(cell.slide.name, cell.file) for cell in rows] == [
            ("1", "0.png"),
            ("1", "1.png"),
            ("2", "2.png"),
        ]
        with pytest.raises(StoreError, match="the name of the file must be one line of at most 25"):
            add_cells(session, ada, case, "1", [NewCell("a\x00b", "f" * 64, 1, 1)])


def test_what_the_model_read_is_kept_and_comes_back(store: Store) -> None:
    assert BUNDLE.novelty is not None
    strange = BUNDLE.novelty.threshold + 1
    with store.write() as session:
        ada = people(session).ada
        case = make_case(session, ada, Facts("A-1"))
        add_cells(session, ada, case, "1", list(map(picture, range(3))))
        name_model(session, case, BUNDLE)
        first, second, third = waiting(session, case)
        read: dict[int, Outcome] = {
            first.id: reading(0, strange),
            second.id: Reject("b", "no picture"),
        }
        assert keep_readings(session, case, BUNDLE, read) == 2
        assert keep_readings(session, case, BUNDLE, {first.id: reading(7)}) == 0
        assert [cell.id for cell in waiting(session, case)] == [third.id]
    with store.read() as session:
        cells = list_cells(session, case).rows
        assert counted_prediction(cells[0]) == replace(reading(0, strange), path=str(cells[0].id))
        assert (cells[0].novel, cells[1].reason) == (True, "no picture")
        assert cells[0].margin == pytest.approx(0.5 - 0.5 / (len(BUNDLE.classes) - 1))
        found = case_progress(session, case)
        assert (found.waiting, found.read, found.rejected, found.decided) == (1, 1, 1, 0)
        with pytest.raises(StoreError, match=f"cell {third.id} is waiting; only a cell that was"):
            counted_prediction(cells[2])


def test_one_bundle_reads_all_of_a_case(store: Store) -> None:
    with store.write() as session:
        case = read_case(session, people(session).ada)
        known = BUNDLE.sha256, BUNDLE.model_sha256
        assert (case.bundle_sha256, case.model_sha256) == known
        for other, words in (
            (
                replace(BUNDLE, model_sha256="0" * 64, sha256="1" * 64),
                r"has other weights \(0{12}\)",
            ),
            (replace(BUNDLE, sha256="1" * 64), r"\(1{12}\), has the same weights, but something"),
        ):
            with pytest.raises(StoreError, match=words):
                name_model(session, case, other)
            with pytest.raises(StoreError, match=words):
                check_model(case, other)
        assert (case.bundle_sha256, case.model_sha256) == known


def test_of_a_case_that_was_read_before_only_the_weights_are_known(store: Store) -> None:
    with store.write() as session:
        case = read_case(session, people(session).ada)
        case.bundle_sha256 = ""
        name_model(session, case, replace(BUNDLE, sha256="1" * 64))
        assert case.bundle_sha256 == ""
        with pytest.raises(StoreError, match="has other weights"):
            check_model(case, replace(BUNDLE, model_sha256="0" * 64))


def test_cells_are_listed_by_doubt_and_class(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada, 5)
        rows = list_cells(session, case).rows
        assert [cell.machine for cell in rows] == list(BUNDLE.classes[:5])
        decide(session, them.ada, case, [rows[0].id], rows[4].machine)
        doubtful = list_cells(session, case, order=Order.DOUBTFUL).rows
        assert [cell.id for cell in doubtful] == [rows[place].id for place in (1, 2, 3, 4, 0)]
        same = list_cells(session, case, Wanted(label=rows[4].machine), Order.CLASS)
        assert [cell.id for cell in same.rows] == [rows[4].id, rows[0].id]
        assert list_cells(session, case, Wanted(decided=True)).total == 1
        assert list_cells(session, case, Wanted(decided=False, novel=False)).total == 4
        assert list_cells(session, case, Wanted(state=CellState.WAITING)).total == 0
        assert list_cells(session, case, Wanted(slide="2")).total == 0
        assert [cell.counts_as for cell in rows].count(rows[4].machine) == 2


def test_a_cell_is_found_in_its_own_case_alone(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        one, other = read_case(session, ada), read_case(session, ada, title="A-2")
        cell = list_cells(session, one).rows[0]
        assert find_cell(session, one, cell.id) is cell
        with pytest.raises(NotThereError, match=f"the case A-2 has no cell {cell.id}"):
            find_cell(session, other, cell.id)
        with pytest.raises(NotThereError, match=f"the case A-2 has no cell {cell.id}"):
            decide(session, ada, other, [cell.id], "BLA")


def test_an_archived_case_is_put_away_and_comes_back(store: Store) -> None:
    with store.write() as session:
        ada = people(session).ada
        case = read_case(session, ada)
        archive(session, ada, case)
        assert list_cases(session, ada).total == 0
        assert list_cases(session, ada, archived=True).rows == [case]
        with pytest.raises(FrozenError, match="the case A-1 is archived; restore it to change it"):
            add_cells(session, ada, case, "1", [picture(9)])
        restore(session, ada, case)
        assert add_cells(session, ada, case, "1", [picture(9)]).new == 1


def test_a_deleted_case_leaves_its_lines_in_the_log_alone(store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case, kept = read_case(session, them.ada), read_case(session, them.ada, title="A-2")
        cell = list_cells(session, case).rows[0]
        decide(session, them.ada, case, [cell.id], "BLA")
        share(session, them.ada, case, them.ben)
        with pytest.raises(DeniedError, match="Ben is a reviewer; deleting this case needs an adm"):
            delete_case(session, them.ben, case, "A-1")
        with pytest.raises(ConflictError, match="to delete the case, confirm it by its title"):
            delete_case(session, them.ada, case, "yes")
        lines = count(session, case.public_id)
        delete_case(session, them.ada, case, "A-1")
    with store.read() as session:
        assert list_cases(session, them.ada).total == 1
        assert count(session, case.public_id) == lines + 1
        assert verify(session) is None
        for table in ("cells", "decisions", "members", "slides"):
            rows = session.execute(text(f"SELECT case_id FROM {table}")).all()  # noqa: S608
            assert {row[0] for row in rows} <= {kept.id}
