"""Log in and out, the first start, links that are used once, and one's own password."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from marrowscope.errors import DeniedError
from marrowscope.store.credentials import open_login
from marrowscope.store.enums import Role
from marrowscope.store.invitations import look_at_link, use_link
from marrowscope.store.users import check_password, set_password
from marrowscope.web.auth import (
    Caller,
    InRoom,
    Me,
    check_origin,
    log_in,
    log_out,
    set_cookie,
)
from marrowscope.web.params import Words

router = APIRouter(tags=["session"])


class Login(BaseModel):
    """A name and its password."""

    name: Words
    password: Words


class Who(BaseModel):
    """Who is logged in."""

    name: str
    role: Role
    csrf: str = Field(description="To be sent as X-CSRF-Token with every change; empty for tokens.")


class LinkSecret(BaseModel):
    """What stands behind the # of a link."""

    secret: Words


class LinkUse(LinkSecret):
    """The password that a link is used to choose."""

    password: Words
    name: Words = Field("", description="Of the first administrator; else it is known.")


class LinkFor(BaseModel):
    """Whom a link is for."""

    first: bool = Field(description="Whether it makes the first administrator.")
    name: str


class NewPassword(BaseModel):
    """A change of your own password."""

    old: Words
    new: Words


def _me(caller: Caller) -> Who:
    return Who(name=caller.user.name, role=caller.user.role, csrf=caller.csrf)


@router.post("/session")
def open_session(request: Request, response: Response, login: Login) -> Who:
    """Log in; the answer sets the cookie."""
    return _me(log_in(request, response, login.name, login.password))


@router.get("/session")
def show_session(caller: Me) -> Who:
    """Tell who is logged in."""
    return _me(caller)


@router.delete("/session", status_code=204)
def close_session(request: Request, caller: Me, response: Response) -> None:  # noqa: ARG001
    """Log out."""
    log_out(request, response)


@router.post("/links/look")
def look(room: InRoom, link: LinkSecret) -> LinkFor:
    """Tell whom a link is for, without using it."""
    with room.store.read() as session:
        user = look_at_link(session, link.secret)
    return LinkFor(first=user is None, name=user.name if user else "")


@router.post("/links/use")
def use(request: Request, response: Response, room: InRoom, link: LinkUse) -> Who:
    """Choose a password with a link, and log in; the first link makes the administrator."""
    check_origin(request)
    with room.hashing, room.store.write() as session:
        user = use_link(session, link.secret, link.password, link.name)
        session.flush()
        opened = open_login(session, user)
    set_cookie(room, response, opened)
    return _me(Caller(user, opened.csrf))


@router.put("/session/password")
def change_password(response: Response, caller: Me, room: InRoom, change: NewPassword) -> Who:
    """Change your password; all your other browsers are logged out, and your tokens stay."""
    room.attempts.check(caller.user.name, "")
    try:
        with room.hashing, room.store.write() as session:
            user = check_password(session, caller.user.name, change.old)
            set_password(session, user, change.new, user.name)
            opened = open_login(session, user) if caller.csrf else None
    except DeniedError:
        room.attempts.failed(caller.user.name, "")
        raise
    if opened:
        set_cookie(room, response, opened)
    return _me(Caller(user, opened.csrf if opened else ""))
