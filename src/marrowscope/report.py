"""The report on a set of classified cells: one self-contained HTML page."""

from pathlib import Path

from marrowscope import __version__
from marrowscope.bundle import Bundle
from marrowscope.differential import Differential
from marrowscope.labels import CLASSES
from marrowscope.novelty import novel_in_words
from marrowscope.pages import render
from marrowscope.pictures import groups_of, pictures_of
from marrowscope.results import write_text
from marrowscope.review import Review
from marrowscope.tally import Tally


def write_report(
    file: Path,
    bundle: Bundle,
    differential: Differential,
    tally: Tally,
    review: Review | None = None,
) -> None:
    """Write the page: the differential, cells to review, then the cells of each class.

    Of all cells of a kind, the least certain come first.
    """
    widest = max([row.high for row in differential.rows if row.cells], default=100.0)
    text = render(
        "report.html.j2",
        bundle=bundle,
        differential=differential,
        groups=groups_of(tally.gallery, bundle),
        review=review,
        to_review=groups_of(tally.to_review, bundle),
        rejects=tally.first_rejects,
        rejected=tally.rejected,
        cells=tally.cells,
        novel=tally.novel,
        set_aside=tally.set_aside,
        novel_note=novel_in_words(bundle.novelty, tally.novel, counted=tally.keep_novel),
        strangers=pictures_of(tally.strangers.strangest(), bundle),
        scale=max(10.0, min(100.0, widest)),
        left_out=[CLASSES[code] for code in bundle.left_out if code in CLASSES],
        version=__version__,
    )
    write_text(file, text)
