"""The pages of the Python interface: which modules, in which order; mkdocstrings does the rest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One page."""

    name: str
    """Name of the file."""
    title: str
    about: str
    modules: tuple[str, ...]


PARTS = (
    Part(
        "reading",
        "Read cells",
        "From a picture to probabilities, in the same steps as `marrowscope classify`.",
        (
            "model.bundle",
            "inference.predictor",
            "model.preprocess",
            "io.images",
            "io.discovery",
            "types",
            "taxonomy",
            "inference.classify",
        ),
    ),
    Part(
        "differential",
        "Count cells",
        "From classes to a differential with its limits.",
        (
            "differential.count",
            "differential.me_ratio",
            "differential.reference_ranges",
            "differential.thresholds",
            "differential.sample_size",
            "differential.error_correction",
            "metrics.intervals",
        ),
    ),
    Part(
        "detection",
        "Find cells on fields",
        "From a whole field, of any size, to the boxes of its nucleated cells.",
        (
            "detection.field",
            "detection.detect",
            "detection.boxes",
            "detection.pixel_size",
            "detection.quality",
        ),
    ),
    Part(
        "evaluation",
        "Measure a bundle",
        "Figures as `marrowscope evaluate` computes them; scikit-learn's definitions throughout.",
        (
            "evaluation.evaluate",
            "metrics.classification",
            "metrics.calibration",
            "metrics.conformal",
            "metrics.selective",
            "metrics.tolerance",
        ),
    ),
    Part(
        "data",
        "Labelled cells",
        "Manifests, and splits in which no group is divided.",
        ("data.manifest", "data.read", "data.split_plan", "data.partition", "data.split"),
    ),
    Part(
        "cases",
        "Report a case",
        "A patient's sample, people's decisions on it, the report and its FHIR form.",
        ("cases.case", "cases.report", "cases.reviews", "cases.fhir"),
    ),
    Part("errors", "Errors", "All that marrowscope raises itself.", ("errors",)),
)


def page(part: Part) -> str:
    """Write one page: the directives of its modules."""
    chapters = [f"::: marrowscope.{module}" for module in part.modules]
    return "\n\n".join([f"# {part.title}", part.about, *chapters]) + "\n"
