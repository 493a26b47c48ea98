"""What is fuzzed: readers of files that strangers may have made, each from bytes to an outcome.

A target returns or raises a MarrowscopeError, `container` also the OSError that it promises;
anything else is a finding.
"""

import io
import itertools
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from descriptions import MODEL, changed_description

from marrowscope.cases.case import read_case
from marrowscope.cases.reviews import read_decisions
from marrowscope.data.manifest import read_cells
from marrowscope.detection import field as field_module
from marrowscope.detection.boxes import read_boxes
from marrowscope.detection.field import Field, open_field
from marrowscope.detection.slides import LargeTiff
from marrowscope.errors import MarrowscopeError
from marrowscope.io.archives import pictures_of, read_content
from marrowscope.io.images import LARGEST, decode_image
from marrowscope.model.bundle import load_bundle
from marrowscope.model.reference_embeddings import read_references
from marrowscope.model.reference_images import read_pictures
from marrowscope.model.test_predictions import read_tested
from marrowscope.web.archives import Member
from marrowscope.web.settings import MIB, Limits
from marrowscope.web.uploads import Incoming, keep_each

SMALL = Limits(files=50, picture_bytes=MIB, unpacked_bytes=4 * MIB)
"""Limits of an upload: small, so that a case of the fuzzer is done in milliseconds."""
KNOWN_CELLS = 3
"""Pictures in the `known-cells.zip` of the seeds."""
CLASSES = ("BLA", "NGS", "LYT")
"""Classes of the `tested.npz` of the seeds."""
MOST_PIXELS = 4_000_000
"""Pixels of a field that is decoded; larger ones cost the fuzzer its time, not its memory."""
LARGE, PLAIN = b"L", b"P"
"""First byte of a field's case: read piece by piece, or as it comes."""
NUMBERS = itertools.count()
"""So that no two cases have a file in common: containers are kept open by name and time."""


def image(content: bytes) -> None:
    """The picture of one cell."""
    picture = decode_image(content)
    if picture.mode != "RGB" or max(picture.size) > LARGEST:
        raise AssertionError(picture)


def upload(content: bytes) -> None:
    """A picture or zip archive dropped into the reading room."""
    incoming = Incoming("dropped", cast(BinaryIO, io.BytesIO(content)))
    sizes: list[int] = []

    def keep(member: Member) -> int:
        sizes.append(len(member.content))
        return len(sizes)

    keep_each((incoming,), SMALL, keep, lambda done, total: done <= total)
    if max(sizes, default=0) > SMALL.picture_bytes or sum(sizes) > SMALL.unpacked_bytes:
        raise AssertionError(sizes)


def container(content: bytes) -> None:
    """A zip or tar archive of pictures; the first byte says which."""
    with _as_file(content[1:], ".tar" if content[:1] == b"T" else ".zip") as file:
        try:
            for location in itertools.islice(pictures_of(file), 20):
                _read(cast(Path, location))
        except OSError:
            return


def _read(location: Path) -> None:
    try:
        read_content(location)
    except OSError:
        return


def bundle(content: bytes) -> None:
    """The `bundle.json` of a bundle whose model is as it should be.

    `@` and two bytes name a value of a whole one, the JSON after them is put in its place.
    """
    with _folder() as folder:
        (folder / "model.onnx").write_bytes(MODEL)
        (folder / "MODEL_CARD.md").write_text("A card.")
        changed = changed_description(content[1:]) if content[:1] == b"@" else content
        (folder / "bundle.json").write_bytes(changed)
        _use(folder)


def _use(folder: Path) -> None:
    """Ask a bundle for all that `classify` asks of it before a cell is read."""
    loaded = load_bundle(str(folder))
    classes = len(loaded.classes)
    zeros = np.zeros((1, classes), np.float64)
    loaded.scaling.apply(zeros)
    loaded.preprocessing.normalise(np.zeros((3, 2, 2), np.uint8))
    loaded.preprocessing.check_scale(0.1)
    if loaded.abstention is not None:
        loaded.sets.sets(zeros, 0.9)
    if loaded.novelty is not None:
        loaded.novelty.is_novel(0.5)
    texts = (loaded.name, loaded.licence, loaded.evaluation_in_words, *loaded.files)
    if not all(isinstance(text, str) for text in texts):
        raise AssertionError(texts)
    loaded.learnt_from_one_source  # noqa: B018 - it must not raise


def arrays(content: bytes) -> None:
    """A `references.npz` or `tested.npz`; the first byte says which."""
    with _as_file(content[1:], ".npz") as file:
        if content[:1] == b"R":
            read_references(file)
        else:
            read_tested(file, CLASSES)


def known_cells(content: bytes) -> None:
    """A `known-cells.zip`."""
    with _as_file(content, ".zip") as file:
        read_pictures(file, KNOWN_CELLS)


def field(content: bytes) -> None:
    """A whole field; the first byte says whether it is read piece by piece."""
    with _as_file(content[1:], ".tif") as file:
        _look(_opened(file, 0 if content[:1] == LARGE else field_module.LARGEST_PLAIN))


def _opened(file: Path, largest_plain: int) -> Field:
    """Open a field as if plain ones had at most so many pixels."""
    before, field_module.LARGEST_PLAIN = field_module.LARGEST_PLAIN, largest_plain
    try:
        return open_field(file)
    finally:
        field_module.LARGEST_PLAIN = before


def _look(opened: Field) -> None:
    """Read the corners of a field, and the middle."""
    width, height = opened.width, opened.height
    if width * height > MOST_PIXELS and isinstance(opened, LargeTiff):
        return
    side = min(width, height, 64)
    for x, y in ((0, 0), (width - side, height - side), ((width - side) // 2, 0)):
        part = opened.read(x, y, x + side, y + side)
        if part.shape != (side, side, 3) or part.dtype != np.uint8:
            raise AssertionError(part.shape)


def case(content: bytes) -> None:
    """A `case.toml`."""
    with _as_file(content, ".toml") as file:
        read_case(file)


def tables(content: bytes) -> None:
    """A manifest, `boxes.csv` or `reviews.csv`; the first byte says which."""
    if b"://" in content:
        return
    with _as_file(content[1:], ".csv") as file:
        READERS.get(content[:1], _read_manifest)(file)


def manifest(content: bytes) -> None:
    """A manifest or pictures with labels in Parquet."""
    with _as_file(content, ".parquet") as file:
        _read_manifest(file)


def _read_manifest(file: Path) -> None:
    _, cells = read_cells(file)
    for _ in itertools.islice(cells, 1000):
        pass


READERS: dict[bytes, Callable[[Path], object]] = {
    b"M": _read_manifest,
    b"B": read_boxes,
    b"D": read_decisions,
}
"""How a table is read, by the first byte of its case."""

TARGETS: dict[str, Callable[[bytes], None]] = {
    "image": image,
    "upload": upload,
    "container": container,
    "bundle": bundle,
    "arrays": arrays,
    "known-cells": known_cells,
    "field": field,
    "case": case,
    "tables": tables,
    "manifest": manifest,
}
"""By name."""


def survives(target: str, content: bytes) -> str:
    """Run a target; say what came of it: `read`, or the name of the error that was raised."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TARGETS[target](content)
    except MarrowscopeError as error:
        return type(error).__name__
    finally:
        logging.disable(logging.NOTSET)
    return "read"


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        yield Path(folder)


@contextmanager
def _as_file(content: bytes, suffix: str) -> Iterator[Path]:
    with _folder() as folder:
        file = folder / f"{next(NUMBERS)}{suffix}"
        file.write_bytes(content)
        yield file
