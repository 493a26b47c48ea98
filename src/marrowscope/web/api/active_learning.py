"""The queue: which cells that nobody looked at would teach the model most."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from marrowscope.store.active_learning import most_worth, waiting_for_a_look
from marrowscope.store.enums import Role
from marrowscope.store.users import check_role
from marrowscope.web.api.cases import PageOut
from marrowscope.web.auth import InRoom, Me

router = APIRouter(tags=["queue"])


class WorthOut(BaseModel):
    """A cell to look at, and what it is worth."""

    case: str
    title: str
    cell: int
    slide: str
    file: str
    label: str
    margin: float
    novel: bool
    worth: float
    """1 less the margin, and 1 more for a cell unlike the known ones: 0 to 2."""


@router.get("/queue")
def queue(
    caller: Me, room: InRoom, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> PageOut[WorthOut]:
    """List the cells to look at first, of the cases that you may see; for reviewers."""
    check_role(caller.user, Role.REVIEWER, "the queue")
    with room.store.read() as session:
        rows = most_worth(session, limit, caller.user)
        listed = [WorthOut.model_validate(row, from_attributes=True) for row in rows]
        return PageOut(total=waiting_for_a_look(session, caller.user), rows=listed)
