"""Who asks: a browser by its cookie, or a program by its token; and what keeps others out."""

import hmac
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request, Response
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from marrowscope.errors import DeniedError, SignInError
from marrowscope.store.credentials import (
    LASTS,
    OpenedLogin,
    close_login,
    find_login,
    find_token,
    is_due,
    open_login,
    touch,
)
from marrowscope.store.enums import Role
from marrowscope.store.tables import User
from marrowscope.store.users import check_password, check_role
from marrowscope.web.state import Room, room_of

COOKIE, SECURE_COOKIE = "marrowscope", "__Host-marrowscope"
CSRF = "X-CSRF-Token"
SAFE = {"GET", "HEAD", "OPTIONS"}
BEARER = HTTPBearer(auto_error=False, description="A token, made at /tokens.")


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    user: User
    csrf: str = ""
    """For the scripts and forms of a browser; empty for a program."""


def caller_of(request: Request) -> Caller | None:
    """Give who asks; None if nobody is logged in."""
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    room = room_of(request)
    if kind.lower() == "bearer":
        return _by_token(room, secret.strip())
    cookie = request.cookies.get(cookie_name(room))
    return _by_cookie(room, cookie) if cookie else None


def _by_token(room: Room, secret: str) -> Caller | None:
    with room.store.read() as session:
        token = find_token(session, secret)
        if token is None:
            return None
        caller, due, number = Caller(token.user), is_due(token), token.id
    if due:
        with room.store.write() as session:
            touch(session, number)
    return caller


def _by_cookie(room: Room, secret: str) -> Caller | None:
    with room.store.read() as session:
        login = find_login(session, secret)
        return Caller(login.user, login.csrf) if login else None


def cookie_name(room: Room) -> str:
    """Name the cookie; over HTTPS, by a name that no other host of the domain can set."""
    return SECURE_COOKIE if room.settings.secure else COOKIE


def signed_in(
    request: Request,
    _token: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)] = None,
) -> Caller:
    """Give who asks, for a route that needs a login.

    Raises:
        SignInError: nobody is logged in, or the token is wrong.
        DeniedError: a browser wants to change something and does not send its CSRF token.
    """
    caller = caller_of(request)
    if caller is None:
        raise SignInError("log in, or send a token as: Authorization: Bearer marrow_...")
    if caller.csrf and request.method not in SAFE:
        check_origin(request)
        sent = request.headers.get(CSRF, "")
        if not hmac.compare_digest(sent.encode(), caller.csrf.encode()):
            raise DeniedError(f"the header {CSRF} is missing or old; load the page again")
    return caller


def administrator(caller: Annotated[Caller, Depends(signed_in)]) -> Caller:
    """Give who asks, for a route that needs an administrator.

    Raises:
        DeniedError: it is no administrator.
    """
    check_role(caller.user, Role.ADMIN, "this")
    return caller


Me = Annotated[Caller, Depends(signed_in)]
Admin = Annotated[Caller, Depends(administrator)]
InRoom = Annotated[Room, Depends(room_of)]


def check_origin(request: Request) -> None:
    """Check that a browser sends this from a page of ours.

    Raises:
        DeniedError: it comes from elsewhere.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    origin = request.headers.get("origin")
    if site not in {"same-origin", "none"} or (
        origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    ):
        raise DeniedError("this request comes from a page of another site")


def log_in(request: Request, response: Response, name: str, password: str) -> Caller:
    """Check a password, log the browser in and set its cookie.

    Raises:
        TooOftenError: there were too many failures.
        DeniedError: the name or the password is wrong, or a page of another site asks.
    """
    check_origin(request)
    room, address = room_of(request), _address(request)
    try:
        with room.hashing:
            room.attempts.check(name, address)
            user, opened = _open(room, name, password)
    except DeniedError:
        room.attempts.failed(name, address)
        room.meters.logins.labels("refused").inc()
        raise
    room.attempts.succeeded(name)
    room.meters.logins.labels("accepted").inc()
    set_cookie(room, response, opened)
    return Caller(user, opened.csrf)


def _open(room: Room, name: str, password: str) -> tuple[User, OpenedLogin]:
    """Check a password while nobody waits to write; again, if its hash is to be renewed."""
    with room.store.read() as session:
        user = check_password(session, name, password)
        renewed = bool(session.dirty)
    with room.store.write() as session:
        if renewed:
            check_password(session, name, password)
        return user, open_login(session, user)


def set_cookie(room: Room, response: Response, opened: OpenedLogin) -> None:
    """Give a browser its login."""
    response.set_cookie(
        cookie_name(room),
        opened.secret,
        max_age=round(LASTS.total_seconds()),
        httponly=True,
        secure=room.settings.secure,
        samesite="lax",
        path="/",
    )


def log_out(request: Request, response: Response) -> None:
    """End the login of a browser."""
    room = room_of(request)
    with room.store.write() as session:
        close_login(session, request.cookies.get(cookie_name(room), ""))
    response.delete_cookie(
        cookie_name(room), path="/", secure=room.settings.secure, httponly=True, samesite="lax"
    )


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
