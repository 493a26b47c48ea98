"""A bundle with anything changed in it is refused as a bundle, or is one that can be used."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from descriptions import MODEL, ODD_VALUES, places, put, whole_description
from hypothesis import given, settings
from hypothesis import strategies as some
from properties import bounded
from targets import survives

from marrowscope.errors import BundleError
from marrowscope.io.hashes import file_hash
from marrowscope.model.bundle import Bundle, load_bundle, seal_tested, write_description
from marrowscope.model.novelty import Novelty
from marrowscope.model.reference_embeddings import References, write_references
from marrowscope.model.reference_images import write_pictures
from marrowscope.model.test_predictions import LabelledCells

SEALED = ("model.onnx", "references.npz", "known-cells.zip", "tested.npz")
PLACES = tuple(places(whole_description()))
MAY_BE_MISSING = re.compile(
    r"model\.file|left_out\.\w+|preprocessing\.field_um|origin\.images\..+|calibration(\.bend)?"
    r"|abstention|review|evaluation\.sets\.\w+(\.accuracy\.(low|high))?|novelty|adjustment"
)
"""Values that nothing is read from, that are named freely, or that older bundles do not have."""
anything = some.recursive(
    some.none()
    | some.booleans()
    | some.integers()
    | some.floats()
    | some.text(max_size=5)
    | some.sampled_from(ODD_VALUES),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with all its files; its network is none, as loading reads its hash alone."""
    folder = tmp_path_factory.mktemp("sealed")
    (folder / "model.onnx").write_bytes(MODEL)
    (folder / "MODEL_CARD.md").write_text("A card.")
    (folder / "bundle.json").write_text(json.dumps(whole_description()))
    bundle = load_bundle(str(folder))
    codes = bundle.classes
    known = References(np.eye(len(codes), dtype=np.float16), codes, codes)
    digest = file_hash(write_references(known, folder))
    pixels = np.zeros((3, 24, 24), np.uint8)
    pictures = write_pictures([(pixels, "mll")] * len(codes), folder, "of nobody")
    novelty = Novelty("mahalanobis", 0.1, 2.5, 0.02, 90, digest, pictures)
    chances = np.eye(len(codes), dtype=np.float16)
    cells = LabelledCells(chances, codes, ("mll",) * len(codes), tuple(range(len(codes))))
    novel = replace(bundle, novelty=novelty)
    write_description(novel)
    seal_tested(novel, cells, "mll")
    return load_bundle(str(folder))


@contextmanager
def changed(file: Path, content: bytes) -> Iterator[None]:
    """Let a file have another content for a while."""
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(before)


@pytest.mark.parametrize("name", SEALED)
@settings(bounded, max_examples=40)
@given(data=some.data())
def test_any_change_of_a_sealed_file_is_refused(
    sealed: Bundle, name: str, data: some.DataObject
) -> None:
    file = sealed.folder / name
    content = bytearray(file.read_bytes())
    place = data.draw(some.integers(0, len(content) - 1))
    content[place] ^= data.draw(some.integers(1, 255))
    with changed(file, bytes(content)), pytest.raises(BundleError, match=name):
        load_bundle(str(sealed.folder))
    with changed(file, bytes(content[:place])), pytest.raises(BundleError, match=name):
        load_bundle(str(sealed.folder))


@pytest.mark.parametrize("name", ["bundle.json", "MODEL_CARD.md", *SEALED])
def test_a_bundle_without_one_of_its_files_is_refused(
    sealed: Bundle, name: str, tmp_path: Path
) -> None:
    shutil.copytree(sealed.folder, tmp_path / "b")
    (tmp_path / "b" / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(str(tmp_path / "b"))


@settings(bounded, max_examples=300)
@given(place=some.sampled_from(PLACES), value=anything)
def test_any_value_in_a_description_is_refused_or_can_be_used(
    place: tuple[str | int, ...], value: Any
) -> None:
    description = whole_description()
    put(description, place, value)
    assert survives("bundle", json.dumps(description).encode()) in {"read", "BundleError"}


def test_a_value_that_is_missing_is_refused_unless_it_may_be() -> None:
    for place in PLACES:
        description = whole_description()
        within: Any = description
        for key in place[:-1]:
            within = within[key]
        if isinstance(within, list):
            continue
        del within[place[-1]]
        outcome = survives("bundle", json.dumps(description).encode())
        may = MAY_BE_MISSING.fullmatch(".".join(map(str, place)))
        assert outcome == ("read" if may else "BundleError"), place


@settings(bounded, max_examples=100)
@given(content=some.binary(max_size=80))
def test_no_content_of_a_description_breaks_the_loader(content: bytes) -> None:
    assert survives("bundle", content) == "BundleError"
    assert survives("bundle", b'{"format": 1, ' + content) == "BundleError"
