"""Fill the page templates that ship with the package."""

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

from marrowscope.io.tables import whole_file

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


ENDS = (1, 2, 5, 10, 15, 20, 30, 40, 50, 75, 100)
"""Points at which an axis may end, on both sides of 0."""


@dataclass(frozen=True)
class Axis:
    """An axis from -limit to limit points."""

    limit: int

    def x(self, points: float) -> str:
        """Place a difference: `0%` is the left end, `50%` no difference; what is off is at an end.

        On an axis of 10 points, 5 points lie at `75.00%`.
        """
        inside = max(-self.limit, min(self.limit, points))
        return f"{50 + 50 * inside / self.limit:.2f}%"


def axis_for(points: Iterable[float]) -> Axis:
    """Give the shortest axis that holds these differences, at most 100 points a side."""
    widest = max((abs(point) for point in points), default=0.0)
    return Axis(next((end for end in ENDS if end >= widest - 1e-9), ENDS[-1]))
