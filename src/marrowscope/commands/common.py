"""What all commands share: options, exit codes, progress bars, errors in words."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from marrowscope.errors import MarrowscopeError, MissingExtraError
from marrowscope.wording.errors import split_hint

if TYPE_CHECKING:
    from rich.progress import Progress

    from marrowscope.data.manifest import Manifest
    from marrowscope.inference.ray import ClusterPredictor
    from marrowscope.model.bundle import Bundle

SOME_REJECTED = 3
"""Exit code when everything was done but some inputs were rejected."""

SOURCES = "a CSV or Parquet manifest, class folders, a zip of them, or Parquet with pictures"
DataArgument = Annotated[Path, typer.Argument(metavar="DATA", help=f"The cells: {SOURCES}.")]
DataOption = Annotated[
    Path, typer.Option("--data", help=f"The cells: {SOURCES}.", rich_help_panel="Input")
]
AuditOption = Annotated[
    Path | None,
    typer.Option(
        "--audit",
        help="Folder of `data audit`, or a CSV with path_a,path_b: pairs that stay in one part.",
        rich_help_panel="Input",
    ),
]
RecipeOption = Annotated[
    str, typer.Option("--recipe", help="How to train: a recipe's name, or a TOML file.")
]
ChangesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Change any setting of the recipe; may be repeated."
    ),
]
PackOption = Annotated[
    Path | None,
    typer.Option(
        "--pack",
        help="Folder of `data pack`: cells are read from there, not decoded anew.",
        rich_help_panel="Input",
    ),
]
EpochsOption = Annotated[
    int | None,
    typer.Option("--epochs", help="Passes over the training cells.", show_default="the recipe's"),
]
DecodersOption = Annotated[
    int,
    typer.Option(
        "--workers", help="Processes that decode pictures.", metavar="N", rich_help_panel="Compute"
    ),
]
AUTO = "auto"
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="onnxruntime, openvino, cuda or auto.",
        metavar="NAME",
        rich_help_panel="Compute",
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        "--um-per-px",
        min=0.001,
        help="Micrometres per pixel.",
        metavar="UM",
        rich_help_panel="Input",
    ),
]
KeepFlaggedOption = Annotated[
    bool,
    typer.Option("--keep-flagged", help="Read flagged fields too.", rich_help_panel="Input"),
]
NormsOption = Annotated[
    Path | None,
    typer.Option(
        "--norms",
        help="TOML file of reference ranges.",
        show_default="adult marrow",
        metavar="FILE",
        rich_help_panel="Counting",
    ),
]
FormulaOption = Annotated[
    str,
    typer.Option(
        "--me-formula",
        help="icsh, without-blasts, without-monocytes or granulocytes.",
        metavar="NAME",
        rich_help_panel="Counting",
    ),
]
BundleOption = Annotated[
    str,
    typer.Option(
        "--bundle",
        help="A bundle's folder, or: default, fast.",
        metavar="NAME",
        rich_help_panel="Compute",
    ),
]
BundleHashOption = Annotated[
    str,
    typer.Option(
        "--bundle-sha256",
        metavar="DIGEST",
        help="Refuse any other bundle.",
        show_default=False,
        rich_help_panel="Compute",
    ),
]
KeepNovelOption = Annotated[
    bool, typer.Option("--keep-novel", help="Count novel cells too.", rich_help_panel="Counting")
]
CoresOption = Annotated[
    int,
    typer.Option(
        "--threads",
        min=0,
        help="Processor threads; 0: all cores.",
        metavar="N",
        rich_help_panel="Compute",
    ),
]
ThreadsOption = Annotated[
    int,
    typer.Option(
        "--threads", help="Threads of torch; 0: one a core.", metavar="N", rich_help_panel="Compute"
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace earlier results.", rich_help_panel="Output")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print JSON and nothing else.", rich_help_panel="Output")
]
LeastSupportOption = Annotated[
    int,
    typer.Option("--least-support", min=1, help="True cells a class needs for macro means."),
]
RoundsOption = Annotated[int, typer.Option("--rounds", min=100, help="Rounds of the bootstrap.")]
BootstrapSeedOption = Annotated[int, typer.Option("--seed", help="Seed of the bootstrap.")]
WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        min=0,
        help="Processes; 0 for one a core.",
        metavar="N",
        rich_help_panel="Compute",
    ),
]


@contextmanager
def errors_in_words() -> Iterator[None]:
    """Print an error of ours, or of the disk, as one sentence and exit with 1."""
    try:
        yield
    except MarrowscopeError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}")


@contextmanager
def writing_into(folder: Path) -> Iterator[Path]:
    """Keep other commands out of a folder of results and give it, with errors in words."""
    with errors_in_words():
        from marrowscope.io.locks import alone_in

        with alone_in(folder):
            yield folder


@contextmanager
def writing(file: Path) -> Iterator[Path]:
    """Keep other commands from writing a file and give it, with errors in words."""
    with errors_in_words():
        from marrowscope.io.locks import alone_at

        with alone_at(file):
            yield file


def new_folder(name: str) -> Path:
    """Name a folder that is not there yet, by the time."""
    return Path(f"{name}-{datetime.now().astimezone():%Y%m%d-%H%M%S}")


def _fail(message: str) -> NoReturn:
    cause, hint = split_hint(message)
    print(f"error: {cause}", file=sys.stderr)
    if hint:
        print(f"hint: {hint}", file=sys.stderr)
    raise typer.Exit(1)


def prepare_training(*also: str) -> None:
    """Check that the training extra is there, and keep its libraries from chatting.

    Raises:
        MissingExtraError: torch, transformers, onnx or a library in `also` is not installed.
    """
    from importlib.util import find_spec

    needed = ("torch", "transformers", "onnx", *also)
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"this command needs {', '.join(missing)}; install it with: "
            "pip install 'marrowscope[train]'"
        )
    logging.basicConfig(level=logging.WARNING)
    from transformers.utils import logging as of_transformers

    of_transformers.set_verbosity_error()
    of_transformers.disable_progress_bar()


def read_data(data: Path, quiet: bool) -> "Manifest":
    """Read labelled cells with a bar; print each reject and, unless `quiet`, the counts.

    Raises:
        ManifestError: nothing is there, a column is missing or no cell could be read.
        MissingExtraError: the data is Parquet, and pyarrow is not installed.
    """
    from marrowscope.commands.data_output import show_manifest
    from marrowscope.data.manifest import read_manifest

    with progress("Reading cells", None) as advance:
        manifest = read_manifest(data, advance)
    show_manifest(manifest, quiet)
    return manifest


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal's error stream; give the function that moves it by one."""
    with _bar() as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def cluster(
    address: str, bundle: "Bundle", workers: int, engine: str
) -> Iterator["ClusterPredictor | None"]:
    """Give what classifies on the Ray cluster at an address; None without one.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: there is no cluster at this address.
    """
    if not address:
        yield None
        return
    from marrowscope.inference.ray import ClusterPredictor

    with ClusterPredictor(bundle, address, workers, engine) as predictor:
        yield predictor


@contextmanager
def reading_bars(
    pictures: int, *, fields: bool
) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """Show a bar of cells that are read, and one of fields, if there are; give what moves them.

    The first function takes the number of cells of a field, the second moves by one cell.
    """
    with _bar() as bar:
        looked = bar.add_task("Finding cells", total=pictures, visible=fields)
        read = bar.add_task("Reading cells", total=0 if fields else pictures)

        def look(cells: int) -> None:
            bar.advance(looked)
            bar.update(read, total=(bar.tasks[read].total or 0) + cells)

        yield look, lambda: bar.advance(read)


@contextmanager
def training_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar of steps; give the function that sets it and its words."""
    with _bar() as bar:
        task = bar.add_task("loading", total=None)
        yield lambda step, steps, words: bar.update(
            task, completed=step, total=steps, description=words
        )


def _bar() -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, disable=not console.is_terminal)
