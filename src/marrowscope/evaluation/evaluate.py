"""Measure a bundle on a part of its split, through the predictor that serves it."""

import os
import platform
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marrowscope import __version__
from marrowscope.data.manifest import Manifest
from marrowscope.data.split import Split, SplitRow, check_split, located, sharing_pixels
from marrowscope.errors import SplitError
from marrowscope.evaluation.artifacts import draw, write_card, write_failures
from marrowscope.evaluation.external_sets import Other, OtherRows, check_others
from marrowscope.evaluation.scoring import Scored, answers, by_source, score, source_of
from marrowscope.io.tables import (
    prepare_folder,
    without_nan,
    write_json,
)
from marrowscope.metrics.domain_shift import Domain, drops, most_trained
from marrowscope.metrics.prevalence import ADULT_MARROW, Prevalence
from marrowscope.metrics.reliability import Sealed
from marrowscope.metrics.summary import SetResult, Terms, figures_of_set
from marrowscope.metrics.tolerance import TOLERATED
from marrowscope.model.bundle import Bundle, seal_evaluation, seal_tested
from marrowscope.model.test_predictions import LabelledCells
from marrowscope.types import Reject

METRICS = "metrics.json"
NO_LIST = "No list of pairs that share pixels was given (--audit)."
VOUCHED = (
    "The bundle was trained on another split than this one. That it has not seen these cells is "
    "the word of whoever asked for the figures (--unseen); it was not checked."
)


@dataclass(frozen=True)
class Evaluation:
    """Figures of a bundle on a part, for each source and, if there are several, for all cells."""

    folder: Path
    bundle: Bundle
    grouped_by: str
    """What the split kept together, in words."""
    sets: tuple[SetResult, ...]
    rejects: tuple[Reject, ...]
    prevalence: Prevalence
    others: tuple[SetResult, ...] = ()
    """Further labelled sets, which have nothing to do with the split."""
    domains: tuple[Domain, ...] = ()
    """How much worse each set is than the source with most training cells."""


@dataclass(frozen=True)
class _Further:
    """A further set and what the bundle made of its cells."""

    given: OtherRows
    scored: list[Scored]
    """Of classes that the bundle covers."""
    rejects: list[Reject]

    def in_words(self) -> str:
        leaks = f", {len(self.given.leaks)} cells of the training left out"
        return f"{self.given.name} (groups: {self.given.grouped_by}{leaks})"


def evaluate(
    bundle: Bundle,
    manifest: Manifest,
    split: Split,
    folder: Path,
    *,
    part: str = "test",
    pairs: Collection[tuple[str, str]] | None = None,
    prevalence: Prevalence = ADULT_MARROW,
    least_support: int = 10,
    rounds: int = 2000,
    seed: int = 0,
    overwrite: bool = False,
    advance: Callable[[], object] = lambda: None,
    others: Sequence[Other] = (),
    leave_out_leaks: bool = False,
    unseen: bool = False,
) -> Evaluation:
    """Classify a part, write predictions, metrics and drawings of them, seal the summary.

    Only the part `test` is sealed into the bundle and its model card, with its cells. The macro
    means run over the classes with at least `least_support` true cells in a set; all are in the
    tables. Cells of classes that the bundle does not cover are left out of all figures and counted
    in `not_covered`. Cells that, by `pairs` (of paths; None where nobody looked for any), share
    pixels with a cell of another part are not classified; the metrics say how many. All figures can
    be computed again from `predictions.csv`. Each of `others` gets figures and a
    `predictions_<name>.csv` of its own; its cells that the model was trained or chosen on are an
    error, or with `leave_out_leaks` left out and named. With `unseen`, a bundle of another training
    is measured on the word that it has not seen the cells, and nothing is sealed.

    Raises:
        SplitError: the split is not the one the bundle was trained with and `unseen` is not given,
            it leaks, lacks the part or a cell that `pairs` name, or the manifest lacks one of its
            cells; a set of `others` has cells of the training that are not to be left out, or no
            others, or a name that is taken or cannot be that of a file; or no cell of a covered
            class is left, in the part or in one of `others`.
        BundleError: the model or the known cells cannot be loaded.
        PredictionError: the bundle gives numbers that are no probabilities.
        OutputError: the folder cannot be used.
    """
    own = split.hash == bundle.split_hash
    _check(bundle, split, own or unseen)
    sharing = sharing_pixels(split, pairs or (), part)
    whole = [row for row in split.part(part) if row.cell.path not in sharing]
    rows = located(whole, manifest.cells, part)
    not_of_split = check_others(others, split, leave_out_leaks)
    prepare_folder(folder, overwrite)
    scored, rejects = score(bundle, manifest, rows, folder, advance)
    further = [_score_other(bundle, other, folder, advance) for other in not_of_split]
    terms = Terms(prevalence, least_support, rounds, seed)
    members_of = by_source(scored, rejects, bundle)
    sets = [_figures(name, cells, bundle, rows, terms) for name, cells in members_of.items()]
    of_others = [_figures_of_other(one, bundle, terms) for one in further]
    domains = _domains(members_of | {one.given.name: one.scored for one in further}, bundle, terms)
    for result in (*sets, *of_others):
        draw(result, bundle, folder)
    left_out = _left_out(pairs, len(sharing))
    method = _method(terms, left_out, further, vouched=not own)
    shown = [*sets[:-1], *of_others, sets[-1]]  # all cells of the part come last
    summary = _summary(shown, split, part, method) | {
        "domains": [without_nan(asdict(one)) for one in domains],
        "tolerated": TOLERATED,
        "prevalence": asdict(prevalence),
    }
    write_json(folder / METRICS, _details(summary, bundle, manifest, rejects, further))
    if part == "test" and own:
        bundle = _seal(bundle, members_of, summary, folder, manifest.root)
    rejects += [reject for one in further for reject in one.rejects]
    return Evaluation(
        folder,
        bundle,
        split.grouped_by,
        tuple(sets),
        tuple(rejects),
        prevalence,
        tuple(of_others),
        domains,
    )


def _method(terms: Terms, left_out: str, further: Sequence[_Further], *, vouched: bool) -> str:
    """Say how the figures were made, and what they rest on."""
    sentences = [terms.in_words(), left_out]
    if vouched:
        sentences.append(VOUCHED)
    if further:
        sentences.append(f"Other sets: {'; '.join(one.in_words() for one in further)}.")
    return " ".join(sentences)


def _details(
    summary: Mapping[str, Any],
    bundle: Bundle,
    manifest: Manifest,
    rejects: Sequence[Reject],
    further: Sequence[_Further],
) -> dict[str, Any]:
    """Give what `metrics.json` holds: the summary, what was rejected, and the further sets."""
    return {
        **summary,
        "bundle": bundle.name,
        "model_sha256": bundle.model_sha256,
        "rejects": [asdict(reject) for reject in rejects],
        "rejects_of_the_data": len(manifest.rejects),
        "others": [_details_of_other(one) for one in further],
    }


def _seal(
    bundle: Bundle,
    members_of: Mapping[str, Sequence[Scored]],
    summary: Mapping[str, Any],
    folder: Path,
    root: Path,
) -> Bundle:
    """Seal test cells, the surest mistakes and the summary into the bundle; rewrite its card."""
    bundle = _seal_tested(bundle, members_of)
    failures = write_failures(folder, root, bundle)
    sealed = {**summary, "failures": asdict(failures) if failures else None}
    bundle = seal_evaluation(bundle, _without_classes(sealed))
    write_card(bundle)
    return bundle


def _left_out(pairs: Collection[tuple[str, str]] | None, cells: int) -> str:
    """Say how many cells were left out for sharing pixels, and by which list."""
    if pairs is None:
        return NO_LIST
    about_pairs = f"of {len(pairs)} pairs" if pairs else "without pairs"
    return (
        "Left out for sharing pixels with cells of other parts, "
        f"by a list {about_pairs}: {cells} cells."
    )


def _check(bundle: Bundle, split: Split, allowed: bool) -> None:
    if not allowed:
        raise SplitError(
            f"the split ({split.hash[:12]}) is not the one that the bundle {bundle.name} was "
            f"trained with ({bundle.split_hash[:12]}); its test cells may be training cells. "
            "Give the run folder of that training; or, if you know that it has seen none of these "
            "cells, give --unseen: the figures are then not sealed"
        )
    check_split(split)


def _score_other(
    bundle: Bundle, other: OtherRows, folder: Path, advance: Callable[[], object]
) -> _Further:
    """Classify the cells of a further set.

    Raises:
        SplitError: none belongs to a class that the bundle covers.
    """
    files = f"predictions_{other.name}.csv", f"rejects_{other.name}.csv"
    scored, rejects = score(bundle, other.manifest, other.rows, folder, advance, files=files)
    covered = [item for item in scored if item.row.cell.label in bundle.classes]
    if not covered:
        raise SplitError(
            f"no cell of {other.name!r} belongs to a class that the bundle covers "
            f"({', '.join(bundle.classes)})"
        )
    return _Further(other, covered, rejects)


def _figures_of_other(further: _Further, bundle: Bundle, terms: Terms) -> SetResult:
    labels = Counter(row.cell.label for row in further.given.rows)
    not_covered = {code: cells for code, cells in labels.items() if code not in bundle.classes}
    return _measured(further.given.name, further.scored, bundle, terms, not_covered)


def _details_of_other(further: _Further) -> dict[str, Any]:
    """Say what was left out of a further set, cell by cell."""
    rows = further.given
    return {
        "name": rows.name,
        "cells": len(further.scored),
        "grouped_by": rows.grouped_by,
        "cells_of_the_training_left_out": list(rows.leaks),
        "rejects": [asdict(reject) for reject in further.rejects],
        "rejects_of_the_data": [asdict(reject) for reject in rows.manifest.rejects],
    }


def _domains(
    members_of: Mapping[str, Sequence[Scored]], bundle: Bundle, terms: Terms
) -> tuple[Domain, ...]:
    """Compare every source and further set with the source that has most training cells."""
    answers_of = {
        name: answers(cells, bundle.classes) for name, cells in members_of.items() if name != "all"
    }
    reference = most_trained(bundle.origin["images"], list(answers_of))
    return drops(
        answers_of,
        bundle.classes,
        reference,
        least_support=terms.least_support,
        rounds=terms.rounds,
        seed=terms.seed,
    )


def _seal_tested(bundle: Bundle, sets: Mapping[str, Sequence[Scored]]) -> Bundle:
    """Keep the test cells that are counted, so that a count can be corrected for their errors."""
    cells = [
        scored_cell for name, scored in sets.items() if name != "all" for scored_cell in scored
    ]
    novelty = bundle.novelty
    counted = [
        cell for cell in cells if not (novelty and novelty.is_novel(cell.prediction.novelty))
    ]
    if not counted:
        return bundle
    tested = LabelledCells(
        np.array(
            [scored_cell.prediction.probabilities for scored_cell in counted], dtype=np.float16
        ),
        tuple(scored_cell.row.cell.label for scored_cell in counted),
        tuple(source_of(scored_cell.row) for scored_cell in counted),
        tuple(scored_cell.row.group for scored_cell in counted),
    )
    reference = most_trained(bundle.origin["images"], [name for name in sets if name != "all"])
    return seal_tested(bundle, tested, reference, len(cells) - len(counted))


def _figures(
    name: str,
    scored: Sequence[Scored],
    bundle: Bundle,
    rows: Sequence[SplitRow],
    terms: Terms,
) -> SetResult:
    not_covered = Counter(
        row.cell.label
        for row in rows
        if row.cell.label not in bundle.classes and name in ("all", source_of(row))
    )
    return _measured(name, scored, bundle, terms, not_covered)


def _measured(
    name: str,
    scored: Sequence[Scored],
    bundle: Bundle,
    terms: Terms,
    not_covered: Mapping[str, int],
) -> SetResult:
    return figures_of_set(
        name,
        answers(scored, bundle.classes),
        bundle.classes,
        terms,
        not_covered=not_covered,
        sealed=Sealed(bundle.scaling, bundle.abstention, bundle.review),
    )


def _summary(sets: Sequence[SetResult], split: Split, part: str, method: str) -> dict[str, Any]:
    """Give the figures as they are sealed: plain values, with how they were come by."""
    return {
        "part": part,
        "split_hash": split.hash,
        "grouped_by": split.grouped_by,
        "method": method,
        "marrowscope": __version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, onnxruntime on the processor",
        "sets": {result.name: without_nan(asdict(result)) for result in sets},
    }


def _without_classes(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Give a summary as it is sealed: of classes and curves, only what the model card shows."""
    sets = {
        name: result
        | {
            "scores": [
                {key: value for key, value in entry.items() if key not in ("per_class", "support")}
                for entry in result["scores"]
            ],
            "trust": {
                key: value for key, value in result["trust"].items() if key != "risk_coverage"
            },
        }
        for name, result in summary["sets"].items()
    }
    return {**summary, "sets": sets}
