"""The command `marrowscope evaluate`: a bundle's figures on its sealed test cells."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import (
    SOME_REJECTED,
    AuditOption,
    BootstrapSeedOption,
    DataOption,
    JsonOption,
    LeastSupportOption,
    OverwriteOption,
    RoundsOption,
    progress,
    read_data,
    writing_into,
)

EPILOG = (
    "Examples:\n\n"
    "`marrowscope evaluate bundles/first --data cells.csv --split runs/first --output figures`\n\n"
    "`marrowscope evaluate bundles/first --data cells.csv --split runs/first "
    "--other ours=our-cells --output figures`"
)


def evaluate(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder or name of a bundle.")],
    data: DataOption,
    split: Annotated[
        Path, typer.Option(help="Folder of the run that the bundle comes from, or of the split.")
    ],
    output: Annotated[
        Path,
        typer.Option(help="Folder for predictions.csv, metrics.json, pictures, and report.html."),
    ],
    part: Annotated[str, typer.Option(help="Part of the split; only `test` is sealed.")] = "test",
    audit: AuditOption = None,
    prevalence: Annotated[
        Path | None,
        typer.Option(
            help="CSV with columns label and percent: the marrow's class mix that figures are "
            "re-weighted to. Without it, that of an adult."
        ),
    ] = None,
    other: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]DATA",
            help="Further labelled cells, as of another hospital and scanner, which the split "
            "does not have; may be repeated.",
        ),
    ] = None,
    leave_out_leaks: Annotated[
        bool,
        typer.Option(
            "--leave-out-leaks", help="Leave out cells of --other that the model was trained on."
        ),
    ] = False,
    unseen: Annotated[
        bool,
        typer.Option(
            "--unseen",
            help="The bundle was trained elsewhere, and you know that it has seen none of these "
            "cells: measure it all the same, and seal nothing.",
        ),
    ] = False,
    least_support: LeastSupportOption = 10,
    rounds: RoundsOption = 2000,
    seed: BootstrapSeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on its sealed test cells and write the figures into its model card."""
    with writing_into(output):
        from marrowscope.commands.evaluate_output import show_evaluation
        from marrowscope.data.split import read_pairs, read_split
        from marrowscope.evaluation.evaluate import VOUCHED
        from marrowscope.evaluation.evaluate import evaluate as measure
        from marrowscope.evaluation.external_sets import Other, other_of
        from marrowscope.evaluation.page import write_page
        from marrowscope.metrics.prevalence import read_prevalence
        from marrowscope.model.bundle import load_bundle

        mix = read_prevalence(prevalence)
        sealed = read_split(split)
        manifest = read_data(data, quiet=True)
        named = [other_of(text) for text in other or ()]
        others = [Other(name, read_data(path, quiet=True)) for name, path in named]
        cells = len(sealed.part(part)) + sum(len(other.manifest.cells) for other in others)
        with progress("Reading cells", cells) as advance:
            result = measure(
                load_bundle(bundle),
                manifest,
                sealed,
                output,
                part=part,
                pairs=read_pairs(audit) if audit else None,
                prevalence=mix,
                least_support=least_support,
                rounds=rounds,
                seed=seed,
                overwrite=overwrite,
                advance=advance,
                others=others,
                leave_out_leaks=leave_out_leaks,
                unseen=unseen,
            )
        show_evaluation(result, as_json)
        if sealed.hash != result.bundle.split_hash and not as_json:
            print(f"Not sealed. {VOUCHED}")
        with progress("Drawing mistakes", None) as advance:
            page = write_page(
                output,
                result.bundle,
                manifest,
                command=shlex.join(["marrowscope", *sys.argv[1:]]),
                advance=advance,
            )
        if not as_json:
            print(f"Page: {page}")
    if result.rejects:
        raise typer.Exit(SOME_REJECTED)
