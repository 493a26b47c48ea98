"""What an agreement leaves behind: agree.json and a page with the intervals."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marrowscope import __version__
from marrowscope.cases.agreement import Agreement
from marrowscope.files.results import without_nan, write_json, write_text
from marrowscope.pages import render
from marrowscope.statistics.axis import axis_for

DATA, PAGE = "agree.json", "agree.html"


def write_agreement(agreement: Agreement, folder: Path) -> None:
    """Write the figures as JSON and as a page; the folder must be there."""
    write_json(folder / DATA, agreement_as_dict(agreement))
    axis = axis_for(_ends(agreement))
    page = render("agree.html.j2", agreement=agreement, axis=axis, version=__version__)
    write_text(folder / PAGE, page)


def agreement_as_dict(agreement: Agreement) -> dict[str, Any]:
    """Give an agreement as plain values; what is not known is None."""
    values = without_nan(asdict(agreement))
    use = "research use only; figures, not a diagnosis"
    return {"marrowscope": __version__, **values, "use": use}


def _ends(agreement: Agreement) -> Iterator[float]:
    for row in agreement.rows:
        yield from (
            limit for limit in (row.difference.low, row.difference.high) if not math.isnan(limit)
        )
