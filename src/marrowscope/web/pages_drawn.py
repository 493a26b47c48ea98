"""Fill the templates of the reading room's pages."""

from datetime import datetime
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from marrowscope.web.auth import Caller


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
