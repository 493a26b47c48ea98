"""Errors as `application/problem+json` (RFC 9457) for programs, and as pages for people."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from starlette.exceptions import HTTPException

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
    BundleError: 409,
    MarrowscopeError: 422,
}
"""The first that an error is an instance of counts."""
BUSY = "the database is busy or out of reach; try again"
CLASH = "somebody else did the same at this moment; look at it again"
UNKNOWN = "something went wrong on the server; its log says what"
Page = Callable[[Request, int, str, str], Response]
LOG = logging.getLogger("marrowscope")


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """Make an answer of one problem."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return JSONResponse(body | {"detail": detail} | more, status, headers, MEDIA)


def install(app: FastAPI, page: Page) -> None:
    """Let an application answer with problems; outside `/api/`, with what `page` makes of them."""

    def answer(request: Request, status: int, detail: str, **more: Any) -> Response:
        headers = more.pop("headers", None)
        if request.url.path.startswith("/api/"):
            return problem(status, detail, headers, **more)
        if status == 401 and request.method == "GET":
            return RedirectResponse(f"/login?{_next(request)}", 303)
        return page(request, status, HTTPStatus(status).phrase, detail)

    @app.exception_handler(MarrowscopeError)
    def of_ours(request: Request, error: MarrowscopeError) -> Response:
        status = next(code for kind, code in STATUS.items() if isinstance(error, kind))
        return answer(request, status, str(error), headers=_headers(error))

    @app.exception_handler(HTTPException)
    def of_http(request: Request, error: HTTPException) -> Response:
        return answer(request, error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(RequestValidationError)
    def of_input(request: Request, error: RequestValidationError) -> Response:
        wrong = [
            {"where": ".".join(map(str, each["loc"])), "what": each["msg"]}
            for each in error.errors()
        ]
        words = "; ".join(f"{each['where']}: {each['what']}" for each in wrong)
        return answer(request, 422, words, errors=wrong)

    @app.exception_handler(IntegrityError)
    def of_clash(request: Request, error: IntegrityError) -> Response:
        LOG.info("two at once: %s", error.orig)
        return answer(request, 409, CLASH)

    @app.exception_handler(DataError)
    def of_data(request: Request, error: DataError) -> Response:
        LOG.info("refused by the database: %s", error.orig)
        return answer(request, 422, "a value is nothing that the database can hold")

    @app.exception_handler(OperationalError)
    def of_database(request: Request, error: OperationalError) -> Response:
        LOG.error("the database: %s", error.orig)
        return answer(request, 503, BUSY, headers={"Retry-After": "2"})

    @app.exception_handler(Exception)
    def of_others(request: Request, error: Exception) -> Response:
        LOG.error("%s %s", request.method, request.url.path, exc_info=error)
        return answer(request, 500, UNKNOWN)


def _headers(error: MarrowscopeError) -> dict[str, str] | None:
    if isinstance(error, TooOftenError):
        return {"Retry-After": str(error.seconds)}
    if isinstance(error, SignInError):
        return {"WWW-Authenticate": "Bearer"}
    return None


def _next(request: Request) -> str:
    query = f"?{request.url.query}" if request.url.query else ""
    return urlencode({"next": request.url.path + query})
