"""Options that decide which cells are counted, and against what."""

from dataclasses import dataclass

from marrowscope.differential.me_ratio import ICSH, Formula
from marrowscope.differential.reference_ranges import ADULT_MARROW, Norms
from marrowscope.errors import SettingsError
from marrowscope.metrics.conformal import check_coverage


@dataclass(frozen=True)
class CountingOptions:
    """Which cells are counted, and against which reference ranges."""

    keep_novel: bool = False
    """Whether cells unlike the reference cells are counted."""
    coverage: float | None = None
    """How often a cell's set of classes holds the true one, 0..1; None for no sets."""
    norms: Norms = ADULT_MARROW
    """Reference ranges, in percent."""
    formula: Formula = ICSH
    """Formula of the M:E ratio."""

    @property
    def settings(self) -> dict[str, str]:
        """What decides the differential, as `classify.json` holds it."""
        return {"reference_ranges": self.norms.in_words, "me_formula": self.formula.name}

    def problems(self) -> list[str]:
        """Say what is wrong with the options, by the names of their flags."""
        if self.coverage is None:
            return []
        try:
            check_coverage(self.coverage)
        except SettingsError as error:
            return [f"--{error}"]
        return []
