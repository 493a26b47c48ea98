"""The command `marrowscope agree`: how two cases or two readers differ."""

import json
from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import (
    JsonOption,
    OverwriteOption,
    errors_in_words,
    writing_into,
)

EPILOG = (
    "Examples:\n\n"
    "`marrowscope agree monday friday --output agreement`\n\n"
    "`marrowscope agree anna/reviews.csv ben/reviews.csv`\n\n"
    "`marrowscope agree report-117 report-117 --reader-a machine --reader-b anna`\n\n"
    "`marrowscope agree reviews.csv reviews.csv --reader-a anna --reader-b ben`\n\n"
    "Exit codes: 0 however much they differ, 1 an error, 2 wrong usage."
)
SOURCES = "a folder of `classify` or `report`, a predictions.csv, or a reviews.csv"


def agree(
    first: Annotated[Path, typer.Argument(metavar="A", help=f"The first: {SOURCES}.")],
    other: Annotated[Path, typer.Argument(metavar="B", help=f"The second: {SOURCES}.")],
    reader_a: Annotated[
        str,
        typer.Option(help="Whose decisions A is, of several; `machine`: the model's."),
    ] = "",
    reader_b: Annotated[
        str,
        typer.Option(help="Whose decisions B is, of several; `machine`: the model's."),
    ] = "",
    independent: Annotated[
        bool,
        typer.Option(
            "--independent",
            help="Take A and B for two samples even if they have cells of the same path.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder for agree.json and agree.html.", show_default="only the screen"),
    ] = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare two cases or two readers: shares of the classes, kappa, confusions."""
    with writing_into(output) if output else errors_in_words():
        from marrowscope.cases.agreement import PAGE, agreement_as_dict, write_agreement
        from marrowscope.cases.agreement import agree as run
        from marrowscope.cases.label_sets import read_opinion
        from marrowscope.commands.agree_output import show_agreement
        from marrowscope.io.tables import prepare_folder

        opinions = read_opinion(first, reader_a), read_opinion(other, reader_b)
        result = run(*opinions, independent=independent)
        if output:
            prepare_folder(output, overwrite)
            write_agreement(result, output)
        if as_json:
            print(json.dumps(agreement_as_dict(result), ensure_ascii=False))
            return
        show_agreement(result)
        if output:
            print(f"Page: {output / PAGE}")
