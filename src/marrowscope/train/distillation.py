"""A bundle that teaches: what it holds probable of a training cell becomes part of its target."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from marrowscope.errors import ImageError, SettingsError
from marrowscope.inference.predictor import Predictor
from marrowscope.locations import within
from marrowscope.model.bundle import Bundle, load_bundle
from marrowscope.types import Cell, Picture, Reject

Each = Callable[[int, int], object]
"""Is told how many cells were read, and how many there are."""


def taught(
    name_or_folder: str,
    root: Path,
    cells: Sequence[Cell],
    classes: Sequence[str],
    split_hash: str,
    *,
    advance: Each = lambda *_: None,
) -> Tensor:
    """Give what a bundle holds probable of each cell: (N, C), 0..1, rows that add up to 1.

    Classes that only the teacher knows are left out and the others scaled up: of 0.6, 0.2 and 0.2
    without the last, 0.75 and 0.25 remain. The cells are shown once, as they are, without
    augmentation.

    Source: Hinton, Vinyals and Dean, arXiv 1503.02531, at the calibrated temperature.

    Raises:
        SettingsError: the teacher learnt from another split, so that it may know validation or
            test cells, or it lacks a class.
        BundleError: no such bundle, or it is not whole.
        ImageError: a cell cannot be read, or its pixels have no known size and the teacher needs
            one.
        MissingExtraError: its signature is demanded and cannot be checked.
    """
    bundle = load_bundle(name_or_folder)
    _check_fit(bundle, classes, split_hash)
    pictures = [Picture(within(root, cell.path), cell.um_per_px) for cell in cells]
    chances = []
    for outcome in Predictor(bundle).classify(pictures):
        if isinstance(outcome, Reject):
            raise ImageError(f"{outcome.path}: {outcome.reason}")
        chances.append(outcome.probabilities)
        advance(len(chances), len(cells))
    teacher = torch.tensor(chances)[:, [bundle.classes.index(code) for code in classes]]
    return teacher / teacher.sum(dim=1, keepdim=True)


def _check_fit(bundle: Bundle, classes: Sequence[str], split_hash: str) -> None:
    if bundle.split_hash != split_hash:
        raise SettingsError(
            f"the teacher {bundle.name} learnt from another split ({bundle.split_hash[:12]}) than "
            f"this one ({split_hash[:12]}), so it may know the validation and test cells; take a "
            "teacher of the same split"
        )
    lacking = [code for code in classes if code not in bundle.classes]
    if lacking:
        raise SettingsError(
            f"the teacher {bundle.name} does not know {', '.join(lacking)}; name the classes to "
            "learn with --classes, or take another teacher"
        )
