"""The command `marrowscope train-detector`: the network that finds cells on whole fields."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.commands.common import (
    JsonOption,
    OverwriteOption,
    ThreadsOption,
    prepare_training,
    training_bar,
    writing_into,
)
from marrowscope.errors import SettingsError

if TYPE_CHECKING:
    from marrowscope.train.detector.run import TrainedDetector

EPILOG = (
    "Examples:\n\n"
    "`marrowscope train-detector fields/ --output detector`\n\n"
    "`marrowscope train-detector fields/ --cells cells/ --cells-um-per-px 0.086 "
    "--output detector`\n\n"
    "`marrowscope find-cells scan/ --detector detector --output found`\n\n"
    "An interrupted training starts anew: it takes minutes and has no checkpoints."
)


def train_detector(
    fields: Annotated[Path, typer.Argument(help="Folder of fields, with a boxes.csv.")],
    output: Annotated[Path, typer.Option(help="Folder for model.onnx and finder.json.")],
    um_per_px: Annotated[
        float | None,
        typer.Option(
            "--um-per-px",
            min=0.001,
            help="Side of a field's pixel, in micrometres.",
            show_default="by the boxes labelled RBC",
        ),
    ] = None,
    without: Annotated[
        str,
        typer.Option(
            metavar="WIDTHxHEIGHT", help="Leave fields of this size out, to measure on them."
        ),
    ] = "",
    cells: Annotated[
        list[str] | None,
        typer.Option(help="Images of single cells to lay onto fields: files, folders, patterns."),
    ] = None,
    cells_um_per_px: Annotated[
        float | None, typer.Option(min=0.001, help="Side of a pixel of --cells, in micrometres.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Batches to train on.")] = 500,
    batch_size: Annotated[int, typer.Option(min=1, help="Scenes in a batch.")] = 16,
    learning_rate: Annotated[float, typer.Option(min=1e-9, help="Highest learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    threads: ThreadsOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a detector of cells on fields with drawn boxes."""
    with writing_into(output):
        prepare_training()
        from marrowscope.io.tables import prepare_folder
        from marrowscope.train.detector import run
        from marrowscope.train.detector.fit import FinderSettings

        images = _find_images(cells or [], cells_um_per_px)
        prepare_folder(output, overwrite)
        data = run.read_detector_data(
            fields,
            um_per_px=um_per_px,
            without=without,
            cells=images,
            cells_um_per_px=cells_um_per_px or 1.0,
        )
        settings = FinderSettings(steps, batch_size, learning_rate, seed=seed)
        with training_bar() as watch:
            result = run.train_detector(
                data,
                output,
                settings,
                overwrite=overwrite,
                threads=threads,
                advance=lambda step, loss: watch(step + 1, steps, f"loss {loss:.3f}"),
            )
        if as_json:
            print(json.dumps(result.as_dict(), ensure_ascii=False))
        else:
            _show(result)


def _find_images(inputs: list[str], um_per_px: float | None) -> list[Path]:
    """Give the files of single cells.

    Raises:
        SettingsError: their scale is missing, or an input leads to no file on this machine.
    """
    from marrowscope.io.discovery import find_files
    from marrowscope.types import Reject

    if bool(inputs) != bool(um_per_px):
        raise SettingsError(
            "--cells and --cells-um-per-px go together: give both, or neither to train on the "
            "fields alone"
        )
    files = []
    for image in find_files(inputs):
        if isinstance(image, Reject):
            raise SettingsError(f"--cells: {image.path}: {image.reason}")
        if not isinstance(image.path, Path):
            raise SettingsError(f"--cells: {image.path} is a URL; give files of this machine")
        files.append(image.path)
    return files


def _show(result: "TrainedDetector") -> None:
    data = result.data
    boxes = ", ".join(f"{number:,} {kind}" for kind, number in data.boxes.items())
    print(f"Trained on {len(data.scenes):,} fields with boxes: {boxes}")
    if data.cells or data.left_out:
        print(
            f"Single cells laid onto them: {len(data.cells):,} "
            f"({data.left_out:,} not used: unreadable, not whole or not alone)"
        )
    print(f"Loss over the last tenth of {result.settings.steps:,} steps: {result.loss:.3f}")
    print(
        "How well it finds cells is not measured: check it on fields that it was not trained on",
        file=sys.stderr,
    )
    print(f"Detector: {result.folder}")
