"""Fill the page templates that ship with the package."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

_ENVIRONMENT = Environment(
    loader=PackageLoader("marrowscope"),
    autoescape=select_autoescape(enabled_extensions=("html.j2", "svg.j2")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **values: Any) -> str:
    """Fill one template; text is escaped in HTML and SVG, and an unknown name is an error."""
    return _ENVIRONMENT.get_template(template).render(**values)
