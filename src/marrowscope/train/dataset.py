"""Cells as batches of tensors; what is random belongs to the loader, never to the data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from marrowscope.data.pack import Pack
from marrowscope.errors import ImageError
from marrowscope.images import read_image
from marrowscope.preprocess import Preprocessing
from marrowscope.records import Cell
from marrowscope.train.augment import augment

Item = tuple[Tensor, int]


class CellDataset(Dataset[Item]):
    """Pictures resized to (3, S, S) uint8, each with the index of its class."""

    def __init__(
        self,
        root: Path,
        cells: Sequence[Cell],
        classes: Sequence[str],
        preprocessing: Preprocessing,
    ) -> None:
        index_of = {code: index for index, code in enumerate(classes)}
        self._items = [(root / cell.path, index_of[cell.label]) for cell in cells]
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        path, label = self._items[index]
        try:
            pixels = self._preprocessing.resize(read_image(path))
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from None
        return torch.from_numpy(pixels.copy()), label


class PackedDataset(Dataset[Item]):
    """The same pictures out of a pack: no decoding, and no memory of its own."""

    def __init__(
        self,
        pack: Pack,
        cells: Sequence[Cell],
        classes: Sequence[str],
        preprocessing: Preprocessing,
    ) -> None:
        index_of = {code: index for index, code in enumerate(classes)}
        self._pack = pack
        self._rows = pack.rows(cells, preprocessing)
        self._labels = [index_of[cell.label] for cell in cells]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Item:
        pixels = torch.from_numpy(np.array(self._pack.pixels[self._rows[index]]))
        return pixels, self._labels[index]


class Collator:
    """Stack cells into a normalised batch, the same one every time."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing

    def __call__(self, items: Sequence[Item]) -> dict[str, Any]:
        """Give `pixel_values` (N, 3, S, S) float32 and `labels` (N,)."""
        pixels = self.view(torch.stack([pixels for pixels, _ in items]))
        return {
            "pixel_values": torch.from_numpy(self._preprocessing.normalise(pixels.numpy())),
            "labels": torch.tensor([label for _, label in items]),
        }

    def view(self, pixels: Tensor) -> Tensor:
        """Choose what is shown of (N, 3, S, S) uint8 pictures: here the pictures themselves."""
        return pixels


class AugmentingCollator(Collator):
    """Stack cells into a normalised batch of random views."""

    def __init__(self, preprocessing: Preprocessing, zoom: float, stain_jitter: float) -> None:
        super().__init__(preprocessing)
        self._zoom = zoom
        self._stain_jitter = stain_jitter

    def view(self, pixels: Tensor) -> Tensor:
        """Choose a random view of each picture."""
        return augment(pixels, self._zoom, self._stain_jitter)
