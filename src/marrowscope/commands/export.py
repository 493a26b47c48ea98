"""The command `marrowscope export`: a run into a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import (
    DataOption,
    JsonOption,
    OverwriteOption,
    prepare_training,
    progress,
    read_data,
    writing_into,
)

EPILOG = (
    "Example:\n\n"
    "`marrowscope export runs/first --data cells.csv --output bundles/first --precision int8`"
)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    data: DataOption,
    output: Annotated[Path, typer.Option(help="Folder of the bundle; it must be new or empty.")],
    name: Annotated[
        str, typer.Option(help="Name of the bundle.", show_default="the folder's name")
    ] = "",
    together: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="RUN",
            help="Another run of the same split and classes: the bundle gives the mean of their "
            "logits. May be repeated.",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="fp32; int8: a quarter of the size, several times as fast; int8-weights: a "
            "quarter of the size, the same on every processor; fp16: half the size, for GPUs."
        ),
    ] = "fp32",
    calibration: Annotated[
        str,
        typer.Option(
            help="Scaling of the probabilities, fitted on validation cells: temperature, curved "
            "(for networks trained with label smoothing), class-wise (may change a cell's class) "
            "or none."
        ),
    ] = "temperature",
    false_alarms: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            help="Share of the validation cells that may be taken for cells unlike the known ones.",
        ),
    ] = 0.02,
    licence: Annotated[str, typer.Option(help="Licence of the weights.")] = "Apache-2.0",
    attribution: Annotated[
        list[str] | None, typer.Option(help="Source and licence of the data; may be repeated.")
    ] = None,
    pictures: Annotated[
        bool, typer.Option(help="Keep small pictures of training cells, to show those alike.")
    ] = True,
    picture_credit: Annotated[
        str, typer.Option(help="What to show beside them, in short (by default the attribution).")
    ] = "",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Turn a run into a bundle (ONNX), if it agrees with the run on every validation cell."""
    with writing_into(output):
        prepare_training()
        from marrowscope.commands.train_output import show_exported
        from marrowscope.train.export import export as export_run
        from marrowscope.train.run import read_run

        finished, *others = [read_run(folder) for folder in (run, *(together or ()))]
        manifest = read_data(data, quiet=True)
        with progress("Comparing cells", None) as advance:
            result = export_run(
                finished,
                manifest,
                output,
                name or output.name,
                others=others,
                precision=precision,
                calibration=calibration,
                false_alarms=false_alarms,
                licence=licence,
                attribution=attribution or (),
                pictures=pictures,
                credit=picture_credit,
                overwrite=overwrite,
                advance=advance,
            )
        show_exported(result, as_json)
