"""Shares that a classification goes by, and which of them a count can tell apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from marrowscope.differential.sample_size import MoreCells, cells_until_clear
from marrowscope.metrics.classification import exact_interval
from marrowscope.taxonomy import CLASSES


@dataclass(frozen=True)
class Threshold:
    """A percentage from which on a scheme speaks of something else."""

    percent: float
    """Of the nucleated cells, 0..100; the share that equals it belongs above."""
    meaning: str
    """What the scheme calls the band that begins here."""
    scheme: str
    """Short name, such as `WHO 2022`."""
    source: str
    """Where the scheme was published."""


@dataclass(frozen=True)
class Scheme:
    """The thresholds of one publication, from the lowest on."""

    name: str
    """Short name, such as `WHO 2022`."""
    thresholds: tuple[Threshold, ...]
    """From the lowest to the highest."""

    def band(self, cells: int, counted: int) -> str:
        """Name the band of a share: 25 of 500 is `WHO 2022: 5% to under 10% (MDS-IB1)`."""
        reached = [
            threshold for threshold in self.thresholds if 100 * cells >= threshold.percent * counted
        ]
        if not reached:
            return f"{self.name}: under {self.thresholds[0].percent:g}%"
        last = reached[-1]
        above = dict(pairwise(self.thresholds)).get(last)
        end = f" to under {above.percent:g}%" if above else " or more"
        return f"{self.name}: {last.percent:g}%{end} ({last.meaning})"


@dataclass(frozen=True)
class Watched:
    """Cells whose share decides something: their classes, and the schemes that say what."""

    name: str
    """As the report calls them."""
    codes: tuple[str, ...]
    """Classes that are added up."""
    schemes: tuple[Scheme, ...]
    """Whose thresholds are shown."""
    caveat: str
    """What the share alone does not say."""


@dataclass(frozen=True)
class Finding:
    """The share of cells that are watched, and the thresholds that its interval straddles."""

    name: str
    """Such as `Blasts`."""
    codes: tuple[str, ...]
    """Classes that were added up."""
    cells: int
    """Cells of these classes."""
    percent: float
    """Of the nucleated cells, 0..100; 0 without any."""
    low: float
    """Lower exact 95% limit, 0..100."""
    high: float
    """Upper exact 95% limit, 0..100."""
    bands: tuple[str, ...]
    """The band of each scheme in words; none where the share is not known."""
    straddled: tuple[Threshold, ...]
    """Thresholds with a part of the interval on either side; none where the share is not known."""
    in_words: str
    """All of it in a few sentences."""
    known: bool = True
    """False where no cell was counted, or the model does not cover the classes."""
    more: tuple[MoreCells, ...] = ()
    """For each straddled percentage, how many more cells would settle it."""


def _scheme(name: str, source: str, bands: Mapping[float, str]) -> Scheme:
    return Scheme(
        name,
        tuple(Threshold(percent, words, name, source) for percent, words in bands.items()),
    )


WHO_2022 = _scheme(
    "WHO 2022",
    "Khoury et al., Leukemia 2022;36:1703-1719",
    {5.0: "MDS-IB1", 10.0: "MDS-IB2", 20.0: "AML"},
)
ICC_2022 = _scheme(
    "ICC 2022",
    "Arber et al., Blood 2022;140:1200-1228",
    {5.0: "MDS-EB", 10.0: "MDS/AML", 20.0: "AML"},
)
IMWG_2014 = _scheme(
    "IMWG 2014",
    "Rajkumar et al., Lancet Oncol 2014;15:e538-e548",
    {10.0: "a criterion of myeloma if clonal", 60.0: "a myeloma-defining event if clonal"},
)


def _codes(share: str) -> tuple[str, ...]:
    return tuple(code for code, row in CLASSES.items() if row.share == share)


BLASTS = Watched(
    "Blasts",
    _codes("blasts"),
    (WHO_2022, ICC_2022),
    "Some genetic findings lower these thresholds.",
)
PLASMA_CELLS = Watched(
    "Plasma cells",
    _codes("plasma cells"),
    (IMWG_2014,),
    "Pictures do not show whether plasma cells are clonal.",
)
WATCHED = (BLASTS, PLASMA_CELLS)
"""In the order of the report."""
SCHEMES = {watched.codes: watched.schemes for watched in WATCHED}
"""The schemes by the classes whose share they are about."""


def find(
    watched: Watched, labels: Mapping[str, int], counted: int, *, covered: bool = True
) -> Finding:
    """Hold a share against its thresholds.

    30 blasts of 500 cells are 6.0% with limits 4.1 and 8.5: the interval straddles 5%, so the count
    cannot tell which side the share is on. A threshold belongs to the band above it, so an
    interval straddles it if low < threshold <= high. With `covered` false, the model does not know
    all of these classes, and the share says nothing.
    """
    cells = sum(labels.get(code, 0) for code in watched.codes)
    share = exact_interval(cells, counted)
    finding = Finding(
        name=watched.name,
        codes=watched.codes,
        cells=cells,
        percent=100 * share.value if counted else 0.0,
        low=100 * share.low,
        high=100 * share.high,
        bands=(),
        straddled=(),
        in_words="",
        known=counted > 0 and covered,
    )
    if not finding.known:
        return replace(finding, in_words=_not_known(finding, counted))
    bands = tuple(scheme.band(cells, counted) for scheme in watched.schemes)
    straddled = _straddled(watched, finding.low, finding.high)
    percents = sorted({threshold.percent for threshold in straddled})
    more = tuple(cells_until_clear(cells, counted, percent) for percent in percents)
    finding = replace(finding, bands=bands, straddled=straddled, more=more)
    return replace(finding, in_words=f"{_known(finding, counted)} {watched.caveat}")


def _straddled(watched: Watched, low: float, high: float) -> tuple[Threshold, ...]:
    every = (threshold for scheme in watched.schemes for threshold in scheme.thresholds)
    return tuple(line for line in every if low < line.percent <= high)


def _not_known(finding: Finding, counted: int) -> str:
    if not counted:
        return f"{finding.name}: no nucleated cell was counted, so nothing can be said."
    kinds = " and ".join(f"{CLASSES[code].name.lower()}s ({code})" for code in finding.codes)
    named = f" {finding.cells:,} named by a person are in the count." if finding.cells else ""
    return f"{finding.name}: the model does not know {kinds}, so it cannot say how many.{named}"


def _known(finding: Finding, counted: int) -> str:
    share = f"{finding.percent:.1f}% (95% interval {finding.low:.1f} to {finding.high:.1f}"
    words = f"{finding.name}: {share}; {finding.cells:,} of {counted:,} cells). "
    words += f"{'; '.join(finding.bands)}."
    if finding.straddled:
        words += (
            f" The interval straddles {thresholds_in_words(finding.straddled)}: the count cannot "
            "tell on which side the share lies."
        )
    return words


def thresholds_in_words(thresholds: Iterable[Threshold]) -> str:
    """Name thresholds: `5% (WHO 2022: MDS-IB1; ICC 2022: MDS-EB) and 10% (...)`."""
    ranked = sorted(thresholds, key=lambda threshold: threshold.percent)
    return " and ".join(
        f"{percent:g}% ({'; '.join(f'{line.scheme}: {line.meaning}' for line in same)})"
        for percent, same in groupby(ranked, key=lambda threshold: threshold.percent)
    )
