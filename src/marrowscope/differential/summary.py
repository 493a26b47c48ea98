"""The figures that a reader of a differential looks for first, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from marrowscope.differential.abstentions import Review
from marrowscope.differential.accumulator import Tally
from marrowscope.differential.count import Differential, DifferentialRow, LineageRow
from marrowscope.differential.error_correction import Adjusted, AdjustedShare
from marrowscope.differential.me_ratio import Ratio
from marrowscope.differential.thresholds import Finding, thresholds_in_words
from marrowscope.model.bundle import Bundle
from marrowscope.model.novelty import novel_in_words
from marrowscope.taxonomy import CLASSES


@dataclass(frozen=True)
class Key:
    """A figure that a reader looks for first."""

    name: str
    value: str
    interval: str
    """The 95% interval in words; empty where there is none."""
    lines: tuple[str, ...]
    """What it is of, and what it means."""
    beside: str = ""
    """The adjusted figure, to be shown beside it; empty where there is none."""
    alert: str = ""
    """What it leaves open; empty for nothing."""


def keys_of(differential: Differential, adjusted: Adjusted | None) -> tuple[Key, ...]:
    """Give blasts, plasma cells and the M:E ratio."""
    shares = {share.name: share for share in adjusted.shares} if adjusted else {}
    findings = (_of_finding(finding, shares.get(finding.name)) for finding in differential.findings)
    return (*findings, _of_ratio(differential.ratio))


def _of_finding(finding: Finding, adjusted: AdjustedShare | None) -> Key:
    if not finding.known:
        why = _as_sentence(finding.in_words.removeprefix(f"{finding.name}: "))
        return Key(finding.name, "not known", "", (why,))
    noun = "1 cell" if finding.cells == 1 else f"{finding.cells:,} cells"
    return Key(
        name=finding.name,
        value=f"{finding.percent:.1f}%",
        interval=f"95% interval {finding.low:.1f} to {finding.high:.1f}%",
        lines=(f"{noun} ({', '.join(finding.codes)})", *finding.bands),
        beside=_beside(adjusted),
        alert=f"The interval straddles {thresholds_in_words(finding.straddled)}."
        if finding.straddled
        else "",
    )


def _as_sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"


def _beside(adjusted: AdjustedShare | None) -> str:
    if adjusted is None or adjusted.percent is None:
        return ""
    interval = f"{adjusted.low:.1f} to {adjusted.high:.1f}"
    return f"Adjusted for the model's errors: {adjusted.percent:.1f}% ({interval}), model-dependent"


def _of_ratio(ratio: Ratio) -> Key:
    formula = f"M:E = {ratio.formula}"
    if ratio.value is None or ratio.low is None:
        return Key("M:E ratio", "not computable", "", (_as_sentence(ratio.note), formula))
    high = "no upper limit" if ratio.high is None else f"{ratio.high:.1f}"
    usual = f"usual {ratio.reference[0]:g} to {ratio.reference[1]:g}" if ratio.reference else ""
    cells = f"{ratio.myeloid:,} myeloid, {ratio.erythroid:,} erythroid cells"
    return Key(
        name="M:E ratio",
        value=f"{ratio.value:.1f}",
        interval=f"95% interval {ratio.low:.1f} to {high}",
        lines=tuple(filter(None, (cells, usual, formula))),
    )


def sums_of(differential: Differential) -> tuple[LineageRow, ...]:
    """Give the sums that say more than the row of a class."""
    ranges: dict[tuple[str, ...], object] = {
        (row.code,): row.reference for row in differential.rows
    }
    return tuple(
        row for row in differential.lineages if ranges.get(row.codes, row) != row.reference
    )


def scale_of(rows: Sequence[DifferentialRow | LineageRow]) -> float:
    """Give the percentage, 10..100, at which bars end: limits of what has cells and ranges fit."""
    limits = [row.high for row in rows if row.cells]
    limits += [row.reference[1] for row in rows if row.reference]
    return max(10.0, min(100.0, max(limits, default=100.0)))


SCHEME = (
    "Blasts (BLA) are myeloblasts, lymphoblasts and monoblasts together; the scheme has no "
    "promonocyte, mast cell or megakaryocyte."
)
HAEMODILUTION = "Haemodilution changes the picture and cannot be seen from single cells."
SAMPLING = (
    "Percent of the nucleated cells of the differential. The interval is exact binomial: it covers "
    "the drawing of cells, not the errors of the model."
)


def caveats(
    bundle: Bundle, differential: Differential, tally: Tally, review: Review | None
) -> tuple[str, ...]:
    """Say what limits this differential: too few cells, cells set aside, classes not covered."""
    return (
        *differential.notes,
        *_of_cells(bundle, tally, review),
        *_of_model(bundle),
    )


def _of_cells(bundle: Bundle, tally: Tally, review: Review | None) -> Iterator[str]:
    if novel := novel_in_words(bundle.novelty, tally.novel, counted=tally.keep_novel):
        yield novel
    if review and review.cells:
        yield (
            f"{review.in_words}. They are not in the percentages. A class that is hard to tell "
            "loses more cells than others, so the percentages shift until a person has added them."
        )
    if review and review.note:
        yield review.note


def _of_model(bundle: Bundle) -> Iterator[str]:
    left_out = [CLASSES[code] for code in bundle.left_out if code in CLASSES]
    if left_out:
        named = ", ".join(f"{kind.name.lower()}s ({kind.code})" for kind in left_out)
        yield (
            f"This model does not cover {named}. Such a cell is "
            f"{'mostly ' if bundle.novelty else ''}taken for one of the classes below: look "
            "through the pictures."
        )
    if scarce := bundle.scarce_in_reference:
        yield (
            f"Learnt from few or no cells of {bundle.reference}: {', '.join(scarce)}. In cells "
            "like those such a class may be missed."
        )
    alone = bundle.learnt_from_one_source
    if not set(scarce).issuperset(chain.from_iterable(alone.values())):
        named = "; ".join(f"{', '.join(codes)} ({source})" for source, codes in alone.items())
        yield (
            f"Learnt from one source alone: {named}. In cells of another source such a class may "
            "be missed."
        )
