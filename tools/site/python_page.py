"""The pages of the Python interface: which modules, in which order; mkdocstrings does the rest."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One page."""

    name: str
    """Of the file."""
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
            "model.predictor",
            "model.preprocess",
            "files.images",
            "files.intake",
            "records",
            "labels",
            "classification.classify",
        ),
    ),
    Part(
        "counting",
        "Count cells",
        "From classes to a differential with its limits.",
        (
            "counting.differential",
            "counting.ratio",
            "counting.norms",
            "counting.thresholds",
            "counting.more_cells",
            "counting.adjusted",
            "statistics.proportions",
        ),
    ),
    Part(
        "fields",
        "Find cells on fields",
        "From a whole field, of any size, to the boxes of its nucleated cells.",
        ("fields.field", "fields.find", "fields.boxes", "fields.scale", "fields.flags"),
    ),
    Part(
        "evaluation",
        "Measure a bundle",
        "Figures as `marrowscope evaluate` computes them; scikit-learn's definitions throughout.",
        (
            "evaluation.evaluate",
            "statistics.metrics",
            "statistics.calibration",
            "statistics.abstention",
            "statistics.selective",
            "statistics.tolerant",
        ),
    ),
    Part(
        "data",
        "Labelled cells",
        "Manifests, and splits in which no group is divided.",
        ("data.manifest", "data.read", "data.plan", "data.divide", "data.split"),
    ),
    Part(
        "cases",
        "Report a case",
        "A patient's sample, people's decisions on it, the report and its FHIR form.",
        ("cases.case", "cases.report", "cases.decisions", "cases.fhir"),
    ),
    Part("errors", "Errors", "All that marrowscope raises itself.", ("errors",)),
)


def page(part: Part) -> str:
    """Write one page: the directives of its modules."""
    chapters = [f"::: marrowscope.{module}" for module in part.modules]
    return "\n\n".join([f"# {part.title}", part.about, *chapters]) + "\n"
