"""What a bundle says of its model: `bundle.json`, checked as it is read."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from marrowscope.errors import BundleError
from marrowscope.metrics.calibration import Calibration, uncalibrated
from marrowscope.metrics.conformal import Abstention, abstention_of
from marrowscope.metrics.selective import Threshold, thresholds_of
from marrowscope.model.novelty import Novelty
from marrowscope.model.preprocess import Preprocessing
from marrowscope.model.reference_embeddings import REFERENCES
from marrowscope.model.reference_images import PICTURES, pictures_of
from marrowscope.model.test_predictions import TESTED, Adjustment, adjustment_of
from marrowscope.taxonomy import cell_class

FORMAT = 1
DESCRIPTION, MODEL, CARD = "bundle.json", "model.onnx", "MODEL_CARD.md"
FAILURES = "failures.jpg"
FILES = (CARD, DESCRIPTION, MODEL)
ALL_FILES = (*FILES, REFERENCES, PICTURES, TESTED, FAILURES)
SCARCE = 40
"""Training cells below which a class was hardly learnt from a source."""
"""The files that a bundle may have. `FILES` are in every one; one with a `novelty` has
`references.npz` besides and, with pictures of these cells, `known-cells.zip`, one with an
`adjustment` `tested.npz`, one that was evaluated and errs `failures.jpg`."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """What `bundle.json` says of the model and the files that lie beside it."""

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
            with_cells = [source for source in sources if cells_of[f"train {source}"].get(code)]
            if len(with_cells) == 1:
                alone.setdefault(with_cells[0], []).append(code)
        return alone

    @property
    def reference(self) -> str:
        """Source whose test cells shares are corrected with; empty for none."""
        return self.adjustment.reference if self.adjustment else ""

    @property
    def scarce_in_reference(self) -> tuple[str, ...]:
        """Codes of the classes that were learnt from other sources more than from the reference.

        The reference, such as the marrow, is the source whose test cells shares are corrected with.
        It gave fewer than 40 training cells of such a class, and the other sources gave more.
        """
        if not self.reference:
            return ()
        training = {
            name: cells
            for name, cells in self.origin["images"].items()
            if name.startswith("train ")
        }
        own: dict[str, int] = training.get(f"train {self.reference}", {})
        return tuple(
            code
            for code in self.classes
            if own.get(code, 0) < SCARCE
            and sum(cells.get(code, 0) for cells in training.values()) > 2 * own.get(code, 0)
        )

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

    def as_dict(self) -> dict[str, Any]:
        """Give what `bundle.json` holds."""
        return {
            "format": FORMAT,
            "name": self.name,
            "licence": self.licence,
            "model": {
                "file": MODEL,
                "sha256": self.model_sha256,
                "precision": self.precision,
            },
            "classes": list(self.classes),
            "classes_sha256": class_list_hash(self.classes),
            "left_out": self.left_out,
            "preprocessing": asdict(self.preprocessing),
            "split_hash": self.split_hash,
            "origin": self.origin,
            "calibration": asdict(self.calibration) if self.calibration else None,
            "abstention": self.abstention.as_dict() if self.abstention else None,
            "review": [asdict(threshold) for threshold in self.review],
            "evaluation": self.evaluation,
            "novelty": asdict(self.novelty) if self.novelty else None,
            "adjustment": asdict(self.adjustment) if self.adjustment else None,
        }


def class_list_hash(classes: Sequence[str]) -> str:
    """Give the SHA-256 of class codes in their order, with commas between them."""
    return hashlib.sha256(",".join(classes).encode()).hexdigest()


def description_of(values: Any) -> Description:
    """Read what `bundle.json` holds.

    Raises:
        BundleError: it has another format, its class list was changed, or its preprocessing or
            novelty is of a kind that is not known.
        UnknownClassError: it names a class that is not in the class list.
        ValueError: a value is missing, of another kind, or does not fit; its place is named.
    """
    if isinstance(values, dict) and values.get("format", FORMAT) != FORMAT:
        raise BundleError(
            f"its format is {values['format']!r}; this marrowscope reads "
            f"{FORMAT}: update marrowscope or export the bundle again"
        )
    from marrowscope.model.schema import check_description

    check_description(values)
    classes = tuple(cell_class(code).code for code in values["classes"])
    if len(set(classes)) < max(len(classes), 1):
        raise ValueError(f"classes must be named once each, and at least one; got {classes}")
    if class_list_hash(classes) != values["classes_sha256"]:
        raise BundleError("its class list was changed after export")
    return Description(
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
