"""What `marrowscope classify` prints."""

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from marrowscope import __version__
from marrowscope.commands.differential_output import show_differential
from marrowscope.detection.field_cells import OnFields
from marrowscope.differential.abstentions import Review
from marrowscope.differential.count import Differential
from marrowscope.differential.error_correction import Adjusted
from marrowscope.inference.classify import Classified
from marrowscope.inference.output_folder import DIFFERENTIAL, REPORT
from marrowscope.io.tables import REJECTS
from marrowscope.model.bundle import Bundle
from marrowscope.wording.differential import (
    LABEL,
    class_table,
    excluded,
    key_figures,
    next_step,
    warnings,
)
from marrowscope.wording.numbers import count_noun

SHOWN_REJECTS = 10


def show_classified(result: Classified, bundle: Bundle) -> None:
    """Print the differential in short, what was rejected and where the files are."""
    for line in _lines(result, bundle):
        print(line)
    _show_rejects(result)


def _lines(result: Classified, bundle: Bundle) -> Iterator[str]:
    read = f"{count_noun(result.cells, 'cell')} read", f"{result.rejected:,} rejected"
    yield (
        f"marrowscope {__version__}   bundle {bundle.name} ({result.engine})   {', '.join(read)}"
    )
    yield "Research use only. Not a diagnosis."
    yield ""
    if result.cells:
        yield from class_table(result.differential)
        yield from key_figures(result.differential, result.adjusted)
    labelled = {
        "Excluded": excluded(result.differential, 0 if result.novel_counted else result.novel),
        "Abstained": _abstained(result.review),
        "Fields": _fields(result.fields),
    }
    yield from (f"{label:<{LABEL}}  {words}" for label, words in labelled.items() if words)
    if limits := list(warnings(result.differential, bundle)):
        yield "Warnings"
        yield from (f"  {line}" for line in limits)
    if step := next_step(result.differential):
        yield f"{'Next':<{LABEL}}  {step}"
    yield f"{'Report':<{LABEL}}  {result.folder / REPORT}"


def _abstained(review: Review | None) -> str:
    if review is None:
        return ""
    return f"{count_noun(review.cells, 'cell')} with more than one likely class, not counted"


def _fields(fields: OnFields | None) -> str:
    if fields is None:
        return ""
    cells = f"{count_noun(fields.cells, 'cell')} detected on {count_noun(fields.fields, 'field')}"
    flagged = len(fields.names)
    return f"{cells}; {count_noun(flagged, 'field')} flagged" if flagged else cells


def show_details(result: Classified, bundle: Bundle) -> None:
    """Print all that the report says: sums, sentences, what to review and what figures rest on."""
    console = Console()
    if result.cells:
        show_differential(result.differential, result.work, console)
    _show_adjusted(result.adjusted, result.differential)
    if result.review:
        _show_review(result.review)
    notes = (*result.differential.notes, result.novel_in_words(bundle))
    for note in filter(None, notes):
        console.print(f"[yellow]{escape(note)}[/yellow]")
    console.print(f"[dim]{escape(bundle.evaluation_in_words)}[/dim]")
    for line in result.fields.in_words if result.fields else ():
        print(line)


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
