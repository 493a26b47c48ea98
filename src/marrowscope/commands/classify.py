"""The command `marrowscope classify`: pictures of cells, or whole fields, into a differential."""

import json
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import (
    AUTO,
    SOME_REJECTED,
    BundleHashOption,
    BundleOption,
    CoresOption,
    EngineOption,
    FormulaOption,
    JsonOption,
    KeepFlaggedOption,
    KeepNovelOption,
    NormsOption,
    OverwriteOption,
    ScaleOption,
    cluster,
    new_folder,
    reading_bars,
    writing_into,
)
from marrowscope.errors import SettingsError

EPILOG = (
    "Examples:\n\n"
    "`marrowscope classify cells/ --um-per-px 0.086`\n\n"
    "`marrowscope classify fields/ --fields --output tuesday`\n\n"
    "`marrowscope classify cells/ --um-per-px 0.1 --json > differential.json`\n\n"
    "Exit codes: 0 all read, 1 none read or an error, 2 wrong usage, 3 some inputs rejected."
)


def classify(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Images, folders, archives or store URLs."),
    ],
    um_per_px: ScaleOption = None,
    fields: Annotated[
        bool,
        typer.Option("--fields", help="The images are whole fields.", rich_help_panel="Input"),
    ] = False,
    keep_flagged: KeepFlaggedOption = False,
    bundle: BundleOption = "default",
    bundle_sha256: BundleHashOption = "",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the results.",
            show_default="new folder",
            metavar="FOLDER",
            rich_help_panel="Output",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue an interrupted run.", rich_help_panel="Output"),
    ] = False,
    keep_novel: KeepNovelOption = False,
    parquet: Annotated[
        bool,
        typer.Option("--parquet", help="Write predictions.parquet too.", rich_help_panel="Output"),
    ] = False,
    parquet_to: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="Parquet parts, to a folder or store.",
            show_default=False,
            rich_help_panel="Output",
        ),
    ] = "",
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Abstain so that 0.9 covers 9 in 10.", metavar="SHARE", rich_help_panel="Counting"
        ),
    ] = None,
    norms: NormsOption = None,
    me_formula: FormulaOption = "icsh",
    threads: CoresOption = 0,
    engine: EngineOption = AUTO,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print every detail.", rich_help_panel="Output")
    ] = False,
    ray: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Ray cluster; local: this machine.",
            show_default=False,
            rich_help_panel="Compute",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Classify single cells, or those on whole fields, and count them into a differential."""
    with writing_into(output or new_folder("marrowscope")) as folder:
        from marrowscope.detection.field_cells import CELLS_OF_A_FIELD
        from marrowscope.differential.me_ratio import formula_of
        from marrowscope.differential.options import CountingOptions
        from marrowscope.differential.reference_ranges import read_norms
        from marrowscope.inference.backends import choose_engine
        from marrowscope.inference.classify import classify as run
        from marrowscope.inference.options import InferenceOptions, OutputOptions, Progress
        from marrowscope.inference.output_folder import engine_of, result_files
        from marrowscope.io.discovery import find_files
        from marrowscope.locations import location_of
        from marrowscope.model.bundle import load_bundle
        from marrowscope.types import Picture

        if resume and output is None:
            raise SettingsError("--resume needs --output: the folder of what was interrupted")
        options = InferenceOptions(um_per_px, fields, keep_flagged, threads)
        counting = CountingOptions(keep_novel, coverage, read_norms(norms), formula_of(me_formula))
        parts = location_of(parquet_to) if parquet_to else None
        files = OutputOptions(overwrite, resume, parquet, parts)
        chosen = load_bundle(bundle, bundle_sha256)
        cells = partial(find_files, paths, um_per_px, result_files(folder))
        kinds = Counter(map(type, cells()))
        if not fields and kinds[Picture]:
            chosen.preprocessing.check_scale(um_per_px)
        number = kinds.total()
        begun = engine_of(folder) if resume else ""
        likely = number * CELLS_OF_A_FIELD if fields else number
        choice = choose_engine(chosen, likely, engine if engine != AUTO else begun, threads)
        if verbose:
            print(choice.in_words, file=sys.stderr)
        with (
            cluster(ray, chosen, threads, choice.name) as predictor,
            reading_bars(number, fields=fields) as (look, advance),
        ):
            result = run(
                cells(),
                chosen,
                folder,
                inference=replace(options, engine=choice.name),
                counting=counting,
                output=files,
                predictor=predictor,
                progress=Progress(advance, look),
            )
        if as_json:
            print(json.dumps(result.as_dict(chosen), ensure_ascii=False))
        else:
            from marrowscope.commands.classify_output import show_classified, show_details

            show_classified(result, chosen)
            if verbose:
                show_details(result, chosen)
    if result.rejected:
        raise typer.Exit(SOME_REJECTED if result.cells else 1)
