"""The command `marrowscope report`: a case from its cells to a report to sign."""

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
    new_folder,
    reading_bars,
    writing_into,
)
from marrowscope.errors import SettingsError

EPILOG = (
    "Examples:\n\n"
    "`marrowscope report case-117 --output report-117`\n\n"
    "`marrowscope report scan/ --fields --output report-118`\n\n"
    "`marrowscope report cells/ --um-per-px 0.086 --output report`\n\n"
    "After people have reviewed cells (`reviews.csv` beside `case.toml`), the same command with "
    "`--resume` writes the report again and reads no cell twice."
)


def report(
    case: Annotated[
        Path,
        typer.Argument(
            metavar="CASE",
            help="A case.toml, the folder that holds one, or a folder of cells (one slide).",
        ),
    ],
    bundle: BundleOption = "default",
    bundle_sha256: BundleHashOption = "",
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.html, report.pdf, differential.csv, differential.json, "
            "fhir.json and cells.csv; what the machine read is in its folder slides.",
            show_default="a new folder, named on the screen",
        ),
    ] = None,
    um_per_px: ScaleOption = None,
    fields: Annotated[
        bool,
        typer.Option("--fields", help="The folder holds whole fields: find their cells first."),
    ] = False,
    keep_flagged: KeepFlaggedOption = False,
    overwrite: OverwriteOption = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Write the report again; cells read before are not read."),
    ] = False,
    keep_novel: KeepNovelOption = False,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Count only cells for which exactly one class is likely, as `classify` does; the "
            "others are listed for review."
        ),
    ] = None,
    norms: NormsOption = None,
    me_formula: FormulaOption = "icsh",
    threads: CoresOption = 0,
    engine: EngineOption = AUTO,
    as_json: JsonOption = False,
) -> None:
    """Read all slides of a case and write the report that a person signs."""
    with writing_into(output or new_folder("marrowscope-report")) as folder:
        from marrowscope.cases.case import read_case
        from marrowscope.cases.classify_case import engine_of_slides, find_cells, read_cells
        from marrowscope.cases.report import open_report, report_case, report_files
        from marrowscope.commands.case_output import show_report
        from marrowscope.differential.me_ratio import formula_of
        from marrowscope.differential.options import CountingOptions
        from marrowscope.differential.reference_ranges import read_norms
        from marrowscope.inference.backends import choose_engine
        from marrowscope.inference.options import InferenceOptions, OutputOptions, Progress
        from marrowscope.model.bundle import load_bundle

        if resume and output is None:
            raise SettingsError("--resume needs --output: the folder of the earlier report")
        read, chosen = read_case(case, um_per_px, fields=fields), load_bundle(bundle, bundle_sha256)
        counting = CountingOptions(keep_novel, coverage, read_norms(norms), formula_of(me_formula))
        inputs = find_cells(read, folder, report_files(folder))
        number = sum(map(len, inputs.values()))
        begun = engine_of_slides(read, folder) if resume else ""
        choice = choose_engine(chosen, number, engine if engine != AUTO else begun, threads)
        open_report(folder, overwrite=overwrite, resume=resume)
        with reading_bars(number, fields=any(slide.fields for slide in read.slides)) as bars:
            reading = read_cells(
                read,
                chosen,
                folder,
                inputs,
                inference=InferenceOptions(um_per_px, fields, keep_flagged, threads, choice.name),
                counting=counting,
                output=OutputOptions(overwrite, resume),
                progress=Progress(bars[1], bars[0]),
            )
        sheet = report_case(reading, folder)
        show_report(sheet, folder, as_json)
    if reading.rejects:
        raise typer.Exit(SOME_REJECTED if reading.cells else 1)
