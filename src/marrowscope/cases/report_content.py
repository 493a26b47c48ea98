"""All that the report on a case says, in words and numbers, for the page and the PDF alike."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from marrowscope import __version__
from marrowscope.cases.classify_case import Reading
from marrowscope.cases.report_sections import NOT_STATED, Part, parts_of
from marrowscope.differential.accumulator import Fate, Gallery
from marrowscope.differential.count import ENOUGH, ENOUGH_TO_DECIDE, Differential, LineageRow
from marrowscope.differential.sample_size import review_first
from marrowscope.differential.summary import Key, caveats, keys_of, scale_of, sums_of
from marrowscope.differential.thresholds import WATCHED
from marrowscope.inference.thumbnails import Group, Picture, groups_of, pictures_of
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Prediction

DECIDING = (
    *(code for watched in WATCHED for code in watched.codes),
    *(code for code, row in CLASSES.items() if row.caveat),
)
"""Classes of which single cells matter: those with thresholds, then those with a caveat."""
SHOWN = 24
"""Of the least certain cells, and of those that may be blasts, at most."""
PERHAPS = 0.05
"""Chance from which on a cell that counts as another class may be a blast."""


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
    sums: tuple[LineageRow, ...]
    """Classes added up."""
    scale_of_sums: float
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
    """Lay down what the report on a case says; pictures are read and made small.

    Raises:
        BundleError: the bundle's test cells cannot be read.
    """
    counted = reading.differential
    groups = {group.code: group for group in _groups(reading.tally.gallery, reading)}
    return Sheet(
        reading=reading,
        title=f"Bone marrow differential of {reading.case.id}",
        status=_status(reading),
        facts=_facts(reading),
        keys=(*keys_of(counted, reading.adjusted), _of_size(reading)),
        caveats=caveats(reading.bundle, counted, reading.tally, reading.review),
        scale=scale_of(counted.rows),
        sums=sums_of(counted),
        scale_of_sums=scale_of(sums_of(counted)),
        deciding=tuple(_deciding(reading, groups)),
        gallery=tuple(_gallery(reading, groups)),
        parts=parts_of(reading),
    )


def _groups(gallery: Gallery, reading: Reading) -> list[Group]:
    return groups_of(gallery, reading.bundle, reading.load)


def _pictures(cells: Iterable[Prediction], reading: Reading) -> list[Picture]:
    return pictures_of(cells, reading.bundle, reading.load)


def _status(reading: Reading) -> str:
    people = sorted({cell.decision.reviewer for cell in reading.decided if cell.decision})
    cells = len(reading.cells)
    if not people:
        return f"Read by machine; none of the {cells:,} cells was reviewed by a person."
    reviewed = len(reading.decided)
    verb = "was" if reviewed == 1 else "were"
    return (
        f"Read by machine; {reviewed:,} of the {cells:,} cells {verb} reviewed by "
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
    slides = len(reading.case.slides)
    read = f"of {len(reading.cells):,} read on {slides} {'slide' if slides == 1 else 'slides'}"
    return Key("Cells counted", f"{counted:,}", "", (read,), alert=_too_few(counted))


def _too_few(counted: int) -> str:
    if not 0 < counted < ENOUGH_TO_DECIDE:
        return ""
    least = "" if counted >= ENOUGH else f"at least {ENOUGH}, and "
    return f"Too few: {least}{ENOUGH_TO_DECIDE} where a percentage decides (ICSH 2008)."


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
            f"Each has a chance of {PERHAPS:.0%} or more of being one, by the model. The most "
            "doubtful first: reviewing these shrinks the doubt about the blasts fastest.",
            tuple(_pictures(perhaps, reading)),
        )
    open_cells = (cell.machine for cell in reading.cells if not cell.decision)
    least = sorted(open_cells, key=lambda each: each.probability)[:SHOWN]
    if least:
        yield Shown(
            f"The {len(least)} least certain cells",
            "Least certain",
            "least-certain",
            "Of all cells that no person has reviewed, whatever became of them.",
            tuple(_pictures(least, reading)),
        )


def _perhaps_blasts(reading: Reading) -> list[Prediction]:
    if "BLA" not in reading.bundle.classes:
        return []
    others = {
        cell.machine.path: cell.machine
        for cell in reading.with_fate(Fate.COUNTED)
        if not cell.decision and cell.machine.label != "BLA"
    }
    ranked = review_first(others.values(), reading.bundle.classes, weights=reading.weights)
    return [others[candidate.path] for candidate in ranked if candidate.chance >= PERHAPS][:SHOWN]


def _gallery(reading: Reading, groups: dict[str, Group]) -> Iterator[Shown]:
    for code, group in groups.items():
        if code not in DECIDING:
            yield _of_group(group)
    for group in _groups(reading.tally.to_review, reading):
        yield _of_group(group, "To review, most probably ", "review-")
    strangers = reading.tally.strangers
    if strangers.cells:
        shown = _pictures(strangers.strangest(), reading)
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
