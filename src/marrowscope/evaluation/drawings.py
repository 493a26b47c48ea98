"""The picture of an evaluation that stands alone: the confusion matrix."""

from pathlib import Path

from marrowscope.files.results import write_text
from marrowscope.model.bundle import Bundle
from marrowscope.pages import render
from marrowscope.statistics.figures import SetResult


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
