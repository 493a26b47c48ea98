"""The report on a set of classified cells: one self-contained HTML page."""

from pathlib import Path

from marrowscope import __version__
from marrowscope.detection.field_cells import OnFields
from marrowscope.differential.abstentions import Review
from marrowscope.differential.accumulator import Tally
from marrowscope.differential.count import Differential
from marrowscope.differential.error_correction import Adjusted
from marrowscope.differential.summary import (
    HAEMODILUTION,
    SAMPLING,
    SCHEME,
    caveats,
    keys_of,
    scale_of,
    sums_of,
)
from marrowscope.inference.thumbnails import groups_of, pictures_of
from marrowscope.io.tables import write_text
from marrowscope.model.bundle import Bundle
from marrowscope.rendering import render


def write_report(
    file: Path,
    bundle: Bundle,
    differential: Differential,
    tally: Tally,
    *,
    review: Review | None = None,
    adjusted: Adjusted | None = None,
    fields: OnFields | None = None,
) -> None:
    """Write the page: the differential, cells to review, then the cells of each class.

    Of all cells of a kind, the least certain come first; of those unlike the known ones, the
    strangest.

    Raises:
        ImageError: a picture that is shown cannot be read any more.
    """
    text = render(
        "report.html.j2",
        bundle=bundle,
        differential=differential,
        groups=groups_of(tally.gallery, bundle),
        review=review,
        to_review=groups_of(tally.to_review, bundle),
        rejects=tally.first_rejects,
        rejected=tally.rejected,
        fields=fields,
        cells=tally.cells,
        novel=tally.novel,
        set_aside=tally.set_aside,
        keys=keys_of(differential, adjusted),
        caveats=caveats(bundle, differential, tally, review),
        strangers=pictures_of(tally.strangers.strangest(), bundle),
        scale=scale_of(differential.rows),
        sums=sums_of(differential),
        scale_of_sums=scale_of(sums_of(differential)),
        sampling=SAMPLING,
        scheme=SCHEME,
        haemodilution=HAEMODILUTION,
        version=__version__,
    )
    write_text(file, text)
