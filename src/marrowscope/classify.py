"""Classify cells and count them: predictions, rejects, differential and report in one folder."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from marrowscope.bundle import Bundle
from marrowscope.differential import Differential, count
from marrowscope.predictor import Predictor
from marrowscope.records import Found, Reject
from marrowscope.report import Gallery, write_report
from marrowscope.results import (
    PREDICTIONS,
    REJECTS,
    csv_file,
    prediction_header,
    prediction_row,
    prepare_folder,
    reject_row,
    write_json,
)

DIFFERENTIAL, REPORT = "differential.json", "report.html"


@dataclass(frozen=True)
class Classified:
    """The outcome for a set of cells, and the folder that holds its files."""

    folder: Path
    cells: int
    rejects: tuple[Reject, ...]
    differential: Differential

    def as_dict(self, bundle: Bundle) -> dict[str, Any]:
        """Give the outcome for machines, with the model that it rests on."""
        return {
            "bundle": {"name": bundle.name, "model_sha256": bundle.model_sha256},
            "folder": str(self.folder),
            "cells": self.cells,
            "rejected": len(self.rejects),
            "differential": asdict(self.differential),
            "warning": bundle.evaluation_in_words,
            "use": "research use only; figures, not a diagnosis",
        }


def classify(
    found: Iterable[Found],
    bundle: Bundle,
    folder: Path,
    *,
    overwrite: bool = False,
    threads: int = 0,
    each: Callable[[], object] = lambda: None,
) -> Classified:
    """Classify pictures with a bundle, write the four result files; `each` is called for each.

    Raises:
        OutputError: the folder cannot be used, or holds something and must not be overwritten.
        BundleError: the bundle's model cannot be loaded.
    """
    predictor = Predictor(bundle, threads)
    prepare_folder(folder, overwrite)
    labels: Counter[str] = Counter()
    rejects: list[Reject] = []
    gallery = Gallery()
    with (
        csv_file(folder / PREDICTIONS, prediction_header(bundle.classes)) as predictions,
        csv_file(folder / REJECTS, ["path", "reason"]) as rejected,
    ):
        for outcome in predictor.classify(found):
            if isinstance(outcome, Reject):
                rejects.append(outcome)
                rejected.writerow(reject_row(outcome))
            else:
                labels[outcome.label] += 1
                gallery.add(outcome)
                predictions.writerow(prediction_row(outcome))
            each()
    differential = count(labels, bundle.classes)
    result = Classified(folder, labels.total(), tuple(rejects), differential)
    write_json(folder / DIFFERENTIAL, result.as_dict(bundle))
    write_report(folder / REPORT, bundle, differential, gallery, rejects)
    return result
