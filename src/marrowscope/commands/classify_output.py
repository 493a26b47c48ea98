"""What `marrowscope classify` prints."""

import sys

from rich.console import Console
from rich.markup import escape

from marrowscope.commands.differential_output import show_differential
from marrowscope.differential.abstentions import Review
from marrowscope.differential.count import Differential
from marrowscope.differential.error_correction import Adjusted
from marrowscope.inference.classify import Classified
from marrowscope.inference.output_folder import DIFFERENTIAL, REPORT
from marrowscope.io.tables import REJECTS
from marrowscope.model.bundle import Bundle

SHOWN_REJECTS = 10


def show_classified(result: Classified, bundle: Bundle) -> None:
    """Print the differential, what was rejected and where the files are."""
    console = Console()
    if result.cells:
        show_differential(result.differential, result.work, console)
    _show_adjusted(result.adjusted, result.differential)
    for row in result.differential.excluded:
        if row.cells:
            console.print(f"not counted: {row.cells:,} {row.name.lower()} ({row.code})")
    if result.review:
        _show_review(result.review)
    notes = (*result.differential.notes, result.novel_in_words(bundle))
    for note in filter(None, notes):
        console.print(f"[yellow]{escape(note)}[/yellow]")
    console.print(f"[dim]{escape(bundle.evaluation_in_words)}[/dim]")
    _show_rejects(result)
    for line in result.fields.in_words if result.fields else ():
        print(line)
    print(f"{result.cells:,} cells read, {result.rejected:,} inputs rejected")
    print(f"Report: {result.folder / REPORT}")


def _show_adjusted(adjusted: Adjusted, differential: Differential) -> None:
    """Print corrected shares beside the plain ones, and what they rest on."""
    plain = {finding.name: finding for finding in differential.findings}
    for share in adjusted.shares:
        counted = "" if share.percent is None else f"; as counted {plain[share.name].percent:.1f}%"
        print(f"{share.in_words}{counted}")
    for note in adjusted.notes:
        print(note)


def _show_review(review: Review) -> None:
    """Print how many cells the model abstains on, by the classes that they may be of."""
    print(f"{review.in_words}{', by what they may be:' if review.cells else ''}")
    for words, cells in review.shown.items():
        print(f"{cells:>7,}  {words}")
    if review.others:
        print(f"{review.others:>7,}  other sets: all are in {DIFFERENTIAL}")
    if review.note:
        print(review.note)


def _show_rejects(result: Classified) -> None:
    for reject in result.first_rejects[:SHOWN_REJECTS]:
        print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
    more = result.rejected - SHOWN_REJECTS
    if more > 0:
        print(f"{more:,} more are in {result.folder / REJECTS}", file=sys.stderr)
