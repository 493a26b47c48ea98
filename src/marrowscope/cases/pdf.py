"""The report on a case as a PDF to sign: two pages of figures and words, then the pictures."""

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import reportlab
from reportlab.graphics.shapes import Drawing, Line, Rect
from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import registerFont, registerFontFamily
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    PageBreak,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from marrowscope.cases.report_content import Sheet, Shown
from marrowscope.cases.report_sections import Part
from marrowscope.differential.count import DifferentialRow, LineageRow
from marrowscope.differential.summary import Key
from marrowscope.inference.thumbnails import Picture
from marrowscope.io.tables import whole_file

MARGIN, FOOT = 14 * mm, 16 * mm
WIDTH = A4[0] - 2 * MARGIN
PER_CLASS = 21
"""Pictures of each kind, three lines of them; the page has more."""
PER_LINE = 7
INK, SOFT, LINE = HexColor("#221c2b"), HexColor("#655d70"), HexColor("#d9d3e0")
STAIN, USUAL = HexColor("#6b3fa0"), HexColor("#e3d8f2")
WARN, WARN_GROUND = HexColor("#6d4a00"), HexColor("#fff6e0")
PLAIN, BOLD = "Vera", "Vera-Bold"
"""Come with the library and are embedded, so that the file looks the same everywhere."""
SIGN = ("Name", "Date", "Signature")


def _style(name: str, size: float, **values: Any) -> ParagraphStyle:
    values = {"fontName": PLAIN, "textColor": INK, "leading": 1.3 * size} | values
    return ParagraphStyle(name, fontSize=size, **values)


TITLE = _style("title", 14, fontName=BOLD, spaceBefore=10, spaceAfter=2, keepWithNext=1)
HEADING = _style("heading", 10, fontName=BOLD, spaceBefore=9, spaceAfter=3, keepWithNext=1)
TEXT = _style("text", 8, spaceAfter=1.5)
SMALL = _style("small", 6.6, textColor=SOFT)
NAME = _style("name", 8, fontName=BOLD, textColor=SOFT)
FIRST = _style("first", 25, fontName=BOLD)
VALUE = _style("value", 15, fontName=BOLD)
INTERVAL = _style("interval", 8, fontName=BOLD, spaceAfter=2)
ALERT = _style("alert", 7, fontName=BOLD, textColor=WARN, backColor=WARN_GROUND, borderPadding=2)
NOTE = _style("note", 7, textColor=WARN, spaceAfter=1.5)
BESIDE = _style("beside", 7, spaceAfter=2)
CAPTION = _style("caption", 6)


class _Pages(Canvas):  # type: ignore[misc]
    """Writes the foot of every page once it is known how many there are."""

    foot = ""

    def __init__(self, *arguments: Any, **values: Any) -> None:
        super().__init__(*arguments, **values)
        self._kept: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - the library's name
        """Keep the page."""
        self._kept.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        """Write all pages."""
        for number, page in enumerate(self._kept, 1):
            self.__dict__.update(page)
            self.setFont(PLAIN, 6.5)
            self.setFillColor(SOFT)
            self.drawString(MARGIN, 9 * mm, self.foot)
            self.drawRightString(A4[0] - MARGIN, 9 * mm, f"Page {number} of {len(self._kept)}")
            super().showPage()
        super().save()


def write_pdf(sheet: Sheet, file: Path) -> None:
    """Write `report.pdf`, A4; the same report makes the same file, byte for byte."""
    _load_fonts()
    foot = f"{sheet.title} · marrowscope {sheet.version} · research use only, not a diagnosis"
    pages = type("_PagesOfCase", (_Pages,), {"foot": _shown(foot)})
    with whole_file(file) as partial:
        document = BaseDocTemplate(
            str(partial), pagesize=A4, title=_shown(sheet.title), invariant=1
        )
        frame = Frame(MARGIN, FOOT, WIDTH, A4[1] - MARGIN - FOOT, 0, 0, 0, 0)
        document.addPageTemplates(PageTemplate("page", [frame]))
        document.build(list(_story(sheet)), canvasmaker=pages)


def _load_fonts() -> None:
    folder = Path(reportlab.__file__).parent / "fonts"
    for name, font in ((PLAIN, "Vera.ttf"), (BOLD, "VeraBd.ttf")):
        registerFont(TTFont(name, folder / font))
    registerFontFamily(PLAIN, normal=PLAIN, bold=BOLD, italic=PLAIN, boldItalic=BOLD)


def _story(sheet: Sheet) -> Iterator[Flowable]:
    yield Paragraph(_text(sheet.title), TITLE)
    yield Paragraph(_text(f"{sheet.status} Research use only: figures, not a diagnosis."), SMALL)
    yield Spacer(1, 4)
    yield _keys(sheet.keys)
    yield Spacer(1, 4)
    yield _facts(sheet.facts)
    yield Spacer(1, 4)
    if sheet.differential.counted:
        yield _differential(sheet)
        yield Paragraph(_text(_legend(sheet)), SMALL)
    yield Spacer(1, 4)
    for line in sheet.caveats:
        yield Paragraph(_text(line), NOTE)
    for part in sheet.parts:
        yield from _part(part)
    yield _sign()
    if sheet.deciding or sheet.gallery:
        yield PageBreak()
    for heading, shown in (("Cells that decide", sheet.deciding), ("Other cells", sheet.gallery)):
        for number, block in enumerate(shown):
            if not number:
                yield Paragraph(heading, TITLE)
            yield from _cells(block)


def _text(words: str) -> str:
    """Prepare words for a paragraph."""
    return escape(_shown(words))


def _shown(words: str) -> str:
    """Replace what the font has no picture of by a question mark."""
    glyphs = _glyphs()
    return "".join(word if ord(word) in glyphs else "?" for word in words)


def _glyphs() -> Any:
    from reportlab.pdfbase.pdfmetrics import getFont

    return getFont(PLAIN).face.charToGlyph


def _legend(sheet: Sheet) -> str:
    return (
        "Light: usual range. Dark: counted, with its 95% interval; bars end at "
        f"{sheet.scale:.0f}%, those of the sums below the line at {sheet.scale_of_sums:.0f}%. "
        f"{sheet.differential.reference_note} Above or below stands where the whole interval is."
    )


def _keys(keys: Sequence[Key]) -> Table:
    shares = (1.3, 1.0, 1.15, 0.7)
    widths = [WIDTH * share / sum(shares[: len(keys)]) for share in shares[: len(keys)]]
    cells = [list(_key(key, FIRST if not number else VALUE)) for number, key in enumerate(keys)]
    look: list[Any] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("BOX", (0, 0), (-1, -1), 0.6, LINE),
        ("INNERGRID", (0, 0), (-1, -1), 0.6, LINE),
        ("BOX", (0, 0), (0, 0), 1.4, STAIN),
    ]
    return Table([cells], widths, style=look)


def _key(key: Key, value: ParagraphStyle) -> Iterator[Flowable]:
    yield Paragraph(_text(key.name), NAME)
    yield Paragraph(_text(key.value), VALUE if len(key.value) > 7 else value)
    if key.interval:
        yield Paragraph(_text(key.interval), INTERVAL)
    if key.beside:
        yield Paragraph(_text(key.beside), BESIDE)
    for line in key.lines:
        yield Paragraph(_text(line), SMALL)
    if key.alert:
        yield Spacer(1, 3)
        yield Paragraph(_text(key.alert), ALERT)


def _facts(facts: Iterable[tuple[str, str]]) -> Table:
    cells = [
        [Paragraph(_text(name), SMALL), Paragraph(_text(value), TEXT)] for name, value in facts
    ]
    look = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, -1), 0)]
    return Table([cells], [WIDTH / len(cells)] * len(cells), style=look)


def _differential(sheet: Sheet) -> Table:
    header = ("", "Class", "Cells", "%", "95% interval", "Usual", "")
    counted = [_row(row, row.code, row.name, sheet.scale) for row in sheet.differential.rows]
    sums = [_row(row, "", _of_sum(row), sheet.scale_of_sums) for row in sheet.sums]
    first_sum = 1 + len(counted)
    look: list[Any] = [
        ("FONT", (0, 0), (-1, -1), PLAIN, 7.6),
        ("FONT", (0, 0), (-1, 0), PLAIN, 6.6),
        ("TEXTCOLOR", (0, 0), (-1, 0), SOFT),
        ("FONT", (0, 1), (0, -1), BOLD, 7.6),
        ("FONT", (3, 1), (3, -1), BOLD, 7.6),
        ("ALIGN", (2, 0), (5, -1), "RIGHT"),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE),
        ("TOPPADDING", (0, 0), (-1, -1), 1.1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1.6),
        ("LEFTPADDING", (0, 0), (0, -1), 0),
    ]
    if sums:
        look.append(("LINEABOVE", (0, first_sum), (-1, first_sum), 0.9, INK))
    widths = [part * mm for part in (11, 44, 13, 13, 27, 26)]
    rows = [header, *counted, *sums]
    return Table(rows, [*widths, WIDTH - sum(widths)], style=look, repeatRows=1)


def _of_sum(row: LineageRow) -> str:
    return row.lineage.replace("+", " + ") if "+" in row.lineage else row.lineage.capitalize()


def _row(row: DifferentialRow | LineageRow, code: str, name: str, scale: float) -> list[Any]:
    usual = f"{row.reference[0]:g} to {row.reference[1]:g}" if row.reference else ""
    off = f" {row.standing}" if row.standing in {"above", "below"} else ""
    return [
        *(code, name, f"{row.cells:,}", f"{row.percent:.1f}"),
        *(f"{row.low:.1f} to {row.high:.1f}", usual + off),
        _bar(row, scale),
    ]


def _bar(row: DifferentialRow | LineageRow, scale: float) -> Drawing:
    width, height = 44 * mm, 8.0
    drawing = Drawing(width, height)

    def place(percent: float) -> float:
        return float(width * min(percent / scale, 1.0))

    if row.reference:
        low, high = map(place, row.reference)
        drawing.add(Rect(low, 0, high - low, height, fillColor=USUAL, strokeColor=None))
    drawing.add(Rect(0, 2, place(row.percent), 4, fillColor=STAIN, strokeColor=None))
    low, high = place(row.low), place(row.high)
    for line in ((low, 4, high, 4), (low, 2, low, 6), (high, 2, high, 6)):
        drawing.add(Line(*line, strokeColor=INK, strokeWidth=0.7))
    return drawing


def _part(part: Part) -> Iterator[Flowable]:
    yield Paragraph(_text(part.heading), HEADING)
    if part.header:
        rows = [part.header, *part.rows]
        cells = [[Paragraph(_text(value), TEXT) for value in row] for row in rows]
        look: list[Any] = [
            ("LINEBELOW", (0, 0), (-1, -1), 0.3, LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ]
        look += [("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5)]
        look.append(("LEFTPADDING", (0, 0), (0, -1), 0))
        yield Table(cells, _widths(rows), style=look, repeatRows=1)
    for line in part.lines:
        yield Paragraph(_text(line), TEXT)


def _widths(rows: Sequence[Sequence[str]]) -> list[float]:
    """Share the width out by the longest text of each column."""
    longest = [min(40, max(8, *map(len, column))) for column in zip(*rows, strict=True)]
    return [WIDTH * length / sum(longest) for length in longest]


def _sign() -> KeepTogether:
    widths = [0.4 * WIDTH, 0.2 * WIDTH, 0.4 * WIDTH]
    look: list[Any] = [("TOPPADDING", (0, 0), (-1, -1), 34), ("FONT", (0, 0), (-1, -1), PLAIN, 7)]
    look += [("LINEABOVE", (0, 1), (-1, 1), 0.6, INK), ("TOPPADDING", (0, 1), (-1, 1), 2)]
    lines = Table([["", "", ""], list(SIGN)], widths, style=look)
    return KeepTogether([Paragraph("Reviewed and released by", HEADING), lines])


def _cells(shown: Shown) -> Iterator[Flowable]:
    pictures = shown.pictures[:PER_CLASS]
    note = shown.note
    if len(pictures) < len(shown.pictures):
        note = f"{len(pictures)} of them; report.html has more. {note}"
    yield Paragraph(_text(shown.heading), HEADING)
    if note:
        yield Paragraph(_text(note), _style("of cells", 6.6, textColor=SOFT, keepWithNext=1))
    lines = [pictures[at : at + PER_LINE] for at in range(0, len(pictures), PER_LINE)]
    cells = [[_cell(cell) for cell in line] + [""] * (PER_LINE - len(line)) for line in lines]
    look: list[Any] = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (-1, -1), 0)]
    look += [("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 2)]
    yield Table(cells, [WIDTH / PER_LINE] * PER_LINE, style=look)


def _cell(picture: Picture) -> list[Flowable]:
    side = WIDTH / PER_LINE - 5 * mm
    image = Image(io.BytesIO(base64.b64decode(picture.data)), side, side, hAlign="LEFT")
    return [image, Paragraph(_caption(picture), CAPTION)]


def _caption(picture: Picture) -> str:
    if not picture.reviewer:
        second = picture.runner_up
        return f"<b>{picture.label} {picture.percent:.0f}%</b> {second}"
    machine = "" if picture.machine == picture.label else f"<br/>machine: {picture.machine}"
    return f"<b>{picture.label}</b> {_text(picture.reviewer)}{machine}"
