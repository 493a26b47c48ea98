"""The pages of users, of one's own account, and of the audit log."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from marrowscope.store.audit import as_dict, count, entries, verify
from marrowscope.store.kinds import ROLES
from marrowscope.store.tokens import list_tokens
from marrowscope.store.users import list_users
from marrowscope.web.auth import Admin, InRoom, Me
from marrowscope.web.pages_drawn import draw
from marrowscope.web.words import LARGEST, Search

router = APIRouter(include_in_schema=False)
LINES = 200
"""Of the audit log on a page."""


@router.get("/tokens")
def tokens_page() -> Response:
    """Lead to one's own tokens, which stand on the page of the account."""
    return RedirectResponse("/account#tokens", 303)


@router.get("/account")
def account_page(request: Request, caller: Me, room: InRoom) -> Response:
    """Show one's own account: the password, and tokens for programs."""
    with room.store.read() as session:
        tokens = list_tokens(session, caller.user)
    return draw(request, "account.html.j2", caller, tokens=tokens)


@router.get("/users")
def users_page(request: Request, caller: Admin, room: InRoom) -> Response:
    """Show all users to an administrator."""
    with room.store.read() as session:
        users = list_users(session)
    return draw(request, "users.html.j2", caller, users=users, roles=ROLES)


@router.get("/audit")
def audit_page(  # noqa: PLR0917 - as the framework fills them in
    request: Request,
    caller: Admin,
    room: InRoom,
    case: Search = "",
    after: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
    check: bool = False,
) -> Response:
    """Show the audit log to an administrator, the latest lines if no place is named."""
    with room.store.read() as session:
        broken = verify(session) if check else None
        total = count(session, case)
        start = max(0, total - LINES) if after is None and not case else after or 0
        found = entries(session, case, start)
        lines = [as_dict(entry) for entry, _ in zip(found, range(LINES + 1), strict=False)]
    return draw(
        request,
        "audit.html.j2",
        caller,
        lines=lines[:LINES],
        more=len(lines) > LINES,
        total=total,
        start=start,
        earlier=max(0, start - LINES) if start else None,
        case=case,
        checked=check,
        broken=broken,
    )
