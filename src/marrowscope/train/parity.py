"""How far an exported model may differ from the network it was made of."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from marrowscope.errors import ExportError
from marrowscope.metrics.classification import confusion_matrix, macro

Scores = NDArray[np.float64]
"""Probabilities (N, C), 0..1."""

PROBABILITY_TOLERANCE = 1e-3
LEAST_AGREEMENT = 0.985
LARGEST_LOSS = 0.005
"""Of macro-F1 on the validation part."""


def check_same(reference: Scores, scores: Scores) -> str:
    """Say how well fp32 agrees with torch, both (N, C) probabilities.

    Raises:
        ExportError: a top-1 differs, or a probability by more than 1e-3.
    """
    different = int((reference.argmax(axis=1) != scores.argmax(axis=1)).sum())
    largest = float(np.abs(reference - scores).max())
    if different or largest > PROBABILITY_TOLERANCE:
        raise ExportError(
            f"ONNX and torch disagree: {different} of {len(scores)} cells have another class, "
            f"probabilities differ by up to {largest:.2g} (allowed: 0 and "
            f"{PROBABILITY_TOLERANCE}); nothing was written"
        )
    return (
        f"fp32 ONNX against torch on {len(scores)} validation cells: same class for all, "
        f"probabilities within {largest:.1e}"
    )


def check_close(full: Scores, reduced: Scores, truth: Sequence[int], precision: str) -> str:
    """Say how well a precision agrees with fp32, both (N, C) probabilities, given true indices.

    Raises:
        ExportError: fewer than 98.5% of the cells keep their class, or macro-F1 falls by over
            0.005.
    """
    agreement = float((full.argmax(axis=1) == reduced.argmax(axis=1)).mean())
    before, after = (
        macro(confusion_matrix(truth, scores.argmax(axis=1).tolist(), scores.shape[1])).f1
        for scores in (full, reduced)
    )
    words = (
        f"{precision} against fp32 on {len(full)} validation cells: same class for "
        f"{agreement:.2%}, macro-F1 {after:.4f} against {before:.4f}"
    )
    if agreement < LEAST_AGREEMENT or before - after > LARGEST_LOSS:
        raise ExportError(
            f"{words} (allowed: at least {LEAST_AGREEMENT:.1%} and a loss of at most "
            f"{LARGEST_LOSS}); nothing was written: export with --precision fp32"
        )
    return words
