"""Several reviewers at once, as real processes, one of them killed: nothing confirmed is lost."""

import subprocess
import sys
from pathlib import Path

from conftest import PATIENCE_S
from sqlalchemy import select
from store_fixtures import people, read_case

from marrowscope.store.audit import count, verify
from marrowscope.store.cases import find_case, share
from marrowscope.store.database import Store
from marrowscope.store.tables import CellDecision

DECIDER = str(Path(__file__).with_name("reviewer_process.py"))
EACH = 15


def reviewer(database: str, name: str, case: str, decisions: int) -> subprocess.Popen[str]:
    command = [sys.executable, DECIDER, database, name, case, str(decisions)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_what_was_confirmed_is_kept_and_the_log_is_whole(database: str, store: Store) -> None:
    with store.write() as session:
        them = people(session)
        case = read_case(session, them.ada, 4)
        share(session, them.ada, case, them.ben)
        version, lines = case.version, count(session)
    ada, ben, root = (
        reviewer(database, name, case.public_id, number)
        for name, number in (("Ada", EACH), ("Ben", EACH), ("Root", 10**6))
    )
    with ada, ben, root:
        assert root.stdout is not None
        confirmed = [root.stdout.readline().strip() for _ in range(3)]
        root.kill()
        confirmed += root.stdout.read().splitlines()
        for each in (ada, ben):
            said, errors = each.communicate(timeout=PATIENCE_S)
            assert errors == ""
            confirmed += said.splitlines()
    assert len(confirmed) >= 2 * EACH + 3
    with store.read() as session:
        kept = session.scalars(select(CellDecision).order_by(CellDecision.id)).all()
        assert set(confirmed) <= {each.request for each in kept}
        assert len(kept) - len(confirmed) in {0, 1}
        assert verify(session) is None
        assert count(session) == lines + len(kept)
        assert find_case(session, them.ada, case.public_id).version == version + len(kept)
        for cell in {each.cell_id for each in kept}:
            of_cell = [each for each in kept if each.cell_id == cell]
            assert [each.before for each in of_cell] == ["", *(each.after for each in of_cell[:-1])]
