"""A page that shows what augmentation does to real cells."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from marrowscope import __version__
from marrowscope.data.manifest import Manifest
from marrowscope.io.tables import write_text
from marrowscope.rendering import render, thumbnail
from marrowscope.taxonomy import CLASSES
from marrowscope.train.augment import augment, draw
from marrowscope.train.dataset import CellDataset
from marrowscope.train.fit import resolved
from marrowscope.train.settings import TrainSettings
from marrowscope.train.style_transfer import looks_of
from marrowscope.types import Cell

PICTURE_PIXELS = 160


@dataclass(frozen=True)
class Row:
    """A cell as the network would see it, and random views of it: JPEG in base64."""

    cell: Cell
    plain: str
    views: list[str]


def preview(
    manifest: Manifest, settings: TrainSettings, file: Path, *, cells: int = 12, views: int = 6
) -> list[Row]:
    """Write a page with some cells, one of each class and source first, and their random views.

    Raises:
        ImageError: a chosen cell cannot be read.
    """
    settings, preprocessing = resolved(settings)
    chosen = _choose(manifest.cells, cells, settings.seed)
    rows = []
    dataset = CellDataset(manifest.root, chosen, tuple(CLASSES), preprocessing)
    lent = looks_of(dataset, settings.seed)
    for place, cell in enumerate(chosen):
        pixels = dataset[place][0]
        drawn = [draw(settings, epoch, [place]) for epoch in range(views)]
        shown = [augment(pixels[None], view, lent)[0].numpy() for view in drawn]
        rows.append(Row(cell, _picture(pixels.numpy()), [_picture(view) for view in shown]))
    text = render(
        "preview.html.j2",
        rows=rows,
        settings={name: getattr(settings, name) for name in SHOWN},
        classes=CLASSES,
        version=__version__,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
    return rows


SHOWN = (
    *("rotation", "flips", "zoom", "shift", "stain_jitter", "stain_swap", "sharpness_swap"),
    *("colour_jitter", "blur", "jpeg", "seed"),
)
"""Settings that the page names."""


def _choose(cells: Iterable[Cell], limit: int, seed: int) -> list[Cell]:
    """Choose cells at random, as many different classes and sources as there is room for."""
    shuffled = list(cells)
    random.Random(seed).shuffle(shuffled)
    chosen_of: dict[tuple[str, str], int] = {}
    ranked = []
    for cell in shuffled:
        kind = (cell.label, cell.source)
        chosen_of[kind] = chosen_of.get(kind, 0) + 1
        ranked.append((chosen_of[kind], cell))
    ranked.sort(key=lambda pair: pair[0])
    return [cell for _, cell in ranked[:limit]]


def _picture(pixels: np.ndarray) -> str:
    return thumbnail(Image.fromarray(pixels.transpose(1, 2, 0)), PICTURE_PIXELS)
