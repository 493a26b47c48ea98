"""The parts of the report on a case that are words and small tables."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from marrowscope import __version__
from marrowscope.cases.classify_case import Reading
from marrowscope.differential.accumulator import Fate
from marrowscope.differential.error_correction import AdjustedShare
from marrowscope.differential.sample_size import chances_of, in_doubt, reviews_until_clear
from marrowscope.differential.summary import HAEMODILUTION, SAMPLING, SCHEME
from marrowscope.differential.thresholds import BLASTS
from marrowscope.taxonomy import CLASSES

SHOWN_ROWS = 40
NOT_STATED = "not stated"
UNKNOWN = "not known, as the cells were read before it was kept"


@dataclass(frozen=True)
class Part:
    """A part of the report in sentences and, where it has a header, a table."""

    heading: str
    lines: tuple[str, ...]
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def parts_of(reading: Reading) -> tuple[Part, ...]:
    """Give what stands below the differential, in its order.

    Raises:
        BundleError: the bundle's test cells cannot be read.
    """
    return (
        *_settle(reading),
        _adjusted(reading),
        _excluded(reading),
        _reviewers(reading),
        _slides(reading),
        *_fields(reading),
        _model(reading),
        MIND,
    )


def _settle(reading: Reading) -> Iterator[Part]:
    """Say how many more cells, or reviews, would settle the thresholds that are open."""
    lines = [
        f"{finding.name}: {more.in_words}"
        for finding in reading.differential.findings
        for more in finding.more
    ]
    lines += _reviews(reading)
    if lines:
        yield Part("To settle the open thresholds", tuple(lines))


def _reviews(reading: Reading) -> Iterator[str]:
    """Say how many reviews would settle each blast threshold that the model's doubt leaves open."""
    classes = reading.bundle.classes
    cells = [
        cell
        for cell in reading.cells
        if cell.fate in {Fate.COUNTED, Fate.TO_REVIEW} and CLASSES[cell.reading.label].counted
    ]
    weights = reading.weights
    if not cells or not set(BLASTS.codes) <= set(classes) or weights is None:
        return
    done = {cell.machine.path: cell.decision.label for cell in cells if cell.decision}
    machine = (cell.machine for cell in cells)
    chances = list(chances_of(machine, classes, BLASTS.codes, done, weights).values())
    share = in_doubt(chances, len(cells))
    if not share.cells:
        return
    yield (
        f"By the chance of each cell to be a blast: {share.percent:.1f}% ({share.low:.1f} to "
        f"{share.high:.1f} with the model's doubt)."
    )
    for percent in sorted(
        {threshold.percent for scheme in BLASTS.schemes for threshold in scheme.thresholds}
    ):
        if share.low < percent <= share.high:
            yield reviews_until_clear(chances, len(cells), percent).in_words


def _adjusted(reading: Reading) -> Part:
    heading = "Adjusted for the model's errors"
    if reading.adjusted is None:
        return Part(heading, ("A person reviewed every cell: there is nothing to adjust.",))
    notes = reading.adjusted.notes
    if reading.decided and reading.adjusted.shares:
        notes = ("From the machine's readings alone, as they were before the review.", *notes)
    rows = tuple(_adjusted_row(share) for share in reading.adjusted.shares if not share.note)
    lines = (*(share.note for share in reading.adjusted.shares if share.note), *notes)
    return Part(
        heading,
        lines,
        ("", "Adjusted", "95% interval", "Method") if rows else (),
        tuple((*row, reading.adjusted.method) for row in rows),
    )


def _adjusted_row(share: AdjustedShare) -> tuple[str, ...]:
    return (share.name, f"{share.percent:.1f}%", f"{share.low:.1f} to {share.high:.1f}%")


def _excluded(reading: Reading) -> Part:
    rows = [(f"{row.name} ({row.code})", row.cells) for row in reading.differential.excluded]
    rows += [
        ("Unlike the cells the model knows", len(reading.with_fate(Fate.UNLIKE))),
        ("The model abstains: to review", len(reading.with_fate(Fate.TO_REVIEW))),
        ("Files that could not be used", len(reading.rejects)),
    ]
    there = tuple((reason, f"{cells:,}") for reason, cells in rows if cells)
    if not there:
        return Part("Not counted, and why", ("Every cell was counted.",))
    return Part("Not counted, and why", tuple(_rejects(reading)), ("Reason", "Cells"), there)


def _rejects(reading: Reading) -> Iterator[str]:
    for reject in reading.rejects[:SHOWN_ROWS]:
        yield f"Slide {reject.slide}, {reject.reject.path}: {reject.reject.reason}"
    more = len(reading.rejects) - SHOWN_ROWS
    if more > 0:
        yield f"{more:,} more are in cells.csv."


def _reviewers(reading: Reading) -> Part:
    heading = "Reviewed by"
    lines = tuple(_about_decisions(reading))
    decided = [(cell, cell.decision) for cell in reading.cells if cell.decision]
    if not decided:
        return Part(heading, ("No person has reviewed a cell.", *lines))
    rows = []
    for name in sorted({decision.reviewer for _, decision in decided}):
        of_name = [(cell, review) for cell, review in decided if review.reviewer == name]
        changed = sum(cell.machine.label != review.label for cell, review in of_name)
        times = [review.time for _, review in of_name]
        rows.append(
            (
                name,
                f"{len(of_name):,}",
                f"{changed:,}",
                f"{min(times):%Y-%m-%d %H:%M}",
                f"{max(times):%Y-%m-%d %H:%M}",
            )
        )
    header = ("Reviewer", "Cells", "Class changed", "First", "Last")
    return Part(heading, (*_changes(reading), *lines), header, tuple(rows))


def _changes(reading: Reading) -> Iterator[str]:
    changed = Counter(
        (cell.machine.label, cell.decision.label)
        for cell in reading.cells
        if cell.decision and cell.machine.label != cell.decision.label
    )
    if changed:
        words = ", ".join(f"{old} to {new} {n:,}" for (old, new), n in changed.most_common())
        yield f"Changed from the machine's class: {words}."


def _about_decisions(reading: Reading) -> Iterator[str]:
    decisions = reading.decisions
    for earlier in decisions.overruled[:SHOWN_ROWS]:
        yield (
            f"Decided again later: {earlier.path}, before {earlier.label} by {earlier.reviewer} "
            f"({earlier.time:%Y-%m-%d %H:%M})."
        )
    if len(decisions.overruled) > SHOWN_ROWS:
        yield f"Decided again later: {len(decisions.overruled):,} times in all."
    if reading.strays:
        named = ", ".join(stray.path for stray in reading.strays[:SHOWN_ROWS])
        yield f"On pictures that are not in the case, not used: {len(reading.strays):,} ({named})."


def _slides(reading: Reading) -> Part:
    return Part(
        "Slides",
        (),
        ("Slide", "Stain", "µm per pixel", "Cells", "Counted", "Blasts"),
        tuple(_slide_rows(reading)),
    )


def _fields(reading: Reading) -> Iterator[Part]:
    """Say what became of the fields of slides that have fields."""
    if reading.fields:
        lines = (
            f"Slide {name}: {line}"
            for name, fields in reading.fields.items()
            for line in fields.in_words
        )
        yield Part("Whole fields", tuple(lines))


def _slide_rows(reading: Reading) -> Iterable[tuple[str, ...]]:
    for slide in reading.case.slides:
        cells = [cell for cell in reading.cells if cell.slide == slide.name]
        counted = [cell for cell in cells if cell.fate is Fate.COUNTED]
        blasts = sum(cell.reading.label == "BLA" for cell in counted)
        yield (
            slide.name,
            slide.stain or NOT_STATED,
            f"{slide.um_per_px:g}" if slide.um_per_px else NOT_STATED,
            f"{len(cells):,}",
            f"{len(counted):,}",
            f"{blasts:,} ({100 * blasts / len(counted):.1f}%)" if counted else f"{blasts:,}",
        )


def _model(reading: Reading) -> Part:
    bundle = reading.bundle
    made = (
        f"Model {bundle.name} ({bundle.precision}), run by {reading.engine}; marrowscope "
        f"{__version__}. SHA-256 of the bundle {bundle.sha256 or UNKNOWN}, of the model "
        f"{bundle.model_sha256}."
    )
    lines = [made, bundle.evaluation_in_words, f"It knows {', '.join(bundle.classes)}."]
    if reading.review:
        coverage = f"{reading.review.coverage:g}"
        lines.append(f"A cell counts where one class is left at coverage {coverage}.")
    return Part("Model", tuple(lines))


MIND = Part(
    "To bear in mind",
    (
        "Research use only: figures for a person to judge, not a diagnosis.",
        SAMPLING,
        HAEMODILUTION,
        SCHEME,
    ),
)
