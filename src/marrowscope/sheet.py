"""All that the report on a case says, in words and numbers, for the page and the PDF alike."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from marrowscope import __version__
from marrowscope.caveats import HAEMODILUTION, SAMPLING, SCHEME, caveats
from marrowscope.differential import Differential
from marrowscope.keys import Key, keys_of, scale_of
from marrowscope.more_cells import review_first
from marrowscope.pictures import Group, Picture, groups_of, pictures_of
from marrowscope.reading import Reading
from marrowscope.records import Prediction
from marrowscope.tally import Fate

DECIDING = ("BLA", "PLM", "FGC", "LYI")
"""Classes of which single cells matter."""
SHOWN = 24
"""Of the least certain cells, and of those that may be blasts."""
SHOWN_REJECTS = 40
PERHAPS = 0.05
"""Chance from which on a cell that counts as another class may be a blast."""
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Shown:
    """Cells with one heading."""

    heading: str
    short: str
    """The heading in a word or two."""
    anchor: str
    note: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Part:
    """A part of the report in sentences and, where it has a header, a table."""

    heading: str
    lines: tuple[str, ...]
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Sheet:
    """The report on a case before it is laid out."""

    reading: Reading
    title: str
    status: str
    """Who read the cells."""
    facts: tuple[tuple[str, str], ...]
    keys: tuple[Key, ...]
    caveats: tuple[str, ...]
    scale: float
    """Percentage at the end of the bars."""
    deciding: tuple[Shown, ...]
    """The cells that decide."""
    gallery: tuple[Shown, ...]
    """The other cells, by class and by what became of them."""
    parts: tuple[Part, ...]
    version: str = __version__

    @property
    def differential(self) -> Differential:
        """The counts."""
        return self.reading.differential


def sheet_of(reading: Reading) -> Sheet:
    """Lay down what the report on a case says; pictures are read and made small."""
    counted = reading.differential
    groups = {group.code: group for group in groups_of(reading.tally.gallery, reading.bundle)}
    return Sheet(
        reading=reading,
        title=f"Bone marrow differential of {reading.case.id}",
        status=_status(reading),
        facts=_facts(reading),
        keys=(*keys_of(counted), _of_size(reading)),
        caveats=caveats(reading.bundle, counted, reading.tally, reading.review),
        scale=scale_of(counted),
        deciding=tuple(_deciding(reading, groups)),
        gallery=tuple(_gallery(reading, groups)),
        parts=(_excluded(reading), _reviewers(reading), _slides(reading), _model(reading), _mind()),
    )


def _status(reading: Reading) -> str:
    people = sorted({cell.decision.reviewer for cell in reading.decided if cell.decision})
    cells = len(reading.cells)
    if not people:
        return f"Read by machine; none of the {cells:,} cells was reviewed by a person."
    return (
        f"Read by machine; {len(reading.decided):,} of the {cells:,} cells were reviewed by "
        f"{', '.join(people)}."
    )


def _facts(reading: Reading) -> tuple[tuple[str, str], ...]:
    case = reading.case
    slides = ", ".join(slide.name for slide in case.slides)
    stains = dict.fromkeys(slide.stain for slide in case.slides if slide.stain)
    return (
        ("Case", case.id),
        ("Date", case.date or NOT_STATED),
        ("Material", case.material or NOT_STATED),
        ("Stain", ", ".join(stains) or NOT_STATED),
        ("Slides", slides),
    )


def _of_size(reading: Reading) -> Key:
    counted = reading.differential.counted
    read = f"of {len(reading.cells):,} cells read on {len(reading.case.slides)} slides"
    if len(reading.case.slides) == 1:
        read = read.removesuffix("s")
    return Key("Cells counted", f"{counted:,}", "", (read,))


def _deciding(reading: Reading, groups: dict[str, Group]) -> Iterator[Shown]:
    for code in DECIDING:
        if code in groups:
            yield _of_group(groups[code])
    perhaps = _perhaps_blasts(reading)
    if perhaps:
        yield Shown(
            f"Perhaps blasts: counted as another class ({len(perhaps)})",
            "Perhaps blasts",
            "perhaps",
            "The most doubtful first: reviewing these shrinks the doubt about the blasts fastest.",
            tuple(pictures_of(perhaps, reading.bundle)),
        )
    open_cells = (cell.machine for cell in reading.cells if not cell.decision)
    least = sorted(open_cells, key=lambda each: each.probability)[:SHOWN]
    if least:
        yield Shown(
            f"The {len(least)} least certain cells",
            "Least certain",
            "least-certain",
            "Of all cells that no person has reviewed, whatever became of them.",
            tuple(pictures_of(least, reading.bundle)),
        )


def _perhaps_blasts(reading: Reading) -> list[Prediction]:
    if "BLA" not in reading.bundle.classes:
        return []
    others = {
        cell.machine.path: cell.machine
        for cell in reading.with_fate(Fate.COUNTED)
        if not cell.decision and cell.machine.label != "BLA"
    }
    ranked = review_first(others.values(), reading.bundle.classes)
    return [others[each.path] for each in ranked if each.chance >= PERHAPS][:SHOWN]


def _gallery(reading: Reading, groups: dict[str, Group]) -> Iterator[Shown]:
    for code, group in groups.items():
        if code not in DECIDING:
            yield _of_group(group)
    for group in groups_of(reading.tally.to_review, reading.bundle):
        yield _of_group(group, "To review, most probably ", "review-")
    strangers = reading.tally.strangers
    if strangers.cells:
        shown = pictures_of(strangers.strangest(), reading.bundle)
        yield Shown(
            f"Unlike the cells the model knows: {strangers.cells:,}",
            f"Unlike known cells {strangers.cells:,}",
            "unlike",
            _part_of(len(shown), strangers.cells, "strangest"),
            tuple(shown),
        )


def _of_group(group: Group, before: str = "", anchor: str = "") -> Shown:
    name = f"{before}{group.name.lower()}" if before else group.name
    counted = "" if group.counted else ", not counted"
    return Shown(
        f"{name} ({group.code}): {group.cells:,}{counted}",
        f"{'To review ' if before else ''}{group.code} {group.cells:,}",
        f"{anchor}{group.code}",
        _part_of(len(group.pictures), group.cells, "least certain"),
        tuple(group.pictures),
    )


def _part_of(shown: int, cells: int, which: str) -> str:
    return f"The {shown:,} {which} are shown." if shown < cells else ""


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
    for each in reading.rejects[:SHOWN_REJECTS]:
        yield f"Slide {each.slide}, {each.reject.path}: {each.reject.reason}"
    more = len(reading.rejects) - SHOWN_REJECTS
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
        of_name = [(cell, each) for cell, each in decided if each.reviewer == name]
        changed = sum(cell.machine.label != each.label for cell, each in of_name)
        times = [each.time for _, each in of_name]
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
    if decisions.disputed:
        yield (
            f"{decisions.disputed:,} cells were given different classes; the latest decision "
            "counts."
        )
    if reading.strays:
        named = ", ".join(each.path for each in reading.strays[:SHOWN_REJECTS])
        yield f"{len(reading.strays):,} decisions are on pictures that are not in the case: {named}"


def _slides(reading: Reading) -> Part:
    return Part(
        "Slides",
        (),
        ("Slide", "Stain", "µm per pixel", "Cells", "Counted", "Blasts"),
        tuple(_slide_rows(reading)),
    )


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
        f"Model {bundle.name} ({bundle.precision}), SHA-256 {bundle.model_sha256}, run by "
        f"{reading.engine}; marrowscope {__version__}."
    )
    lines = [made, bundle.evaluation_in_words, f"It knows {', '.join(bundle.classes)}."]
    if reading.review:
        coverage = f"{reading.review.coverage:g}"
        lines.append(f"A cell counts where one class is left at coverage {coverage}.")
    return Part("Model", tuple(lines))


def _mind() -> Part:
    return Part(
        "To bear in mind",
        (
            "Research use only: figures for a person to judge, not a diagnosis.",
            SAMPLING,
            HAEMODILUTION,
            SCHEME,
        ),
    )
