"""The pages for people: log in, cases, the review of a case, and its whole fields."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from marrowscope.store.audit import as_dict, count, entries, verify
from marrowscope.store.cases import PAGE, find_case, list_cases
from marrowscope.store.cells import progress_by_case
from marrowscope.store.credentials import list_tokens
from marrowscope.store.enums import ROLES, CaseState, Role, at_least
from marrowscope.store.users import list_users
from marrowscope.web.api.schemas import case_full, case_out
from marrowscope.web.auth import Admin, Caller, InRoom, Me, caller_of
from marrowscope.web.params import LARGEST, CaseId, Offset, Search
from marrowscope.web.shortcuts import keyed
from marrowscope.web.state import Room, room_of


def _moment(at: datetime | None) -> str:
    """Write a moment for people: `2026-03-02 14:05 UTC`; a dash for none."""
    return f"{at:%Y-%m-%d %H:%M} UTC" if at else "-"


_ENVIRONMENT = Environment(
    loader=PackageLoader("marrowscope.web"),
    autoescape=select_autoescape(enabled_extensions=("html.j2",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["moment"] = _moment


def draw(
    request: Request, template: str, caller: Caller | None, status: int = 200, **values: Any
) -> Response:
    """Fill one template for who asks; text is escaped, and an unknown name is an error."""
    page = _ENVIRONMENT.get_template(template)
    here = request.url.path
    return HTMLResponse(page.render(caller=caller, here=here, **values), status)


REPORTS = (
    ("report.pdf", "PDF"),
    ("report.html", "Page"),
    ("differential.csv", "Differential, CSV"),
    ("differential.json", "Differential, JSON"),
    ("fhir.json", "FHIR bundle"),
)
"""Files of a report that the page of a case offers, and what it calls them."""
router = APIRouter(include_in_schema=False)


@router.get("/")
def home() -> Response:
    """Lead to the cases."""
    return RedirectResponse("/cases", 303)


@router.get("/login")
def login_page(request: Request) -> Response:
    """Ask for a name and a password."""
    return draw(request, "login.html.j2", None)


@router.get("/welcome")
def welcome_page(request: Request) -> Response:
    """Let a person choose a password with a link; its secret stands behind the # and stays here."""
    return draw(request, "link.html.j2", None)


@router.get("/cases")
def cases_page(
    request: Request,
    caller: Me,
    room: InRoom,
    search: Search = "",
    state: Annotated[str, Query(pattern="^(|draft|reviewed|signed)$")] = "",
    archived: bool = False,
    offset: Offset = 0,
) -> Response:
    """List cases, and take new ones in."""
    wanted = CaseState(state) if state else None
    with room.store.read() as session:
        page = list_cases(
            session, caller.user, search, wanted, archived=archived, offset=offset, limit=PAGE
        )
        progress = progress_by_case(session, page.rows)
        rows = [case_out(case, progress[case.id]) for case in page.rows]

    def address(start: int) -> str:
        asked = {"search": search, "state": state, "archived": archived, "offset": start}
        return "/cases?" + urlencode({name: value for name, value in asked.items() if value})

    return draw(
        request,
        "cases.html.j2",
        caller,
        rows=rows,
        total=page.total,
        offset=offset,
        before=address(max(0, offset - PAGE)) if offset else "",
        after=address(offset + PAGE) if offset + PAGE < page.total else "",
        search=search,
        state=state,
        archived=archived,
        scale=bool(room.bundle.preprocessing.field_um),
        may_add=at_least(caller.user.role, Role.REVIEWER),
    )


@router.get("/cases/{case_id}")
def case_page(request: Request, caller: Me, room: InRoom, case_id: CaseId) -> Response:
    """Show a case for review; its cells are fetched by the page's script."""
    return _case_page("case.html.j2", request, caller, room, case_id)


@router.get("/cases/{case_id}/fields")
def fields_page(request: Request, caller: Me, room: InRoom, case_id: CaseId) -> Response:
    """Show the whole fields of a case with the boxes of their cells."""
    return _case_page("fields.html.j2", request, caller, room, case_id)


def _case_page(
    template: str, request: Request, caller: Caller, room: Room, case_id: str
) -> Response:
    with room.store.read() as session:
        case = case_full(session, find_case(session, caller.user, case_id), caller.user)
    covered = frozenset(case.classes or room.bundle.classes)
    return draw(
        request,
        template,
        caller,
        case=case,
        classes=[asdict(row) for row in keyed(covered)],
        reports=REPORTS,
        may_review=at_least(caller.user.role, Role.REVIEWER),
    )


def error_page(request: Request, status: int, title: str, detail: str) -> Response:
    """Show a problem to a person."""
    caller = caller_of(request) if status < 500 else None
    home = "/cases" if room_of(request) and caller else "/login"
    return draw(
        request, "error.html.j2", caller, status, code=status, title=title, detail=detail, home=home
    )


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
def audit_page(
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
        rows = entries(session, case, start)
        lines = [as_dict(entry) for entry, _ in zip(rows, range(LINES + 1), strict=False)]
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
