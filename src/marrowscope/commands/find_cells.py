"""The command `marrowscope find-cells`: whole fields, and the nucleated cells on them."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marrowscope.commands.common import (
    SOME_REJECTED,
    JsonOption,
    OverwriteOption,
    new_folder,
    progress,
    writing_into,
)

if TYPE_CHECKING:
    from marrowscope.detection.batch import Finding

EPILOG = (
    "Examples:\n\n"
    "`marrowscope find-cells fields/ --output found`\n\n"
    "`marrowscope find-cells 'scan/*.tif' --um-per-px 0.1 --output found`\n\n"
    "Exit codes: 0 all fields were read, 1 none could be or an error, 2 wrong usage, "
    "3 some inputs were rejected. A flagged field is read all the same; its reason is shown."
)
SHOWN = 20
GIVEN = "given"
"""What a scale is called that the picture did not have to tell."""


def find_cells(
    fields: Annotated[
        list[str], typer.Argument(metavar="FIELD...", help="Pictures, slides, folders or patterns.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for boxes.csv, fields.csv, rejects.csv, find.json, and the folders "
            "outlines (GeoJSON) and pictures.",
            show_default="a new folder, named on the screen",
        ),
    ] = None,
    um_per_px: Annotated[
        float | None,
        typer.Option(
            "--um-per-px",
            min=0.001,
            help="Side of a pixel on the slide, in micrometres.",
            show_default="what the file says, else as the red cells tell",
        ),
    ] = None,
    threads: Annotated[
        int, typer.Option(min=0, help="Processor threads; 0 for as many as there are cores.")
    ] = 0,
    crops: Annotated[
        bool,
        typer.Option("--crops", help="Write each cell as a PNG of 21.5 micrometres a side, too."),
    ] = False,
    detector: Annotated[
        Path | None,
        typer.Option(
            help="Folder that `train-detector` wrote.", show_default="the one of the package"
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find the nucleated cells of whole fields: boxes, outlines, pictures with both drawn in."""
    with writing_into(output or new_folder("marrowscope-cells")) as folder:
        from marrowscope.detection.batch import find_on_fields, write_all_crops
        from marrowscope.detection.crop_files import CROPS
        from marrowscope.detection.detector import DEFAULT, load_finder
        from marrowscope.io.discovery import find_files

        finder = load_finder(detector or DEFAULT, threads)
        inputs = list(find_files(fields, um_per_px))
        with progress("Finding cells", len(inputs)) as advance:
            result = find_on_fields(inputs, folder, finder, overwrite=overwrite, advance=advance)
        if crops:
            written = write_all_crops(result)
            print(f"Crops: {written:,} in {result.folder / CROPS}", file=sys.stderr)
        if as_json:
            print(json.dumps(result.as_dict(), ensure_ascii=False))
        else:
            _show(result)
    if result.rejects:
        raise typer.Exit(SOME_REJECTED if result.fields else 1)


def _show(result: "Finding") -> None:
    from marrowscope.detection.batch import PICTURES
    from marrowscope.detection.field_cells import scale_in_words, scales_of

    for read in result.flagged[:SHOWN]:
        print(f"{read.file}: {', '.join(read.flags)}")
    for reject in result.rejects[:SHOWN]:
        print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
    more = max(0, len(result.flagged) - SHOWN) + max(0, len(result.rejects) - SHOWN)
    if more:
        print(f"{more:,} more are in fields.csv and rejects.csv")
    print(
        f"{result.cells:,} cells on {len(result.fields):,} fields, "
        f"{len(result.flagged):,} of them flagged; {len(result.rejects):,} inputs rejected"
    )
    for row in scales_of((read.scale, read.um_per_px) for read in result.fields):
        if row[0] != GIVEN:
            print(scale_in_words(row))
    print(f"Boxes: {result.folder / 'boxes.csv'}; pictures: {result.folder / PICTURES}")
