"""Cells as batches of tensors; what is random belongs to the training, never to the data."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from marrowscope.data.pack import Pack
from marrowscope.errors import ImageError
from marrowscope.io.images import read_image
from marrowscope.locations import within
from marrowscope.model.preprocess import Preprocessing
from marrowscope.types import Cell, Picture

Item = tuple[Tensor, int, int]
"""An image (3, S, S) uint8, the index of its class, and its number.

The number is its place in the data, or a multiple of the number of cells more: a cell that is drawn
several times in an epoch has another number, and so another random view, each time.
"""


class CellDataset(Dataset[Item]):
    """Pictures that are decoded and resized whenever they are asked for.

    Raises:
        ImageError: the picture that is asked for cannot be read; the message names it.
    """

    def __init__(
        self,
        root: Path,
        cells: Sequence[Cell],
        classes: Sequence[str],
        preprocessing: Preprocessing,
    ) -> None:
        self.labels = indices_of(cells, classes)
        self.sources = [cell.source for cell in cells]
        self._pictures = [Picture(within(root, cell.path), cell.um_per_px) for cell in cells]
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> Item:
        place = index % len(self)
        file, um_per_px, _ = self._pictures[place]
        try:
            pixels = self._preprocessing.resize(read_image(file), um_per_px)
        except ImageError as error:
            raise ImageError(f"{file}: {error}") from None
        return torch.from_numpy(pixels.copy()), int(self.labels[place]), index


class PackedDataset(Dataset[Item]):
    """The same pictures out of a pack: no decoding, and no memory of its own.

    Raises:
        PackError: the pack lacks a cell, or was made for another preprocessing.
    """

    def __init__(
        self,
        pack: Pack,
        cells: Sequence[Cell],
        classes: Sequence[str],
        preprocessing: Preprocessing,
    ) -> None:
        self.labels = indices_of(cells, classes)
        self.sources = [cell.source for cell in cells]
        self._pack = pack
        self._rows = pack.rows(cells, preprocessing)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Item:
        place = index % len(self)
        pixels = torch.from_numpy(np.array(self._pack.pixels[self._rows[place]]))
        return pixels, int(self.labels[place]), index


def indices_of(cells: Sequence[Cell], classes: Sequence[str]) -> NDArray[np.int64]:
    """Give the index of each cell's class in the class list: (N,)."""
    index_of = {code: index for index, code in enumerate(classes)}
    return np.array([index_of[cell.label] for cell in cells], dtype=np.int64)


def stack(items: Sequence[Item]) -> dict[str, Tensor]:
    """Stack items into `pixels` (N, 3, S, S) uint8, `labels` (N,) and `cells` (N,)."""
    pixels, labels, cells = zip(*items, strict=True)
    return {
        "pixels": torch.stack(pixels),
        "labels": torch.tensor(labels),
        "cells": torch.tensor(cells),
    }


class EpochSampler(Sampler[int]):
    """The order of cells, which depends on the seed and the epoch alone."""

    def __init__(
        self, weights: NDArray[np.float64] | None, count: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        """Shuffle `count` cells, or draw as many by `weights` (N,) with replacement."""
        self._weights = weights
        self._count = count
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng((self._seed, self._epoch()))
        if self._weights is None:
            order = random.permutation(self._count)
        else:
            order = _numbered(random.choice(self._count, self._count, p=self._weights))
        return iter(order.tolist())


def _numbered(places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add the number of cells to a place for each time that it was there before.

    Of the four places 2, 0, 2, 2 they are 2, 0, 6, 10.
    """
    times = Counter[int]()
    numbers = np.empty_like(places)
    for index, place in enumerate(places.tolist()):
        numbers[index] = place + times[place] * len(places)
        times[place] += 1
    return numbers
