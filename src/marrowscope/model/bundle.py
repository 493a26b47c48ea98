"""The bundle: a model and everything needed to use it and to judge it, in one folder."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from marrowscope.errors import BundleError, UnknownClassError
from marrowscope.io.hashes import file_hash
from marrowscope.io.tables import write_json
from marrowscope.model.metadata import (
    ALL_FILES,
    DESCRIPTION,
    FAILURES,
    FILES,
    MODEL,
    Description,
    description_of,
)
from marrowscope.model.reference_embeddings import REFERENCES, References, read_references
from marrowscope.model.reference_images import PICTURES, KnownPicture, read_pictures
from marrowscope.model.signature import SIGNATURE, check_signature, trusted_keys
from marrowscope.model.test_predictions import (
    TESTED,
    Adjustment,
    LabelledCells,
    cells_by_source,
    read_tested,
    to_correct_with,
    write_tested,
)

SHIPPED = {name: Path(__file__).parents[1] / "bundles" / name for name in ("default", "fast")}
"""Bundles that come with the package, by name: the best one, and a quick one."""


@dataclass(frozen=True, kw_only=True)
class Bundle(Description):
    """A described model in its folder."""

    folder: Path
    sha256: str = ""
    """Of the whole bundle as it was loaded, by `digest`; empty while it is being made."""

    @property
    def identity(self) -> dict[str, str]:
        """Name, digest and the digest of the model alone, as results say them."""
        return {"name": self.name, "sha256": self.sha256, "model_sha256": self.model_sha256}

    @property
    def model_file(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL


def load_bundle(name_or_folder: str, sha256: str = "") -> Bundle:
    """Load a shipped bundle by name, or one from its folder, and check that it is whole.

    With a `sha256`, it must be the bundle with this digest. Where `MARROWSCOPE_TRUSTED_KEYS` names
    public keys, one of them must have signed it.

    Raises:
        BundleError: it is not whole, not the bundle demanded, or not signed as demanded, or a
            public key cannot be read.
        MissingExtraError: the library that checks signatures is not installed.
    """
    bundle = whole_bundle(name_or_folder, sha256)
    if keys := trusted_keys():
        check_signature(bundle.folder, bundle.sha256, keys)
    return bundle


def whole_bundle(name_or_folder: str, sha256: str = "") -> Bundle:
    """Load a bundle as `load_bundle` does, whoever signed it.

    Raises:
        BundleError: no such bundle, a file is missing, was changed or is not of the bundle,
            `bundle.json` cannot be read or names an unknown class, or it is not the one demanded.
    """
    folder = SHIPPED.get(name_or_folder, Path(name_or_folder))
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise BundleError(
            f"{name_or_folder}: not a bundle (no {', '.join(missing)}); give the folder that "
            f"`marrowscope export` wrote, or one of the names {', '.join(SHIPPED)}"
        )
    bundle = _read(folder)
    _check_nothing_else(bundle)
    hashes = _hashes(bundle)
    _check_described(bundle, hashes)
    whole = replace(bundle, sha256=_digest(hashes))
    _check_demanded(whole, sha256)
    return whole


def digest(bundle: Bundle) -> str:
    """Give the SHA-256 of a whole bundle as it is now: of what `sha256sum` writes for its files.

    The lines are in the order of the names, each with its newline, as in
    `<64 digits>  MODEL_CARD.md`. A terminal tells the same: `LC_ALL=C; sha256sum * | sha256sum`,
    where there is no signature.

    Raises:
        BundleError: a file is not there, or cannot be read.
    """
    return _digest(_hashes(bundle))


def _digest(hashes: Mapping[str, str]) -> str:
    lines = (f"{hashes[name]}  {name}\n" for name in sorted(hashes))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _hashes(bundle: Bundle) -> dict[str, str]:
    """SHA-256 of each file of a bundle, by name.

    Raises:
        BundleError: one is not there.
    """
    try:
        return {name: file_hash(bundle.folder / name) for name in bundle.files}
    except OSError as error:
        raise BundleError(
            f"{error.filename} cannot be read ({error.strerror}), and {DESCRIPTION} describes it; "
            "fetch or export the bundle again"
        ) from None


def _read(folder: Path) -> Bundle:
    file = folder / DESCRIPTION
    try:
        description = description_of(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, RecursionError, ValueError) as error:
        raise BundleError(f"{file} cannot be read: {error}") from None
    except (BundleError, UnknownClassError) as error:
        raise BundleError(f"{file}: {error}") from None
    return Bundle(folder=folder, **vars(description))


def _check_nothing_else(bundle: Bundle) -> None:
    """Check that nothing lies in the folder that no hash covers: weights may lie beside a model.

    Raises:
        BundleError: something does.
    """
    described = {*bundle.files, SIGNATURE}
    strange = sorted(path.name for path in bundle.folder.iterdir() if path.name not in described)
    if strange:
        raise BundleError(
            f"{bundle.folder} holds what is not of the bundle: {', '.join(strange)}; remove it, or "
            "fetch or export the bundle again"
        )


def _check_described(bundle: Bundle, hashes: Mapping[str, str]) -> None:
    """Check that the files are those that `bundle.json` describes.

    Raises:
        BundleError: one was changed.
    """
    described = {MODEL: bundle.model_sha256}
    if bundle.novelty:
        described[REFERENCES] = bundle.novelty.references_sha256
        if bundle.novelty.pictures:
            described[PICTURES] = bundle.novelty.pictures.sha256
    if bundle.adjustment:
        described[TESTED] = bundle.adjustment.tested_sha256
    if bundle.failures:
        described[FAILURES] = bundle.failures["sha256"]
    for name, expected in described.items():
        if hashes[name] != expected:
            raise BundleError(
                f"{bundle.folder / name} is not what {DESCRIPTION} describes (hash "
                f"{hashes[name][:12]}, expected {expected[:12]}); fetch or export the bundle again"
            )


def _check_demanded(bundle: Bundle, sha256: str) -> None:
    """Check that a bundle is the one that was asked for, if one was.

    Raises:
        BundleError: it is another.
    """
    if sha256 and sha256.lower() != bundle.sha256:
        raise BundleError(
            f"{bundle.folder} is not the bundle demanded (SHA-256 {bundle.sha256}, demanded "
            f"{sha256}); give that bundle, or leave --bundle-sha256 away"
        )


def load_references(bundle: Bundle) -> References:
    """Load the known cells of a bundle that has a `novelty`.

    Raises:
        BundleError: the file cannot be read, or holds something else, cells of a class that is
            not the bundle's, or not as many cells as there are pictures.
    """
    references = read_references(bundle.folder / REFERENCES)
    strange = sorted(set(references.labels) - set(bundle.classes))
    if strange:
        raise BundleError(
            f"{bundle.folder / REFERENCES} has cells of {', '.join(strange)}; the bundle covers "
            f"{', '.join(bundle.classes)}: fetch or export it again"
        )
    pictures = bundle.novelty and bundle.novelty.pictures
    if pictures and pictures.cells != len(references.labels):
        raise BundleError(
            f"{bundle.folder / REFERENCES} has {len(references.labels)} cells, but {DESCRIPTION} "
            f"tells of pictures of {pictures.cells}: fetch or export the bundle again"
        )
    return references


def load_pictures(bundle: Bundle) -> tuple[KnownPicture, ...]:
    """Load the pictures of a bundle's known cells, in the order of its references.

    It is empty where the bundle keeps none, as older ones do.

    Raises:
        BundleError: the file cannot be read, or holds something else.
    """
    told = bundle.novelty and bundle.novelty.pictures
    return read_pictures(bundle.folder / PICTURES, told.cells) if told else ()


def load_tested(bundle: Bundle) -> LabelledCells:
    """Load the test cells of a bundle that has an `adjustment`.

    Raises:
        BundleError: the file cannot be read, or holds something else.
    """
    return read_tested(bundle.folder / TESTED, bundle.classes)


def write_description(bundle: Bundle) -> None:
    """Write `bundle.json`; remove files that the bundle has no more, and an earlier signature."""
    write_json(bundle.folder / DESCRIPTION, bundle.as_dict())
    for name in {*ALL_FILES, SIGNATURE} - {*bundle.files}:
        (bundle.folder / name).unlink(missing_ok=True)


def seal_evaluation(bundle: Bundle, evaluation: Mapping[str, Any]) -> Bundle:
    """Give the bundle with its test figures, and write them into `bundle.json`."""
    sealed = replace(bundle, evaluation=dict(evaluation))
    write_description(sealed)
    return sealed


def seal_tested(
    bundle: Bundle, tested: LabelledCells, reference: str, set_aside: int = 0
) -> Bundle:
    """Give the bundle with test cells to correct shares with; write them and `bundle.json`.

    Of each class of which the source `reference` has enough cells, only these are kept; `set_aside`
    are those that were left out before, as unlike the known ones.
    """
    predictions = to_correct_with(tested, reference)
    sha256 = file_hash(write_tested(predictions, bundle.folder))
    adjustment = Adjustment(reference, cells_by_source(predictions), set_aside, sha256)
    sealed = replace(bundle, adjustment=adjustment)
    write_description(sealed)
    return sealed
