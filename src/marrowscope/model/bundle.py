"""The bundle: a model and everything needed to use it and to judge it, in one folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from marrowscope.errors import BundleError, UnknownClassError
from marrowscope.files.hashes import file_hash
from marrowscope.files.results import write_json
from marrowscope.labels import cell_class
from marrowscope.model.allowed import check_description
from marrowscope.model.known_pictures import PICTURES, KnownPicture, pictures_of, read_pictures
from marrowscope.model.novelty import Novelty
from marrowscope.model.preprocess import Preprocessing
from marrowscope.model.references import REFERENCES, References, read_references
from marrowscope.statistics.abstention import Abstention, abstention_of
from marrowscope.statistics.calibration import Calibration, uncalibrated
from marrowscope.statistics.selective import Threshold, thresholds_of
from marrowscope.statistics.tested import (
    TESTED,
    Adjustment,
    LabelledCells,
    adjustment_of,
    cells_by_source,
    read_tested,
    to_correct_with,
    write_tested,
)

FORMAT = 1
DESCRIPTION, MODEL, CARD = "bundle.json", "model.onnx", "MODEL_CARD.md"
FAILURES = "failures.jpg"
FILES = (CARD, DESCRIPTION, MODEL)
"""The files that every bundle has; one with a `novelty` has `references.npz` besides and, with
pictures of these cells, `known-cells.zip`, one with an `adjustment` `tested.npz`, one that was
evaluated and errs `failures.jpg`."""

SHIPPED = {"default": Path(__file__).parents[1] / "bundles" / "default"}
"""Bundles that come with the package, by name."""


@dataclass(frozen=True)
class Bundle:
    """What `bundle.json` says; the model itself lies beside it."""

    folder: Path
    name: str
    classes: tuple[str, ...]
    """Codes of the covered classes, in the order of the model's outputs."""
    left_out: dict[str, str]
    """Codes of the classes not covered, each with the reason."""
    preprocessing: Preprocessing
    model_sha256: str
    precision: str
    """How the weights are stored: `fp32` or `int8`."""
    split_hash: str
    """Seal of the split that the model was trained on."""
    licence: str
    origin: dict[str, Any]
    """Training settings, library versions, image counts, attribution, agreement at export."""
    calibration: Calibration | None = None
    """What is done to logits before they become probabilities; None for nothing."""
    abstention: Abstention | None = None
    """Scores of validation cells, for sets of classes; None in bundles that are older than it."""
    review: tuple[Threshold, ...] = ()
    """From which confidence on few enough validation cells were wrong."""
    evaluation: dict[str, Any] | None = None
    """Summary of the test figures, sealed by `evaluate`; None before."""
    novelty: Novelty | None = None
    """From where on a cell is unlike the known ones; None where the bundle has no known cells."""
    adjustment: Adjustment | None = None
    """Test cells that shares are corrected with, sealed by `evaluate`; None before."""

    @property
    def model_file(self) -> Path:
        """The ONNX file."""
        return self.folder / MODEL

    @property
    def files(self) -> tuple[str, ...]:
        """The exact files of the bundle."""
        more = {
            REFERENCES: self.novelty,
            PICTURES: self.novelty and self.novelty.pictures,
            TESTED: self.adjustment,
            FAILURES: self.failures,
        }
        return (*FILES, *(name for name, there in more.items() if there))

    @property
    def failures(self) -> dict[str, Any] | None:
        """What the picture of its surest mistakes shows; None where there is none."""
        return (self.evaluation or {}).get("failures")

    @property
    def scaling(self) -> Calibration:
        """The calibration, or one that changes nothing."""
        return self.calibration or uncalibrated(len(self.classes))

    @property
    def sets(self) -> Abstention:
        """What makes sets of classes.

        Raises:
            BundleError: the bundle is older than such sets.
        """
        if self.abstention is None:
            raise BundleError(
                f"the bundle {self.name} has no scores of validation cells to make sets of classes "
                "from; export its run again with this marrowscope, or leave --coverage away"
            )
        return self.abstention

    @property
    def learnt_from_one_source(self) -> dict[str, list[str]]:
        """Codes by source of the classes that were learnt from it alone; none if there is but one.

        Cells of such a class may not be recognised in pictures of another source.
        """
        cells_of: dict[str, dict[str, int]] = self.origin["images"]
        sources = [name.removeprefix("train ") for name in cells_of if name.startswith("train ")]
        alone: dict[str, list[str]] = {}
        for code in self.classes if len(sources) > 1 else ():
            known = [source for source in sources if cells_of[f"train {source}"].get(code)]
            if len(known) == 1:
                alone.setdefault(known[0], []).append(code)
        return alone

    @property
    def evaluation_in_words(self) -> str:
        """Say how far the bundle's figures can be known."""
        if self.evaluation is None:
            return f"The bundle {self.name} has not been evaluated: how often it errs is unknown."
        sets = (
            f"accuracy {figures['accuracy']['value']:.3f} on {figures['cells']:,} cells of {name}"
            for name, figures in self.evaluation["sets"].items()
        )
        return (
            f"The bundle {self.name} on its test cells: {'; '.join(sets)}. "
            f"Split by groups of: {self.evaluation['grouped_by']}."
        )


def class_list_hash(classes: Sequence[str]) -> str:
    """SHA-256 of the class codes in their order."""
    return hashlib.sha256(",".join(classes).encode()).hexdigest()


def load_bundle(name_or_folder: str) -> Bundle:
    """Load a shipped bundle by name, or one from its folder, and check that it is whole.

    Raises:
        BundleError: no such bundle, a file is missing or was changed, or a class is unknown.
    """
    folder = SHIPPED.get(name_or_folder, Path(name_or_folder))
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise BundleError(
            f"{name_or_folder}: not a bundle (no {', '.join(missing)}); give the folder that "
            f"`marrowscope export` wrote, or one of the names {', '.join(SHIPPED)}"
        )
    try:
        bundle = _from_dict(folder, json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")))
    except (OSError, RecursionError, ValueError) as error:
        raise BundleError(f"{folder / DESCRIPTION} cannot be read: {error}") from None
    except UnknownClassError as error:
        raise BundleError(f"{folder / DESCRIPTION}: {error}") from None
    found = file_hash(bundle.model_file)
    if found != bundle.model_sha256:
        raise BundleError(
            f"{bundle.model_file} is not the model that {DESCRIPTION} describes (hash "
            f"{found[:12]}, expected {bundle.model_sha256[:12]}); fetch or export the bundle again"
        )
    if bundle.novelty:
        _check_file(folder / REFERENCES, bundle.novelty.references_sha256)
        if bundle.novelty.pictures:
            _check_file(folder / PICTURES, bundle.novelty.pictures.sha256)
    if bundle.adjustment:
        _check_file(folder / TESTED, bundle.adjustment.tested_sha256)
    return bundle


def load_references(bundle: Bundle) -> References:
    """Load the known cells of a bundle that has a `novelty`.

    Raises:
        BundleError: the file cannot be read, holds cells of a class that is not the bundle's, or
            not as many cells as there are pictures.
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


def _check_file(file: Path, expected: str) -> None:
    """Check that cells kept beside the model are those that `bundle.json` describes.

    Raises:
        BundleError: they are missing or were changed.
    """
    found = file_hash(file) if file.is_file() else "no file"
    if found != expected:
        raise BundleError(
            f"{file} does not hold the cells that {DESCRIPTION} describes (hash {found[:12]}, "
            f"expected {expected[:12]}); fetch or export the bundle again"
        )


def write_description(bundle: Bundle) -> None:
    """Write `bundle.json` into the bundle's folder."""
    write_json(bundle.folder / DESCRIPTION, _to_dict(bundle))


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
    kept = to_correct_with(tested, reference)
    sha256 = file_hash(write_tested(kept, bundle.folder))
    adjustment = Adjustment(reference, cells_by_source(kept), set_aside, sha256)
    sealed = replace(bundle, adjustment=adjustment)
    write_description(sealed)
    return sealed


def _to_dict(bundle: Bundle) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": bundle.name,
        "licence": bundle.licence,
        "model": {
            "file": MODEL,
            "sha256": bundle.model_sha256,
            "precision": bundle.precision,
        },
        "classes": list(bundle.classes),
        "classes_sha256": class_list_hash(bundle.classes),
        "left_out": bundle.left_out,
        "preprocessing": asdict(bundle.preprocessing),
        "split_hash": bundle.split_hash,
        "origin": bundle.origin,
        "calibration": asdict(bundle.calibration) if bundle.calibration else None,
        "abstention": bundle.abstention.as_dict() if bundle.abstention else None,
        "review": [asdict(threshold) for threshold in bundle.review],
        "evaluation": bundle.evaluation,
        "novelty": asdict(bundle.novelty) if bundle.novelty else None,
        "adjustment": asdict(bundle.adjustment) if bundle.adjustment else None,
    }


def _from_dict(folder: Path, values: Any) -> Bundle:
    if isinstance(values, dict) and values.get("format", FORMAT) != FORMAT:
        raise BundleError(
            f"{folder / DESCRIPTION} has format {values['format']!r}; this marrowscope reads "
            f"{FORMAT}: update marrowscope or export the bundle again"
        )
    check_description(values)
    classes = tuple(cell_class(code).code for code in values["classes"])
    if len(set(classes)) < max(len(classes), 1):
        raise ValueError(f"classes must be named once each, and at least one; got {classes}")
    if class_list_hash(classes) != values["classes_sha256"]:
        raise BundleError(f"{folder / DESCRIPTION}: its class list was changed after export")
    return Bundle(
        folder=folder,
        name=values["name"],
        classes=classes,
        left_out=values["left_out"],
        preprocessing=Preprocessing.from_dict(values["preprocessing"]),
        model_sha256=values["model"]["sha256"],
        precision=values["model"]["precision"],
        split_hash=values["split_hash"],
        licence=values["licence"],
        origin=values["origin"],
        calibration=_calibration(values.get("calibration"), len(classes)),
        abstention=abstention_of(values.get("abstention"), len(classes)),
        review=thresholds_of(values.get("review", ())),
        evaluation=values["evaluation"],
        novelty=_novelty(values.get("novelty")),
        adjustment=adjustment_of(values.get("adjustment")),
    )


def _calibration(values: dict[str, Any] | None, classes: int) -> Calibration | None:
    """Read a calibration; bundles that are older than it have none.

    Raises:
        ValueError: it is not for this number of classes.
    """
    if values is None:
        return None
    factor, shift = (tuple(map(float, values[name])) for name in ("factor", "shift"))
    if not len(factor) == len(shift) == classes:
        raise ValueError(f"its calibration is for {len(factor)} classes, not {classes}")
    return Calibration(
        str(values["method"]),
        factor,
        shift,
        int(values["cells"]),
        float(values.get("bend", 0.0)),
    )


def _novelty(values: dict[str, Any] | None) -> Novelty | None:
    """Read what is said about strange cells; bundles that are older than it say nothing."""
    if values is None:
        return None
    return Novelty(
        str(values["method"]),
        float(values["shrinkage"]),
        float(values["threshold"]),
        float(values["false_alarms"]),
        int(values["cells"]),
        str(values["references_sha256"]),
        pictures_of(values.get("pictures")),
    )
