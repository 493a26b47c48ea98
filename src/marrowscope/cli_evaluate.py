"""The command `marrowscope evaluate`: a bundle's figures on its sealed test cells."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from marrowscope.terminal import (
    SOME_REJECTED,
    AuditOption,
    BootstrapSeedOption,
    DataOption,
    JsonOption,
    LeastSupportOption,
    OverwriteOption,
    RoundsOption,
    errors_in_words,
    progress,
    read_data,
)

EPILOG = (
    "Example:\n\n"
    "`marrowscope evaluate bundles/first --data cells.csv --split runs/first --output figures`"
)


def evaluate(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Folder or name of a bundle.")],
    data: DataOption,
    split: Annotated[Path, typer.Option(help="Folder of the run that the bundle comes from.")],
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for predictions.csv, metrics.json, pictures, and report.html."
        ),
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
    least_support: LeastSupportOption = 10,
    rounds: RoundsOption = 2000,
    seed: BootstrapSeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a bundle on its sealed test cells and write the figures into its model card."""
    with errors_in_words():
        from marrowscope.bundle import load_bundle
        from marrowscope.data.split import read_pairs, read_split
        from marrowscope.evaluate import evaluate as measure
        from marrowscope.evaluation_page import write_page
        from marrowscope.prevalence import read_prevalence
        from marrowscope.screen import show_evaluation

        mix = read_prevalence(prevalence)
        sealed = read_split(split)
        manifest = read_data(data, quiet=True)
        with progress("Reading cells", len(sealed.part(part))) as each:
            result = measure(
                load_bundle(bundle),
                manifest,
                sealed,
                output,
                part=part,
                pairs=read_pairs(audit),
                prevalence=mix,
                least_support=least_support,
                rounds=rounds,
                seed=seed,
                overwrite=overwrite,
                each=each,
            )
        show_evaluation(result, as_json)
        with progress("Drawing mistakes", None) as each:
            page = write_page(
                output,
                result.bundle,
                manifest,
                command=shlex.join(["marrowscope", *sys.argv[1:]]),
                each=each,
            )
        if not as_json:
            print(f"Page: {page}")
    if result.rejects:
        raise typer.Exit(SOME_REJECTED)
