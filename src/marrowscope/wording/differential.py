"""A differential in a few lines of plain text, for the terminal."""

from collections.abc import Iterator

from marrowscope.differential.count import (
    ENOUGH,
    ENOUGH_TO_DECIDE,
    Differential,
    DifferentialRow,
)
from marrowscope.differential.error_correction import Adjusted, AdjustedShare
from marrowscope.differential.me_ratio import Ratio
from marrowscope.differential.thresholds import SCHEMES, Finding, Scheme
from marrowscope.model.bundle import Bundle
from marrowscope.taxonomy import CLASSES
from marrowscope.wording.numbers import count_noun, join_and, percent_range

MARKS = {"above": "high", "below": "low"}
"""What a share outside its reference range is called."""
LABEL = 12
"""Characters of the label that begins a line of key figures."""


def class_table(differential: Differential) -> Iterator[str]:
    """Give the table of the classes that have cells, and name those that have none.

    A row is `BLA  Blast  23  14.3  9.3-20.7  0.1-3.5  high`, in columns.
    """
    yield f"Differential of {count_noun(differential.counted, 'nucleated cell')}"
    yield f"  {'Class':<27}{'Cells':>6}{'%':>7}{'95% CI':>12}   Reference"
    yield from (_class_row(row) for row in differential.rows if row.cells)
    if absent := [row.code for row in differential.rows if not row.cells]:
        yield f"  None found: {' '.join(absent)}"


def _class_row(row: DifferentialRow) -> str:
    usual = f"{row.reference[0]:g}-{row.reference[1]:g}" if row.reference else ""
    name = f"{row.code:<5}{row.name}"
    figures = f"{row.cells:>6,}{row.percent:>7.1f}{percent_range(row.low, row.high):>12}"
    return f"  {name:<27}{figures}   {usual:<8}{MARKS.get(row.standing, '')}".rstrip()


def key_figures(differential: Differential, adjusted: Adjusted) -> Iterator[str]:
    """Give each watched share, the corrected one under it, and the M:E ratio."""
    corrected = {share.name: share for share in adjusted.shares}
    for finding in differential.findings:
        if finding.known:
            yield from _share(finding, corrected.get(finding.name))
    yield _ratio(differential.ratio)


def _share(finding: Finding, corrected: AdjustedShare | None) -> Iterator[str]:
    interval = percent_range(finding.low, finding.high)
    open_at = sorted({threshold.percent for threshold in finding.straddled})
    includes = f"; the interval includes {join_and([f'{percent:g}%' for percent in open_at])}"
    meaning = _band(finding) + (includes if open_at else "")
    yield _figure(finding.name, f"{finding.percent:.1f}%", interval, meaning)
    if corrected and corrected.percent is not None:
        interval = percent_range(corrected.low or 0.0, corrected.high or 0.0)
        yield _figure("", f"{corrected.percent:.1f}%", interval, "corrected for model error")


def _figure(label: str, value: str, interval: str, meaning: str) -> str:
    return f"{label:<{LABEL}}  {value:<7} 95% CI {interval:<11} {meaning}".rstrip()


def _band(finding: Finding) -> str:
    """Name the band of a share: `WHO 2022/ICC 2022 band 10-20%`."""
    schemes = SCHEMES[finding.codes]
    names = "/".join(scheme.name for scheme in schemes)
    return f"{names} band {_limits(schemes[0], finding.percent)}"


def _limits(scheme: Scheme, percent: float) -> str:
    below = [line.percent for line in scheme.thresholds if line.percent <= percent]
    above = [line.percent for line in scheme.thresholds if line.percent > percent]
    if not above:
        return f"{below[-1]:g}% or more"
    return f"{below[-1]:g}% to <{above[0]:g}%" if below else f"<{above[0]:g}%"


def _ratio(ratio: Ratio) -> str:
    if ratio.value is None or ratio.low is None:
        return f"{'M:E ratio':<{LABEL}}  not computable: {ratio.note}"
    high = "no limit" if ratio.high is None else f"{ratio.high:.1f}"
    usual = f"reference {ratio.reference[0]:g}-{ratio.reference[1]:g}" if ratio.reference else ""
    return _figure("M:E ratio", f"{ratio.value:.1f}", f"{ratio.low:.1f}-{high}", usual)


def excluded(differential: Differential, novel: int) -> str:
    """Name what is not counted: `14 artefacts, 1 smudge cell, 9 novel`; empty for nothing."""
    parts = [
        count_noun(row.cells, row.name.lower(), CLASSES[row.code].plural.lower())
        for row in differential.excluded
        if row.cells
    ]
    return ", ".join([*parts, *([f"{novel:,} novel"] if novel else [])])


def warnings(differential: Differential, bundle: Bundle) -> Iterator[str]:
    """Say what limits a differential: too few cells, classes that the bundle may miss."""
    counted = differential.counted
    if counted < ENOUGH_TO_DECIDE:
        at_least = f"{ENOUGH}, or " if counted < ENOUGH else ""
        yield (
            f"{count_noun(counted, 'cell')}: ICSH 2008 requires {at_least}{ENOUGH_TO_DECIDE} "
            "where a percentage decides"
        )
    missing = [code for code, row in CLASSES.items() if row.counted and code not in bundle.classes]
    if missing:
        yield f"Not covered by this bundle: {' '.join(missing)}"
    scarce = [code for code in bundle.scarce_in_reference if CLASSES[code].counted]
    if scarce:
        yield f"Learnt from few {bundle.reference} cells, may be missed there: {' '.join(scarce)}"
    for source, codes in bundle.learnt_from_one_source.items():
        listed = [code for code in codes if CLASSES[code].counted and code not in scarce]
        if listed:
            yield f"Learnt from {source} alone, may be missed elsewhere: {' '.join(listed)}"


def next_step(differential: Differential) -> str:
    """Say how many more cells would settle a threshold; empty where none is open."""
    open_lines = [more for finding in differential.findings for more in finding.more]
    likely = [(more.likely, more.percent) for more in open_lines if more.likely is not None]
    if likely:
        steps = dict.fromkeys(f"{cells:,} to separate {percent:g}%" for cells, percent in likely)
        return f"count more cells: about {', '.join(steps)} (80% chance)"
    capped = [f"{more.percent:g}%" for more in open_lines]
    return f"no practical count separates {join_and(capped)}" if capped else ""
