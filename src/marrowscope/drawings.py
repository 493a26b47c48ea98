"""Pictures of an evaluation: confusion matrix, reliability, errors at each coverage."""

import math
from pathlib import Path

from marrowscope.bundle import Bundle
from marrowscope.figures import SetResult
from marrowscope.pages import render

SIDE = 320
"""Of a plot, in pixels."""
STEP = 0.05
"""The axis of errors ends at a multiple of it."""


def draw(result: SetResult, bundle: Bundle, folder: Path) -> None:
    """Write `confusion_<set>.svg`, `reliability_<set>.svg` and `risk_coverage_<set>.svg`."""
    title = f"{bundle.name} on {result.cells} cells: {result.name}"
    drawn = {
        "confusion": _confusion(result, bundle, title),
        "reliability": render(
            "reliability.svg.j2", trust=result.trust, cells=result.cells, title=title, side=SIDE
        ),
        "risk_coverage": _risk_coverage(result, title),
    }
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in result.name)
    for kind, picture in drawn.items():
        (folder / f"{kind}_{name}.svg").write_text(picture, encoding="utf-8")


def _confusion(result: SetResult, bundle: Bundle, title: str) -> str:
    return render(
        "confusion.svg.j2",
        codes=bundle.classes,
        matrix=result.confusion,
        title=title,
        caption=f"accuracy {result.accuracy.value:.3f}",
    )


def _risk_coverage(result: SetResult, title: str) -> str:
    trust = result.trust
    risks = [risk for _, risk in trust.risk_coverage]
    limits = [each.high for each in (trust.error_full, trust.error_at_80)]
    known = [each for each in (*risks, *limits) if not math.isnan(each)]
    return render(
        "risk_coverage.svg.j2",
        trust=trust,
        title=title,
        side=SIDE,
        highest=STEP * math.ceil(max(STEP, *known) / STEP),
    )
