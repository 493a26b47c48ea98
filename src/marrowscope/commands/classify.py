"""The command `marrowscope classify`: pictures of cells, or whole fields, into a differential."""

import json
import sys
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
    "`marrowscope classify 'scan/*.jpg' more.png --um-per-px 0.1 --output monday`\n\n"
    "`marrowscope classify fields/ --fields --output tuesday`\n\n"
    "`marrowscope classify cells/ --um-per-px 0.1 --json > differential.json`\n\n"
    "An interrupted classification is continued by the same command with `--resume`.\n\n"
    "Exit codes: 0 all cells were read, 1 none could be or an error, 2 wrong usage, "
    "3 some inputs were rejected."
)


def classify(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Pictures, folders, patterns, archives or URLs of stores."
        ),
    ],
    bundle: BundleOption = "default",
    bundle_sha256: BundleHashOption = "",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for predictions.csv, rejects.csv, differential.json, report.html and "
            "classify.json, which says what went in.",
            show_default="a new folder, named on the screen",
        ),
    ] = None,
    um_per_px: ScaleOption = None,
    fields: Annotated[
        bool,
        typer.Option(
            "--fields",
            help="The pictures are whole fields: find their cells, then classify these. Writes "
            "boxes.csv and fields.csv too.",
        ),
    ] = False,
    keep_flagged: KeepFlaggedOption = False,
    overwrite: OverwriteOption = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue what was interrupted in the output folder.")
    ] = False,
    keep_novel: KeepNovelOption = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write predictions.parquet too.")
    ] = False,
    parquet_to: Annotated[
        str,
        typer.Option(
            metavar="PLACE",
            help="Write the predictions as a Parquet data set in parts too: into a folder or a "
            "store (s3://bucket/results).",
            show_default="nowhere",
        ),
    ] = "",
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Give each cell the classes that it may be of, so that the true one is among "
            "them this often (0.9: in 9 of 10 cells of each class), and count only cells with "
            "exactly one; the others are listed for review.",
        ),
    ] = None,
    norms: NormsOption = None,
    me_formula: FormulaOption = "icsh",
    threads: CoresOption = 0,
    engine: EngineOption = AUTO,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Say which engine was chosen, and why.")
    ] = False,
    ray: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Classify on a Ray cluster: its address, `auto` for the one that this machine is "
            "in, `local` for one process a processor of this machine.",
            show_default="on this machine, without Ray",
        ),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Classify single cells, or those on whole fields, and count them into a differential."""
    with writing_into(output or new_folder("marrowscope")) as folder:
        from marrowscope.detection.field_cells import CELLS_OF_A_FIELD, WholeFields
        from marrowscope.differential.me_ratio import formula_of
        from marrowscope.differential.reference_ranges import read_norms
        from marrowscope.inference.backends import choose_engine
        from marrowscope.inference.classify import classify as run
        from marrowscope.inference.output_folder import engine_of, result_files
        from marrowscope.io.discovery import find_files
        from marrowscope.locations import location_of
        from marrowscope.model.bundle import load_bundle

        if resume and output is None:
            raise SettingsError("--resume needs --output: the folder of what was interrupted")
        ranges, formula = read_norms(norms), formula_of(me_formula)
        chosen = load_bundle(bundle, bundle_sha256)
        if not fields:
            chosen.preprocessing.check_scale(um_per_px)
        cells = partial(find_files, paths, um_per_px, result_files(folder))
        number = sum(1 for _ in cells())
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
                overwrite=overwrite,
                resume=resume,
                keep_novel=keep_novel,
                parquet=parquet,
                parts=location_of(parquet_to) if parquet_to else None,
                coverage=coverage,
                norms=ranges,
                formula=formula,
                settings={"um_per_px": str(um_per_px or "")},
                fields=WholeFields(um_per_px, keep_flagged, look) if fields else None,
                threads=threads,
                engine=choice.name,
                predictor=predictor,
                advance=advance,
            )
        if as_json:
            print(json.dumps(result.as_dict(chosen), ensure_ascii=False))
        else:
            from marrowscope.commands.classify_output import show_classified

            show_classified(result, chosen)
    if result.rejected:
        raise typer.Exit(SOME_REJECTED if result.cells else 1)
