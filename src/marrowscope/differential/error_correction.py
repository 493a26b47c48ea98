"""Shares of a count, corrected for the errors that the bundle made on its test cells."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from marrowscope.differential.thresholds import WATCHED, Watched
from marrowscope.metrics.classification import LEAST_GROUPS, percentile_interval
from marrowscope.metrics.quantification import (
    CHUNK,
    ROUNDS,
    AnswerRows,
    Floats,
    Sample,
    answer_rows,
    drawn_mixes,
    mix_behind,
    of_nucleated,
)
from marrowscope.model.bundle import Bundle, load_tested
from marrowscope.model.test_predictions import ENOUGH, Adjustment, LabelledCells
from marrowscope.taxonomy import CLASSES
from marrowscope.types import Prediction

METHOD = "probabilistic adjusted count"
ASSUMED = (
    "Model-dependent: it holds if the model errs on these cells as on its test cells, and all are "
    "of classes that it covers. Another scanner, stain or laboratory is not corrected for."
)
NOT_SEALED = (
    "Shares cannot be corrected for the model's errors: the bundle has no test cells. Evaluate it "
    "with this marrowscope."
)
NO_CELLS = "No cell was counted: there is no share to correct."


@dataclass(frozen=True)
class AdjustedShare:
    """A share of the nucleated cells with the model's errors taken out; None where unknown."""

    name: str
    """Such as `Blasts`."""
    codes: tuple[str, ...]
    """Classes that are added up."""
    percent: float | None
    """0..100."""
    low: float | None
    """Lower 95% limit, 0..100."""
    high: float | None
    """Upper 95% limit, 0..100."""
    note: str
    """Why it is not known; empty where it is."""

    @property
    def in_words(self) -> str:
        """Say "Blasts, adjusted for the model's errors: 12.3% (95% ...)", or why not."""
        if self.percent is None:
            return self.note
        return (
            f"{self.name}, adjusted for the model's errors: {self.percent:.1f}% (95% interval "
            f"{self.low:.1f} to {self.high:.1f})"
        )


@dataclass(frozen=True)
class Adjusted:
    """Corrected shares, to be shown beside the plain ones and never instead of them."""

    method: str
    """How they were found."""
    cells: int
    """Classified cells that they come from, those that the model abstains on among them."""
    shares: tuple[AdjustedShare, ...]
    """Blasts and plasma cells; none where nothing can be corrected."""
    notes: tuple[str, ...]
    """What a reader must bear in mind, in sentences."""


class ProbabilitySums:
    """Adds up the probabilities of cells as they come; memory does not grow with their number."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._sample = Sample(len(bundle.classes))
        self._total = np.zeros(len(bundle.classes))
        self._waiting: list[tuple[float, ...]] = []

    def add(self, prediction: Prediction) -> None:
        """Take one cell into account."""
        if self._bundle.adjustment is None:
            return
        self._total += prediction.probabilities
        self._waiting.append(prediction.probabilities)
        if len(self._waiting) == CHUNK:
            self._empty()

    def _empty(self) -> None:
        if self._waiting:
            self._sample.add(np.array(self._waiting))
            self._waiting.clear()

    def adjusted(self) -> Adjusted:
        """Correct the shares of blasts and plasma cells; see `adjust`.

        Raises:
            BundleError: the bundle's test cells cannot be read.
        """
        self._empty()
        if self._bundle.adjustment is None:
            return Adjusted(METHOD, 0, (), (NOT_SEALED,))
        if not self._sample.cells:
            return Adjusted(METHOD, 0, (), (NO_CELLS,))
        return _adjusted(self._sample, self._bundle)

    def weights(self) -> Floats | None:
        """Fit the probabilities to the class mix of the cells; see `own_weights`.

        Raises:
            BundleError: the bundle's test cells cannot be read.
        """
        cells = self._sample.cells + len(self._waiting)
        return _weights(self._total, cells, self._bundle)


def adjust(predictions: Iterable[Prediction], bundle: Bundle) -> Adjusted:
    """Correct the shares of blasts and plasma cells for the bundle's errors on its test cells.

    The predictions are those of all cells that are not set aside as unlike the known ones. Cells of
    excluded classes are part of the mixture; a share is of the nucleated cells found in it.
    The interval is from draws of the test cells, by groups, and of these cells.

    Raises:
        BundleError: the bundle's test cells cannot be read.

    Source: as `marrowscope.metrics.quantification.mix_behind`; docs/quantification.md says how
    close it comes.
    """
    sums = ProbabilitySums(bundle)
    for prediction in predictions:
        sums.add(prediction)
    return sums.adjusted()


def _adjusted(sample: Sample, bundle: Bundle) -> Adjusted:
    tested = load_tested(bundle)
    mix, drawn = _mixes(sample, rows_of(tested, bundle), bundle)
    notes = _notes(bundle, bundle.adjustment) if bundle.adjustment else ()
    return Adjusted(
        method=METHOD,
        cells=sample.cells,
        shares=tuple(_share(watched, mix, drawn, tested, bundle) for watched in WATCHED),
        notes=(ASSUMED, *notes),
    )


def rows_of(tested: LabelledCells, bundle: Bundle, rounds: int = ROUNDS) -> AnswerRows:
    """Average what the bundle said of its test cells, by true class; 0 rounds for no draws."""
    index_of = {code: index for index, code in enumerate(bundle.classes)}
    answers = tested.probabilities.astype(np.float64)
    return answer_rows(
        answers / answers.sum(axis=1, keepdims=True),
        np.array([index_of[label] for label in tested.labels]),
        np.array(tested.groups),
        rounds,
    )


def _mixes(sample: Sample, rows: AnswerRows, bundle: Bundle) -> tuple[Floats, Floats]:
    """Give the shares (C,) of the nucleated cells, and those of the draws (rounds, C)."""
    counted = np.array([CLASSES[code].counted for code in bundle.classes])
    mix = mix_behind(rows.mean, sample.mean)
    return of_nucleated(mix, counted), of_nucleated(drawn_mixes(rows, sample), counted)


def _share(
    watched: Watched, mix: Floats, drawn: Floats, tested: LabelledCells, bundle: Bundle
) -> AdjustedShare:
    chosen = [index for index, code in enumerate(bundle.classes) if code in watched.codes]
    value = float(mix[chosen].sum())
    unknown = _why_unknown(watched, tested, bundle)
    if not unknown and np.isnan(value):
        unknown = "no nucleated cell is left after the correction."
    if unknown:
        note = f"{watched.name}: no adjusted share, as {unknown}"
        return AdjustedShare(watched.name, watched.codes, None, None, None, note)
    share = percentile_interval(100 * value, (100 * drawn[:, chosen].sum(axis=1)).tolist())
    return AdjustedShare(watched.name, watched.codes, share.value, share.low, share.high, "")


def _why_unknown(watched: Watched, tested: LabelledCells, bundle: Bundle) -> str:
    for code in watched.codes:
        if code not in bundle.classes:
            return f"the model does not cover {CLASSES[code].name.lower()}s ({code})."
        groups = [
            group
            for group, label in zip(tested.groups, tested.labels, strict=True)
            if label == code
        ]
        if len(groups) < ENOUGH or len(set(groups)) < LEAST_GROUPS:
            return (
                f"the test has {len(groups)} cells of {code} in {len(set(groups))} groups; "
                f"{ENOUGH} in {LEAST_GROUPS} are needed."
            )
    return ""


def _notes(bundle: Bundle, adjustment: Adjustment) -> Iterable[str]:
    if adjustment.borrowed:
        yield (
            f"How {', '.join(adjustment.borrowed)} are read is known from cells of other sources "
            f"too: the test has fewer than {ENOUGH} of each from {adjustment.reference}."
        )
    missing = [code for code in bundle.classes if not adjustment.cells(code)]
    if missing:
        yield f"Taken as always recognised, for want of test cells: {', '.join(missing)}."


AT_LEAST = 0.5
"""Cells that each class is taken to have besides, so that none is impossible."""


def own_weights(predictions: Iterable[Prediction], bundle: Bundle) -> Floats | None:
    """Give what the probabilities of each class (C,) are multiplied with, before they are summed.

    Probabilities hold for the class mix of the test. Where blasts are 30% of a sample and were 10%
    of the test, a cell that said 0.25 for blast says 0.25 * 3 / (0.25 * 3 + 0.75 * 7/9) = 0.56.
    The sample's mix is the adjusted count. Without cells all are 1; None for a bundle without test
    cells.

    Raises:
        BundleError: the bundle's test cells cannot be read.

    Source: Saerens, Latinne and Decaestecker, Neural Comput 2002;14:21-41, equation 2.4.
    """
    if bundle.adjustment is None:
        return None
    total, cells = np.zeros(len(bundle.classes)), 0
    for prediction in predictions:
        total += prediction.probabilities
        cells += 1
    return _weights(total, cells, bundle)


def _weights(total: Floats, cells: int, bundle: Bundle) -> Floats | None:
    """Compute the weights (C,) from the sum of the probabilities (C,) of a number of cells."""
    if bundle.adjustment is None:
        return None
    if not cells:
        return np.ones(len(bundle.classes))
    test = _test_of(_Key(bundle.folder, bundle.adjustment.tested_sha256, bundle))
    mix = mix_behind(test.rows, total / total.sum())
    return _shares(cells * mix) / _shares(test.cells)


@dataclass(frozen=True)
class _Key:
    """Which test cells are meant, by their content."""

    folder: Path
    sha256: str
    bundle: Bundle = field(compare=False)


@dataclass(frozen=True)
class _Test:
    """What own weights need of a test, so that a live count need not read its file each time."""

    rows: Floats
    """(C, C): what the bundle said of the cells of each true class, averaged."""
    cells: Floats
    """(C,): cells of each true class."""


@lru_cache(maxsize=4)
def _test_of(key: _Key) -> _Test:
    tested = load_tested(key.bundle)
    of_class = Counter(tested.labels)
    there = np.array([of_class[code] for code in key.bundle.classes], dtype=np.float64)
    return _Test(rows_of(tested, key.bundle, rounds=0).mean, there)


def _shares(cells: Floats) -> Floats:
    return np.asarray((cells + AT_LEAST) / (cells + AT_LEAST).sum())
