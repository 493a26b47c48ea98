"""The command line: it only parses, calls one function for each verb, prints and exits."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marrowscope import __version__
from marrowscope.cli_agree import EPILOG as AGREE_EPILOG
from marrowscope.cli_agree import agree
from marrowscope.cli_classify import EPILOG as CLASSIFY_EPILOG
from marrowscope.cli_classify import classify
from marrowscope.cli_compare import EPILOG as COMPARE_EPILOG
from marrowscope.cli_compare import compare
from marrowscope.cli_data import data_app
from marrowscope.cli_evaluate import EPILOG as EVALUATE_EPILOG
from marrowscope.cli_evaluate import evaluate
from marrowscope.cli_explain import EPILOG as EXPLAIN_EPILOG
from marrowscope.cli_explain import explain
from marrowscope.cli_find import EPILOG as FIND_EPILOG
from marrowscope.cli_find import find_cells
from marrowscope.cli_report import EPILOG as REPORT_EPILOG
from marrowscope.cli_report import report
from marrowscope.cli_serve import EPILOG as SERVE_EPILOG
from marrowscope.cli_serve import serve
from marrowscope.cli_store import QUEUE_EPILOG, audit_app, case_app, queue, user_app
from marrowscope.cli_tune import EPILOG, tune
from marrowscope.terminal import (
    AuditOption,
    BundleOption,
    ChangesOption,
    DataArgument,
    DataOption,
    DecodersOption,
    EpochsOption,
    JsonOption,
    OverwriteOption,
    PackOption,
    RecipeOption,
    ThreadsOption,
    errors_in_words,
    prepare_training,
    progress,
    read_data,
    training_bar,
)

if TYPE_CHECKING:
    from marrowscope.data.manifest import Manifest
    from marrowscope.data.split import Split

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Classify single bone marrow cells and count them into a differential.\n\n"
    "Research use only: figures for a person to review, never a diagnosis.",
    epilog="First look: `marrowscope classify FOLDER_WITH_CELL_PICTURES`",
)
app.add_typer(data_app, name="data")
app.add_typer(case_app, name="case")
app.add_typer(user_app, name="user")
app.add_typer(audit_app, name="audit-log")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"marrowscope {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Hold the options that come before a command."""


app.command(epilog=CLASSIFY_EPILOG)(classify)


@app.command(
    epilog="Examples:\n\n`marrowscope doctor`\n\n`marrowscope doctor --bundle mine --json`"
)
def doctor(
    bundle: BundleOption = "default",
    as_json: JsonOption = False,
) -> None:
    """Say what this machine has, which engine it will use, how fast, and what is missing."""
    with errors_in_words():
        from marrowscope.bundle import load_bundle
        from marrowscope.doctor import examine
        from marrowscope.screen import show_examined

        show_examined(examine(load_bundle(bundle)), as_json)


@app.command(
    epilog="Examples:\n\n"
    "`marrowscope train --data cells.csv --output runs/first`\n\n"
    "`marrowscope train --data cells.csv --split split --pack pack --recipe resnet50 "
    "--set balance=sampler --output runs/second`\n\n"
    "`accelerate launch -m marrowscope train --data cells.csv --output runs/many`\n\n"
    "An interrupted training is continued by the same command with `--resume`."
)
def train(
    data: DataOption,
    output: Annotated[Path, typer.Option(help="Folder of the run; it must be new or empty.")],
    split: Annotated[
        Path | None,
        typer.Option(
            help="Folder of `data split`.", show_default="split here: 70% train, 15% val, 15% test"
        ),
    ] = None,
    audit: AuditOption = None,
    pack: PackOption = None,
    recipe: RecipeOption = "dinov2-small",
    model: Annotated[
        str | None,
        typer.Option(
            help="Network: a known name, a hub id or a local folder.",
            show_default="the recipe's",
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated class codes, or `fourteen`.",
            show_default="all with enough images",
        ),
    ] = None,
    epochs: EpochsOption = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Cells in a step.", show_default="the recipe's")
    ] = None,
    changes: ChangesOption = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    workers: DecodersOption = 0,
    threads: ThreadsOption = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a classifier by a recipe; keep the best epoch by validation macro-F1."""
    with errors_in_words():
        prepare_training()
        from marrowscope.data.pack import open_pack
        from marrowscope.data.split import read_split
        from marrowscope.labels import scheme
        from marrowscope.results import CONTINUE, prepare_folder
        from marrowscope.screen import show_trained
        from marrowscope.train.fit import fit
        from marrowscope.train.recipes import read_changes, settings_of

        named: dict[str, Any] = {"model": model, "epochs": epochs, "batch_size": batch_size}
        named |= {"seed": seed, "workers": workers, "threads": threads}
        named |= {"classes": None if classes is None else scheme(classes)}
        given = {name: value for name, value in named.items() if value is not None}
        settings = settings_of(recipe, given | read_changes(changes or []))
        is_first = os.environ.get("RANK", "0") == "0"
        if is_first:
            prepare_folder(output, overwrite=resume, otherwise=CONTINUE)
        manifest = read_data(data, quiet=as_json or not is_first)
        chosen = read_split(split) if split else _split_here(manifest, audit, seed)
        with training_bar() as watch:
            opened = open_pack(pack) if pack else None
            result = fit(
                manifest, chosen, settings, output, watch=watch, pack=opened, resume=resume
            )
        if is_first:
            show_trained(result, as_json)


@app.command(
    epilog="Example:\n\n"
    "`marrowscope preview cells.csv --recipe dinov2-small --set zoom=2 --output views.html`"
)
def preview(
    data: DataArgument,
    output: Annotated[Path, typer.Option(help="The page to write.")] = Path("views.html"),
    recipe: RecipeOption = "dinov2-small",
    changes: ChangesOption = None,
    cells: Annotated[int, typer.Option(min=1, help="Cells to show.")] = 12,
    views: Annotated[int, typer.Option(min=1, help="Random views of each.")] = 6,
) -> None:
    """Draw random views of real cells, as a recipe's training would see them."""
    with errors_in_words():
        prepare_training()
        from marrowscope.train.preview import preview as draw
        from marrowscope.train.recipes import read_changes, settings_of

        settings = settings_of(recipe, read_changes(changes or []))
        manifest = read_data(data, quiet=True)
        draw(manifest, settings, output, cells=cells, views=views)
        print(f"Page: {output}")


app.command(epilog=EPILOG)(tune)


@app.command(
    epilog="Example:\n\n"
    "`marrowscope export runs/first --data cells.csv --output bundles/first --precision int8`"
)
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    data: DataOption,
    output: Annotated[Path, typer.Option(help="Folder of the bundle; it must be new or empty.")],
    name: Annotated[
        str, typer.Option(help="Name of the bundle.", show_default="the folder's name")
    ] = "",
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
    with errors_in_words():
        prepare_training()
        from marrowscope.screen import show_exported
        from marrowscope.train.export import export as export_run
        from marrowscope.train.run import read_run

        finished = read_run(run)
        manifest = read_data(data, quiet=True)
        with progress("Comparing cells", None) as each:
            result = export_run(
                finished,
                manifest,
                output,
                name or output.name,
                precision=precision,
                calibration=calibration,
                false_alarms=false_alarms,
                licence=licence,
                attribution=attribution or (),
                pictures=pictures,
                credit=picture_credit,
                overwrite=overwrite,
                each=each,
            )
        show_exported(result, as_json)


app.command(epilog=EVALUATE_EPILOG)(evaluate)
app.command(epilog=COMPARE_EPILOG)(compare)
app.command(epilog=AGREE_EPILOG)(agree)
app.command(epilog=EXPLAIN_EPILOG)(explain)
app.command(epilog=FIND_EPILOG)(find_cells)
app.command(epilog=QUEUE_EPILOG)(queue)
app.command(epilog=REPORT_EPILOG)(report)
app.command(epilog=SERVE_EPILOG)(serve)


def _split_here(manifest: "Manifest", audit: Path | None, seed: int) -> "Split":
    """Split by the defaults, where no split was made before."""
    from marrowscope.data.divide import divide
    from marrowscope.data.plan import SplitPlan
    from marrowscope.data.split import read_damaged, read_pairs

    plan = SplitPlan(seed=seed, damaged=read_damaged(audit))
    return divide(manifest.cells, read_pairs(audit), plan)
