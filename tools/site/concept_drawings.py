"""Draw the figures of the pages on concepts: python tools/site/concept_drawings.py."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from marrowscope.metrics.classification import exact_interval

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/concepts"
BUNDLE = ROOT / "src/marrowscope/bundles/default/bundle.json"
COUNTS = (100, 200, 500, 1000, 2000)
"""Nucleated cells; 6% of them are blasts."""
INK, SOFT, LINE, STAIN, AMBER = "#221c2b", "#655d70", "#e4dfea", "#6b3fa0", "#b06a00"


def drawings() -> dict[str, str]:
    """Give each figure by the name of its file."""
    evaluation = json.loads(BUNDLE.read_text(encoding="utf-8"))["evaluation"]
    trust = evaluation["sets"]["all"]["trust"]
    return {"differential.svg": _intervals(), "calibration.svg": _reliability(trust)}


def _intervals() -> str:
    """Draw how the limits of 6% close in on it as more cells are counted."""
    parts = [_title("6% blasts, counted on more and more cells")]
    for percent in (5, 10):
        x = _at(percent)
        parts += [
            f'<line x1="{x}" x2="{x}" y1="44" y2="252" stroke="{AMBER}" stroke-dasharray="4 4"/>',
            _text(x, 270, f"{percent}%", colour=AMBER, anchor="middle"),
        ]
    for row, cells in enumerate(COUNTS):
        parts += _interval(68 + 40 * row, cells)
    parts.append(_text(20, 296, "share of the nucleated cells, with exact 95% limits", colour=SOFT))
    return _drawing(620, 310, parts)


def _interval(y: int, cells: int) -> Iterable[str]:
    blasts = round(cells * 0.06)
    limits = exact_interval(blasts, cells)
    low, high = 100 * limits.low, 100 * limits.high
    words = f"{low:.1f} to {high:.1f}"
    line = f'y1="{y}" y2="{y}" stroke="{STAIN}" stroke-width="4" stroke-linecap="round"'
    return (
        _text(20, y + 5, f"{blasts} of {cells:,}"),
        f'<line x1="{_at(low)}" x2="{_at(high)}" {line}/>',
        f'<circle cx="{_at(6)}" cy="{y}" r="6" fill="{STAIN}"/>',
        _text(600, y + 5, words, colour=SOFT, anchor="end"),
    )


def _at(percent: float) -> float:
    """Give the place of a percentage on the axis, in pixels: 0 at 120, 14 at 512."""
    return round(120 + 28 * percent, 1)


def _reliability(trust: Mapping[str, Any]) -> str:
    """Draw the share of right cells against the confidence, before and after calibration."""
    grid = [
        f'<path d="M60 {370 - 64 * step}h320M{60 + 64 * step} 50v320" stroke="{LINE}"/>'
        + _text(52, 375 - 64 * step, f"{20 * step}%", colour=SOFT, anchor="end")
        + _text(60 + 64 * step, 390, f"{20 * step}%", colour=SOFT, anchor="middle")
        for step in range(6)
    ]
    parts = [
        _title("How sure the model is, and how often it is right"),
        *grid,
        f'<path d="M60 370L380 50" stroke="{SOFT}" stroke-dasharray="4 4"/>',
        *_dots(trust["reliability_before"], AMBER, hollow=True),
        *_dots(trust["reliability"], STAIN, hollow=False),
        _text(60, 412, "confidence; right cells upwards", colour=SOFT),
        *_legend(400, 120, AMBER, f"before: {trust['ece_before']:.3f}", hollow=True),
        *_legend(400, 150, STAIN, f"after: {trust['ece']:.3f}", hollow=False),
        _text(400, 90, "mean distance (ECE)", colour=SOFT),
    ]
    return _drawing(560, 430, parts)


def _dots(bins: Sequence[Mapping[str, float]], colour: str, *, hollow: bool) -> Iterable[str]:
    for bin_ in bins:
        x, y = 60 + 320 * bin_["confidence"], 370 - 320 * bin_["accuracy"]
        yield _dot(x, y, 2 + 0.6 * bin_["cells"] ** 0.5, colour, hollow=hollow)


def _legend(x: int, y: int, colour: str, words: str, *, hollow: bool) -> Iterable[str]:
    return _dot(x + 8, y - 5, 7, colour, hollow=hollow), _text(x + 26, y, words)


def _dot(x: float, y: float, radius: float, colour: str, *, hollow: bool) -> str:
    look = "none" if hollow else colour
    drawn = f'fill="{look}" fill-opacity=".75" stroke="{colour}" stroke-width="1.5"'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" {drawn}/>'


def _title(words: str) -> str:
    return f'<text x="20" y="26" font-size="16" font-weight="600" fill="{INK}">{words}</text>'


def _text(x: float, y: float, words: str, colour: str = INK, anchor: str = "start") -> str:
    look = f'font-size="14" fill="{colour}" text-anchor="{anchor}"'
    return f'<text x="{x}" y="{y}" {look}>{words}</text>'


def _drawing(width: int, height: int, parts: Iterable[str]) -> str:
    """Put parts on a white ground, as a page behind them may be dark."""
    space = f'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
    head = f'<svg {space} font-family="system-ui, sans-serif">'
    return "\n".join(
        [head, '<rect width="100%" height="100%" rx="8" fill="#fff"/>', *parts, "</svg>\n"]
    )


if __name__ == "__main__":
    for name, drawing in drawings().items():
        (FOLDER / name).write_text(drawing, encoding="utf-8")
