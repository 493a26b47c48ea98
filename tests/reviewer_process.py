"""A reviewer for tests, as a process: decides on one cell after the other and says what is kept."""

import sys

from marrowscope.store.cases import find_case
from marrowscope.store.cells import list_cells
from marrowscope.store.database import Store, open_store
from marrowscope.store.decisions import decide
from marrowscope.store.users import user_called
from marrowscope.taxonomy import CLASSES


def review(store: Store, name: str, public_id: str, decisions: int) -> None:
    """Decide on the cells of a case in turn, each in a transaction of its own."""
    with store.read() as session:
        who = user_called(session, name)
        case = find_case(session, who, public_id)
        cells = [cell.id for cell in list_cells(session, case).rows]
    for number in range(decisions):
        request, label = f"{name} {number}", list(CLASSES)[number % len(CLASSES)]
        with store.write() as session:
            who, case = user_called(session, name), find_case(session, who, public_id)
            decide(session, who, case, [cells[number % len(cells)]], label, request=request)
        print(request, flush=True)


if __name__ == "__main__":
    review(open_store(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
