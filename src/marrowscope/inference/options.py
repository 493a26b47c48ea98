"""Options that decide how cells are read, and where the results go."""

from collections.abc import Callable
from dataclasses import dataclass

from marrowscope.differential.options import CountingOptions
from marrowscope.errors import SettingsError
from marrowscope.locations import Location


@dataclass(frozen=True)
class InferenceOptions:
    """How images are read and which engine runs the model."""

    um_per_px: float | None = None
    """Side of a pixel on the slide, in micrometres; None if unknown."""
    fields: bool = False
    """Whether the images are whole fields, whose cells are detected first."""
    keep_flagged: bool = False
    """Whether the cells of flagged fields are classified too."""
    threads: int = 0
    """Processor threads; 0 for one a core, if they fit into memory."""
    engine: str = "onnxruntime"
    """`onnxruntime`, `openvino` or `cuda`."""

    @property
    def settings(self) -> dict[str, str]:
        """What decides the figures, as `classify.json` holds it."""
        scale = {"um_per_px": str(self.um_per_px or "")}
        if not self.fields:
            return scale
        flagged = "read" if self.keep_flagged else "not read"
        return {"pictures": "whole fields", "flagged_fields": flagged, **scale}

    def problems(self) -> list[str]:
        """Say what is wrong with the options, by the names of their flags."""
        problems = []
        if self.um_per_px is not None and not self.um_per_px > 0:
            problems.append(f"--um-per-px must be above 0, got {self.um_per_px:g}")
        if self.threads < 0:
            problems.append(f"--threads must be 0 or more, got {self.threads}")
        return problems


@dataclass(frozen=True)
class OutputOptions:
    """What may happen to the output folder, and which further files are written."""

    overwrite: bool = False
    """Whether results in the folder are replaced."""
    resume: bool = False
    """Whether an interrupted run in the folder is continued."""
    parquet: bool = False
    """Whether `predictions.parquet` is written too."""
    parquet_to: Location | None = None
    """Folder or store of a Parquet data set in parts; None for none."""

    def problems(self) -> list[str]:
        """Say what is wrong with the options, by the names of their flags."""
        if self.overwrite and self.resume:
            return [
                "--overwrite starts anew and --resume goes on with what is there; give one of them"
            ]
        return []


@dataclass(frozen=True)
class Progress:
    """Functions that are called as the work goes on."""

    cell: Callable[[], object] = lambda: None
    """Called after each cell or reject."""
    field: Callable[[int], object] = lambda _cells: None
    """Called after each field, with its number of cells."""


def check_options(*options: InferenceOptions | CountingOptions | OutputOptions) -> None:
    """Check options together, so that one error names all that is wrong.

    Raises:
        SettingsError: an option is out of range, or two contradict each other.
    """
    problems = [problem for group in options for problem in group.problems()]
    if problems:
        raise SettingsError("; ".join(problems))
