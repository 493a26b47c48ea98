"""The picture of a model card that shows what the model gets wrong: its surest mistakes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from marrowscope.errors import ImageError
from marrowscope.evaluation.mistakes import Mistake, read_mistakes
from marrowscope.io.hashes import file_hash
from marrowscope.io.images import read_image
from marrowscope.io.tables import whole_file, write_text
from marrowscope.locations import Location, within
from marrowscope.metrics.summary import SetResult
from marrowscope.model.bundle import Bundle
from marrowscope.model.metadata import CARD, FAILURES
from marrowscope.rendering import render
from marrowscope.taxonomy import CLASSES, FOURTEEN

OF_A_CLASS = 8
"""Mistakes that are shown of each true class, at most."""
TILE, CAPTION, MARGIN, HEADING = 104, 20, 6, 170
"""Side of a cell, height of the words below it, space around it, width of the words beside it."""
PAPER, INK, SOFT = "#ffffff", "#221c2b", "#655d70"
QUALITY = 80


@dataclass(frozen=True)
class Failures:
    """What the picture shows."""

    wrong: int
    """Test cells that were taken for another class."""
    shown: int
    """Of them."""
    sha256: str
    """Of the picture."""


def write_failures(folder: Path, root: Path, bundle: Bundle) -> Failures | None:
    """Draw the surest mistakes of each true class into the bundle; None without a mistake.

    `folder` holds the predictions of an evaluation, `root` the cells. A cell that cannot be read
    any more is a grey square.

    Raises:
        ComparisonError: the predictions cannot be read.
    """
    mistakes = read_mistakes(folder, bundle.classes)
    of_class = {code: mistakes.of_class(code, OF_A_CLASS) for code in bundle.classes}
    rows = {code: row for code, row in of_class.items() if row}
    if not rows:
        return None
    file = bundle.folder / FAILURES
    with whole_file(file) as partial:
        _sheet(rows, root).save(partial, "JPEG", quality=QUALITY)
    return Failures(mistakes.wrong, sum(map(len, rows.values())), file_hash(file))


def _sheet(rows: dict[str, tuple[Mistake, ...]], root: Path) -> Image.Image:
    """Draw a row for each class: its name, then cells with what they were taken for."""
    wide, high = TILE + MARGIN, TILE + CAPTION + MARGIN
    most = max(map(len, rows.values()))
    sheet = Image.new("RGB", (HEADING + most * wide, len(rows) * high + MARGIN), PAPER)
    for place, (code, row) in enumerate(rows.items()):
        _draw_row(sheet, MARGIN + place * high, code, row, root)
    return sheet


def _draw_row(sheet: Image.Image, top: int, code: str, row: Sequence[Mistake], root: Path) -> None:
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(18), ImageFont.load_default(13)
    pen.text((MARGIN, top + TILE / 2 - 24), code, INK, large)
    pen.text((MARGIN, top + TILE / 2), CLASSES[code].name, SOFT, small)
    for place, mistake in enumerate(row):
        left = HEADING + place * (TILE + MARGIN)
        sheet.paste(_cell(within(root, mistake.path)), (left, top))
        words = f"{mistake.predicted} {100 * mistake.probability:.0f}%"
        pen.text((left, top + TILE + 2), words, INK, small)


def _cell(file: Location) -> Image.Image:
    try:
        return read_image(file).resize((TILE, TILE), Image.Resampling.LANCZOS)
    except ImageError:
        return Image.new("RGB", (TILE, TILE), "#d8d4dd")


def draw(result: SetResult, bundle: Bundle, folder: Path) -> None:
    """Write `confusion_<set>.svg`; what stands in no file name becomes a dash."""
    picture = render(
        "confusion.svg.j2",
        codes=bundle.classes,
        matrix=result.confusion,
        title=f"{bundle.name} on {result.cells} cells: {result.name}",
        caption=f"accuracy {result.accuracy.value:.3f}",
    )
    name = "".join(c if c.isalnum() or c in "-_" else "-" for c in result.name)
    write_text(folder / f"confusion_{name}.svg", picture)


def write_card(bundle: Bundle) -> None:
    """Write `MODEL_CARD.md` from what the bundle says of itself."""
    text = render(
        "model_card.md.j2",
        bundle=bundle,
        classes=[CLASSES[code] for code in bundle.classes],
        left_out_of_fourteen=[
            (CLASSES[code], bundle.left_out.get(code, "not in the data"))
            for code in FOURTEEN
            if code not in bundle.classes
        ],
        others_left_out=[CLASSES[code] for code in bundle.left_out if code not in FOURTEEN],
    )
    write_text(bundle.folder / CARD, text)
