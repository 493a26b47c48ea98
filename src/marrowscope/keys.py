"""The figures that a reader of a differential looks for first, in words."""

from dataclasses import dataclass

from marrowscope.differential import Differential
from marrowscope.ratio import Ratio
from marrowscope.thresholds import Finding, thresholds_in_words


@dataclass(frozen=True)
class Key:
    """A figure that a reader looks for first."""

    name: str
    value: str
    interval: str
    """The 95% interval in words; empty where there is none."""
    lines: tuple[str, ...]
    """What it is of, and what it means."""
    alert: str = ""
    """What it leaves open; empty for nothing."""


def keys_of(differential: Differential) -> tuple[Key, ...]:
    """Give blasts, plasma cells and the M:E ratio."""
    return (*map(_of_finding, differential.findings), _of_ratio(differential.ratio))


def _of_finding(finding: Finding) -> Key:
    if not finding.known:
        return Key(finding.name, "not known", "", (finding.in_words,))
    return Key(
        name=finding.name,
        value=f"{finding.percent:.1f}%",
        interval=f"95% interval {finding.low:.1f} to {finding.high:.1f}%",
        lines=(f"{finding.cells:,} cells ({', '.join(finding.codes)})", *finding.bands),
        alert=f"The interval straddles {thresholds_in_words(finding.straddled)}."
        if finding.straddled
        else "",
    )


def _of_ratio(ratio: Ratio) -> Key:
    formula = f"M:E = {ratio.formula}"
    if ratio.value is None or ratio.low is None:
        return Key("M:E ratio", "not computable", "", (ratio.note, formula))
    high = "no upper limit" if ratio.high is None else f"{ratio.high:.1f}"
    usual = f"usual {ratio.reference[0]:g} to {ratio.reference[1]:g}" if ratio.reference else ""
    cells = f"{ratio.myeloid:,} myeloid, {ratio.erythroid:,} erythroid cells"
    return Key(
        name="M:E ratio",
        value=f"{ratio.value:.1f}",
        interval=f"95% interval {ratio.low:.1f} to {high}",
        lines=tuple(filter(None, (cells, usual, formula))),
    )


def scale_of(differential: Differential) -> float:
    """Give the percentage at which bars end: all limits of classes with cells, and ranges, fit."""
    limits = [row.high for row in differential.rows if row.cells]
    limits += [row.reference[1] for row in differential.rows if row.reference]
    return max(10.0, min(100.0, max(limits, default=100.0)))
