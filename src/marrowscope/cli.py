"""The command line: it only parses, calls one function for each verb, prints and exits."""

from typing import Annotated

import typer

from marrowscope import __version__
from marrowscope.commands import (
    agree,
    bundle,
    classify,
    compare,
    data,
    doctor,
    evaluate,
    explain,
    export,
    find_cells,
    preview,
    report,
    serve,
    store,
    train,
    train_detector,
    tune,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Classify single bone marrow cells and count them into a differential.\n\n"
    "Research use only: figures for a person to review, never a diagnosis.",
    epilog="First look: `marrowscope classify FOLDER_WITH_CELL_PICTURES --um-per-px 0.1`",
)
app.add_typer(data.data_app, name="data")
app.add_typer(bundle.bundle_app, name="bundle")
app.add_typer(store.case_app, name="case")
app.add_typer(store.user_app, name="user")
app.add_typer(store.audit_app, name="audit-log")


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


app.command(epilog=classify.EPILOG)(classify.classify)
app.command(epilog=doctor.EPILOG)(doctor.doctor)
app.command(epilog=train.EPILOG)(train.train)
app.command(epilog=train_detector.EPILOG)(train_detector.train_detector)
app.command(epilog=preview.EPILOG)(preview.preview)
app.command(epilog=tune.EPILOG)(tune.tune)
app.command(epilog=export.EPILOG)(export.export)
app.command(epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command(epilog=compare.EPILOG)(compare.compare)
app.command(epilog=agree.EPILOG)(agree.agree)
app.command(epilog=explain.EPILOG)(explain.explain)
app.command(epilog=find_cells.EPILOG)(find_cells.find_cells)
app.command(epilog=store.QUEUE_EPILOG)(store.queue)
app.command(epilog=report.EPILOG)(report.report)
app.command(epilog=serve.EPILOG)(serve.serve)
