"""The pages for people."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

router = APIRouter(include_in_schema=False)


def error_page(request: Request, status: int, title: str, detail: str) -> Response:  # noqa: ARG001
    """Show a problem to a person."""
    return PlainTextResponse(f"{title}: {detail}", status)
