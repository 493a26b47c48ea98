"""Errors as `application/problem+json` (RFC 9457) for programs, and as pages for people."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from marrowscope.errors import (
    BundleError,
    ConflictError,
    DeniedError,
    MarrowscopeError,
    NotReadyError,
    NotThereError,
    SignInError,
    TooLargeError,
    TooOftenError,
    UnavailableError,
)

MEDIA = "application/problem+json"
STATUS: Mapping[type[MarrowscopeError], int] = {
    TooLargeError: 413,
    TooOftenError: 429,
    SignInError: 401,
    NotThereError: 404,
    DeniedError: 403,
    ConflictError: 409,
    NotReadyError: 503,
    UnavailableError: 503,
    BundleError: 409,
    MarrowscopeError: 422,
}
"""The first that an error is an instance of counts."""
BUSY = "the database is busy, out of reach or without room; try again"
CLASH = "somebody else did the same at this moment; look at it again"
DISK = "the server cannot read or write its files ({}); tell who runs it, and try again then"
UNKNOWN = "something went wrong on the server; its log says what"
Page = Callable[[Request, int, str, str], Response]
LOG = logging.getLogger("marrowscope")


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Make an answer of one problem."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return JSONResponse(body | {"detail": detail} | more, status, headers, MEDIA)


@dataclass(frozen=True)
class Told:
    """What is told of an error."""

    status: int
    detail: str
    headers: Mapping[str, str] | None = None
    errors: Sequence[Mapping[str, str]] = ()
    """Values that are wrong, one by one."""


def install(app: FastAPI, page: Page) -> None:
    """Let an application answer with problems; outside `/api/`, with what `page` makes of them."""

    def answer(request: Request, error: Exception) -> Response:
        told = tell(error)
        if told.status >= 500:
            LOG.error("%s %r", request.method, request.url.path, exc_info=error)
        if request.url.path.startswith("/api/"):
            more = {"errors": told.errors} if told.errors else {}
            return problem(told.status, told.detail, told.headers, **more)
        if told.status == 401 and request.method == "GET":
            return RedirectResponse(f"/login?{_next(request)}", 303)
        return page(request, told.status, HTTPStatus(told.status).phrase, told.detail)

    for kind in (*TELLS, Exception):
        app.add_exception_handler(kind, answer)


def tell(error: Exception) -> Told:
    """Say what went wrong: of our own errors all they say, of others no more than is safe."""
    for kind, words in TELLS.items():
        if isinstance(error, kind):
            return words(error)
    return Told(500, UNKNOWN)


def _of_ours(error: MarrowscopeError) -> Told:
    status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
    return Told(status, str(error), _headers(error))


def _of_http(error: HTTPException) -> Told:
    return Told(error.status_code, str(error.detail), error.headers)


def _of_input(error: RequestValidationError) -> Told:
    wrong = [
        {"where": ".".join(map(str, fault["loc"])), "what": str(fault["msg"])}
        for fault in error.errors()
    ]
    return Told(
        422, "; ".join(f"{fault['where']}: {fault['what']}" for fault in wrong), None, wrong
    )


TELLS: Mapping[type[Exception], Callable[[Any], Told]] = {
    MarrowscopeError: _of_ours,
    HTTPException: _of_http,
    RequestValidationError: _of_input,
    ClientDisconnect: lambda _: Told(400, "the request ended before all of it came"),
    IntegrityError: lambda _: Told(409, CLASH),
    DataError: lambda _: Told(422, "a value is nothing that the database can hold"),
    OperationalError: lambda _: Told(503, BUSY, {"Retry-After": "2"}),
    OSError: lambda error: Told(503, DISK.format(error.strerror or "input or output failed")),
}
"""What is told of each kind of error."""


def _headers(error: MarrowscopeError) -> dict[str, str] | None:
    if isinstance(error, TooOftenError):
        return {"Retry-After": str(error.seconds)}
    if isinstance(error, SignInError):
        return {"WWW-Authenticate": "Bearer"}
    return None


def _next(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return urlencode({"next": request.url.path + query})
