"""The commands of `marrowscope data`: read, audit, split, pack, show and doubt labelled cells."""

from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import (
    SOME_REJECTED,
    AuditOption,
    DataArgument,
    DataOption,
    JsonOption,
    OverwriteOption,
    WorkersOption,
    progress,
    read_data,
    writing,
    writing_into,
)

data_app = typer.Typer(
    no_args_is_help=True, help="Labelled cells: read, audit, split, pack, show and doubt them."
)


@data_app.command(
    epilog="Examples:\n\n"
    "`marrowscope data read BM_cytomorphology_data --output cells.csv`\n\n"
    "`marrowscope data read mll=archive.zip pbc=PBC_dataset_normal_DIB --output cells.csv`\n\n"
    "`marrowscope data read train-00000-of-00001.parquet --class-map names.csv "
    "--output cells.parquet`\n\n"
    "Exit codes: 0 all was read, 1 an error, 2 wrong usage, 3 some was rejected."
)
def read(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]SOURCE...",
            help="Class folders (also as TCIA, Kaggle or Barcelona lay them out), a zip of them, "
            "a CSV or Parquet manifest, or Parquet with pictures.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="The manifest to write: .csv or .parquet.")],
    class_map: Annotated[
        Path | None, typer.Option(help="CSV with label,code: what other labels stand for.")
    ] = None,
    um_per_px: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[NAME=]MICROMETRES",
            help="Side of a pixel, for cells whose source does not say; may be repeated with the "
            "names of sources.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read cells in place into one manifest; what cannot be used is listed beside it."""
    with writing(output):
        from marrowscope.commands.data_output import show_read
        from marrowscope.data.read import parse_scale, parse_source, read_class_map
        from marrowscope.data.read import read as run

        named = [parse_source(text) for text in sources]
        code_of = read_class_map(class_map) if class_map else None
        scales = dict(parse_scale(text) for text in um_per_px or ())
        with progress("Reading cells", None) as advance:
            result = run(named, output, code_of=code_of, um_per_px=scales, advance=advance)
        show_read(result, as_json)
    if any(source.rejects for source in result.sources):
        raise typer.Exit(SOME_REJECTED)


@data_app.command(
    epilog="Examples:\n\n"
    "`marrowscope data audit cells.csv --output audit`\n\n"
    "`marrowscope data split cells.csv --audit audit --output split`\n\n"
    "An interrupted audit is continued by the same command."
)
def audit(
    data: DataArgument,
    output: Annotated[
        Path,
        typer.Option(
            help="Folder for overlaps.csv, duplicates.csv, damaged.csv, audit.json and audit.html."
        ),
    ],
    workers: WorkersOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find damaged pictures, copies, and pictures that share pixels; with a page to look at."""
    with writing_into(output):
        from marrowscope.commands.data_output import show_audit
        from marrowscope.data.audit.run import audit as search

        manifest = read_data(data, quiet=True)
        with progress("Measuring cells", len(manifest.cells)) as advance:
            result = search(manifest, output, workers=workers, overwrite=overwrite, advance=advance)
        show_audit(result, output, as_json)
    if manifest.rejects:
        raise typer.Exit(SOME_REJECTED)


@data_app.command(
    epilog="Examples:\n\n"
    "`marrowscope data split cells.csv --audit audit --output split`\n\n"
    "`marrowscope data split cells.csv --audit audit --classes fourteen --cap 2700 "
    "--shares train=0.8,val=0.1,test=0.1 --output split14`\n\n"
    "`marrowscope data split cells.csv --audit audit --folds 5 --output folds`\n\n"
    "`marrowscope data split cells.csv --audit audit --list test=published.csv "
    "--leave-out-leaks --output split`"
)
def split(
    data: DataArgument,
    output: Annotated[Path, typer.Option(help="Folder for split.csv and its seal, split.json.")],
    audit: AuditOption = None,
    shares: Annotated[
        str, typer.Option(help="Parts and their shares, adding up to 1.")
    ] = "train=0.7,val=0.15,test=0.15",
    folds: Annotated[
        int, typer.Option(help="Number of folds: as many splits, in folders of their own.")
    ] = 0,
    classes: Annotated[
        str,
        typer.Option(help="Comma-separated class codes, or `fourteen`.", show_default="all"),
    ] = "",
    sources: Annotated[
        list[str] | None,
        typer.Option("--source", help="Only cells of this source; may be repeated."),
    ] = None,
    cap: Annotated[int, typer.Option(min=0, help="Most cells of a class; 0 for no limit.")] = 0,
    lists: Annotated[
        list[str] | None,
        typer.Option(
            "--list",
            metavar="PART=FILE",
            help="File names that make up a part, as published; may be repeated.",
        ),
    ] = None,
    leave_out_leaks: Annotated[
        bool,
        typer.Option(
            "--leave-out-leaks", help="Leave out cells that share a group with a listed one."
        ),
    ] = False,
    hold_out: Annotated[
        Path | None, typer.Option(help="Manifest of cells that no part may contain.")
    ] = None,
    min_stratum: Annotated[
        int,
        typer.Option(help="A class of a source with fewer cells goes whole to the last part."),
    ] = 20,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Divide cells into parts: what shares a patient, content or pixels stays together."""
    with writing_into(output):
        from marrowscope.commands.data_output import show_split
        from marrowscope.data.manifest import read_manifest
        from marrowscope.data.partition import divide
        from marrowscope.data.partition import folds as divide_into_folds
        from marrowscope.data.split import read_damaged, read_pairs, write_split
        from marrowscope.data.split_plan import SplitPlan, read_lists, read_shares
        from marrowscope.io.tables import prepare_folder
        from marrowscope.taxonomy import scheme

        reserved = read_manifest(hold_out).cells if hold_out else ()
        plan = SplitPlan(
            shares=read_shares(shares),
            seed=seed,
            min_stratum=min_stratum,
            classes=scheme(classes),
            sources=tuple(sources or ()),
            cap=cap,
            lists=read_lists(lists or ()),
            held_out=frozenset(cell.sha256 for cell in reserved),
            damaged=read_damaged(audit),
            leave_out_leaks=leave_out_leaks,
        )
        pairs = read_pairs(audit) if audit else None
        manifest = read_data(data, quiet=as_json)
        made = (
            {"": divide(manifest.cells, pairs, plan)}
            if not folds
            else {
                f"fold-{number}": one
                for number, one in enumerate(
                    divide_into_folds(manifest.cells, pairs, plan, folds), 1
                )
            }
        )
        prepare_folder(output, overwrite)
        for name, one in made.items():
            write_split(one, output / name)
        show_split(made, output, as_json)
    if manifest.rejects:
        raise typer.Exit(SOME_REJECTED)


@data_app.command(
    epilog="Examples:\n\n"
    "`marrowscope data pack cells.csv --output pack`\n\n"
    "`marrowscope train --data cells.csv --split split --pack pack --output runs/first`\n\n"
    "An interrupted packing is continued by the same command."
)
def pack(
    data: DataArgument,
    output: Annotated[Path, typer.Option(help="Folder of the pack: 0.15 MB a cell of 224 pixels.")],
    size: Annotated[int, typer.Option(min=14, help="Side of a cell, in pixels.")] = 224,
    resample: Annotated[str, typer.Option(help="Filter: bicubic or bilinear.")] = "bicubic",
    field_um: Annotated[
        float,
        typer.Option(
            min=0, help="Side of the square that is shown, in micrometres; 0: the whole picture."
        ),
    ] = 0,
    workers: WorkersOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Decode and resize cells once, into a file that training reads at any speed."""
    with writing_into(output):
        from marrowscope.commands.data_output import show_packed
        from marrowscope.data.pack import pack as run
        from marrowscope.model.preprocess import Preprocessing

        wanted = Preprocessing(size=size, resample=resample, field_um=field_um)
        manifest = read_data(data, quiet=True)
        with progress("Packing cells", len({cell.sha256 for cell in manifest.cells})) as advance:
            result = run(manifest, output, wanted, workers=workers, advance=advance)
        show_packed(result, as_json)
    if manifest.rejects or result.rejects:
        raise typer.Exit(SOME_REJECTED)


@data_app.command(epilog="Example:\n\n`marrowscope data show cells.csv --output cells.html`")
def show(
    data: DataArgument,
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("cells.html"),
    per_class: Annotated[
        int, typer.Option(min=1, max=200, help="Cells shown of each class of each source.")
    ] = 12,
    seed: Annotated[int, typer.Option(help="Of the choice of cells.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Draw the census of the classes and a contact sheet of each, source by source."""
    with writing(output):
        from marrowscope.commands.data_output import show_census
        from marrowscope.data.contact_sheet import show as draw

        manifest = read_data(data, quiet=True)
        census = draw(manifest, output, per_class=per_class, seed=seed)
        show_census(census, output, as_json)
    if manifest.rejects:
        raise typer.Exit(SOME_REJECTED)


@data_app.command(
    epilog="Examples:\n\n"
    "`marrowscope data doubts figures --data cells.csv --output doubts`\n\n"
    "`marrowscope data doubts figures-1 figures-2 figures-3 --data cells.csv --output doubts`\n\n"
    "Each folder is what `evaluate` wrote, of cells that its model did not learn from."
)
def doubts(
    evaluations: Annotated[
        list[Path],
        typer.Argument(metavar="FIGURES...", help="Folders of `evaluate`: one, or one a fold."),
    ],
    data: DataOption,
    output: Annotated[
        Path, typer.Option(help="Folder for doubts.csv, doubts.json and doubts.html.")
    ],
    shown: Annotated[
        int, typer.Option(min=1, max=2000, help="Cells on the page; the list has all.")
    ] = 200,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """List cells whose label a model confidently contradicts; no label is changed."""
    with writing_into(output):
        from marrowscope.commands.label_issues_output import show_doubts
        from marrowscope.evaluation.label_issues_page import list_doubts
        from marrowscope.evaluation.out_of_fold import read_out_of_fold

        predictions = read_out_of_fold(evaluations)
        manifest = read_data(data, quiet=True)
        result = list_doubts(predictions, manifest, output, shown=shown, overwrite=overwrite)
        show_doubts(result, as_json)
    if manifest.rejects:
        raise typer.Exit(SOME_REJECTED)
