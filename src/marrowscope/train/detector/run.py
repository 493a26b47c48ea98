"""Train a detector on a folder of fields with boxes, and write it as `find-cells` loads it."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from marrowscope import __version__
from marrowscope.detection.boxes import BOXES, read_boxes
from marrowscope.detection.field import open_field
from marrowscope.detection.stain import UM_PER_PX
from marrowscope.errors import FieldError, TrainingError
from marrowscope.io.hashes import file_hash
from marrowscope.io.tables import prepare_folder
from marrowscope.train.detector.copy_paste import Cutout
from marrowscope.train.detector.data import cut_cells, look_of, looks_scales, read_scene
from marrowscope.train.detector.export import export_finder
from marrowscope.train.detector.fit import FinderSettings, fit_finder
from marrowscope.train.detector.network import KINDS
from marrowscope.train.detector.scenes import Scene

LEAST_SCORE = 0.5
"""Score from which a box counts as a cell; it is not tuned."""
CELL_KIND = KINDS.index("WBC")


@dataclass(frozen=True)
class DetectorData:
    """What a detector is trained on."""

    boxes_sha256: str
    """Hash of `boxes.csv`."""
    scenes: tuple[Scene, ...]
    """The fields with their boxes, at 0.25 um per pixel."""
    cells: tuple[Cutout, ...] = ()
    """Single cells, to be laid onto the fields."""
    left_out: int = 0
    """Images of single cells that could not be cut out."""

    @property
    def boxes(self) -> dict[str, int]:
        """Boxes of each kind."""
        counts = Counter(KINDS[kind] for scene in self.scenes for kind in scene.kinds.tolist())
        return {kind: counts[kind] for kind in KINDS}

    def as_dict(self) -> dict[str, Any]:
        """Give the counts as `finder.json` holds them."""
        return {
            "boxes_sha256": self.boxes_sha256,
            "fields": len(self.scenes),
            "boxes": self.boxes,
            "cells": len(self.cells),
            "cells_left_out": self.left_out,
        }


@dataclass(frozen=True)
class TrainedDetector:
    """A detector on disk, what it was trained on, and how the training ended."""

    folder: Path
    data: DetectorData
    settings: FinderSettings
    loss: float
    """Mean loss of the last tenth of the steps."""

    def as_dict(self) -> dict[str, Any]:
        """Give the outcome as plain values."""
        return {
            "folder": str(self.folder),
            "trained_on": self.data.as_dict(),
            "settings": asdict(self.settings),
            "loss": self.loss,
        }


def read_detector_data(
    fields: Path,
    *,
    um_per_px: float | None = None,
    without: str = "",
    cells: Sequence[Path] = (),
    cells_um_per_px: float = UM_PER_PX,
) -> DetectorData:
    """Read the fields that `boxes.csv` in their folder names, and images of single cells.

    Without `um_per_px`, fields of one size in pixels share the scale that their red cells tell.
    Fields of the size `without`, such as `640x480`, are left out: the detector can be measured on
    them.

    Raises:
        FieldError: `boxes.csv` or a field cannot be read, a label is unknown, the red cells do not
            tell the scale, or no field has the size `without`.
        TrainingError: no nucleated cell is left to learn from.
        MissingExtraError: a field is a slide, and what opens it is not installed.
    """
    boxes = read_boxes(fields / BOXES)
    if um_per_px:
        sizes = {name: look_of(open_field(fields / name)) for name in boxes}
        scales = dict.fromkeys(sizes.values(), um_per_px)
    else:
        sizes, scales = looks_scales(fields, boxes)
    if without and without not in scales:
        raise FieldError(
            f"no field in {fields} has the size {without}; their sizes are {', '.join(scales)}"
        )
    scenes = tuple(
        read_scene(fields / name, field_boxes, scales[sizes[name]])
        for name, field_boxes in boxes.items()
        if sizes[name] != without
    )
    if not any(CELL_KIND in scene.kinds for scene in scenes):
        raise TrainingError(
            f"{fields / BOXES} has no box labelled {KINDS[CELL_KIND]} on the fields to train on; "
            "draw a box around each nucleated cell"
        )
    cutouts, left_out = cut_cells(cells, cells_um_per_px)
    return DetectorData(file_hash(fields / BOXES), scenes, tuple(cutouts), left_out)


def train_detector(
    data: DetectorData,
    folder: Path,
    settings: FinderSettings | None = None,
    *,
    overwrite: bool = False,
    threads: int = 0,
    facts: dict[str, Any] | None = None,
    advance: Callable[[int, float], None] = lambda _step, _loss: None,
) -> TrainedDetector:
    """Train a detector and write `model.onnx` and `finder.json`; an interrupted one starts anew.

    `facts` are written into `finder.json` too. `advance` gets each step and its loss. The same
    data, settings and threads give the same weights on one machine.

    Raises:
        TrainingError: the loss is no number.
        ExportError: the written model differs from the trained one.
        OutputError: the folder cannot be used.
    """
    settings = settings or FinderSettings()
    prepare_folder(folder, overwrite)
    torch.set_num_threads(threads or os.cpu_count() or 1)
    losses: list[float] = []

    def hear(step: int, loss: float) -> None:
        losses.append(loss)
        advance(step, loss)

    network = fit_finder(data.scenes, data.cells, settings, hear)
    last = losses[-max(1, len(losses) // 10) :]
    outcome = TrainedDetector(folder, data, settings, sum(last) / len(last))
    about = {
        "about": "Finds nucleated cells, red cells and platelets on stained fields",
        "um_per_px": UM_PER_PX,
        "least_score": LEAST_SCORE,
        "trained_on": data.as_dict(),
        **asdict(settings),
        "loss": outcome.loss,
        "marrowscope": __version__,
        "use": "research use only",
    }
    export_finder(network, folder, about | (facts or {}))
    return outcome
