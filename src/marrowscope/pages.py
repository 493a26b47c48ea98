"""Fill the page templates that ship with the package."""

import base64
import io
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

from marrowscope.files.results import whole_file

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


def render_to(file: Path, template: str, **values: Any) -> None:
    """Fill one template into a file piece by piece; what it goes through may be an iterator.

    The file changes as a whole or not at all.
    """
    with whole_file(file) as partial, partial.open("w", encoding="utf-8") as text:
        text.writelines(_ENVIRONMENT.get_template(template).generate(**values))


def thumbnail(image: Image.Image, pixels: int) -> str:
    """Give a small JPEG of a picture, at most `pixels` a side, as base64 text."""
    small = image.copy()
    small.thumbnail((pixels, pixels), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode()
