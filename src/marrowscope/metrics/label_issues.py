"""Labels that a model confidently contradicts, by the rule of confident learning."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Doubt:
    """A cell whose given label the model contradicts."""

    index: int
    """Of the cell."""
    label: int
    """Class index that was given."""
    suggested: int
    """Class index that the model is confident of."""
    self_confidence: float
    """Probability of the given label, 0..1."""
    probability: float
    """Of the suggested class, 0..1."""
    margin: float
    """Probability of the given label minus that of the likeliest other class, -1..1."""


def self_confidence(labels: Indices, probabilities: Floats) -> Floats:
    """Give the mean probability (C,) that cells of each label get for that label.

    It is the class's threshold: a cell at or above it is confidently of the class. A class that
    no cell is labelled with has none, and gets infinity. Cells (N,) with probabilities (N, C):
    of two cells labelled 0 with 0.9 and 0.5 for it, the threshold of class 0 is 0.7.
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    cells = np.bincount(labels, minlength=classes)
    total = np.bincount(labels, weights=own, minlength=classes)
    mean = np.divide(total, cells, out=np.full(classes, np.inf), where=cells > 0)
    return np.asarray(mean)


def confident_classes(labels: Indices, probabilities: Floats) -> Indices:
    """Give the class (N,) that each cell is confidently of, or -1 for none.

    Of several classes whose thresholds a cell reaches, it is the one with the highest probability.
    """
    reached = probabilities >= self_confidence(labels, probabilities) - 1e-9
    best = np.where(reached, probabilities, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), best, -1).astype(np.int64)


def find_doubts(labels: Indices, probabilities: Floats) -> tuple[Doubt, ...]:
    """List the cells that are confidently of another class than labelled, most doubtful first.

    `labels` are class indices (N,), `probabilities` (N, C) are those of models that did not learn
    from these cells. A doubt is an off-diagonal entry of the confident joint, unless the
    model still finds the given label the most probable. They are ranked by normalised margin.

    Three cells labelled 0, 0, 0 have 0.9, 0.8 and 0.1 for class 0, and two labelled 1 have 0.7 and
    0.9 for class 1: the thresholds are 0.6 and 0.8. The third cell reaches that of class 1 with
    0.9, so its label is doubted with the margin 0.1 - 0.9 = -0.8.

    Source: Northcutt, Jiang and Chuang, J Artif Intell Res 2021;70:1373-1411, sections 3.1, 3.2.
    """
    likely = probabilities.argmax(axis=1)
    sure = confident_classes(labels, probabilities)
    suspects = np.flatnonzero((sure >= 0) & (sure != labels) & (likely != labels))
    doubts = [_doubt(int(index), labels, sure, probabilities) for index in suspects]
    return tuple(sorted(doubts, key=lambda each: (each.margin, each.index)))


def _doubt(index: int, labels: Indices, sure: Indices, probabilities: Floats) -> Doubt:
    row, label, suggested = probabilities[index], int(labels[index]), int(sure[index])
    own = float(row[label])
    highest = float(np.delete(row, label).max())
    return Doubt(index, label, suggested, own, float(row[suggested]), own - highest)
