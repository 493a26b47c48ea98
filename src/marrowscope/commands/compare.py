"""The command `marrowscope compare`: two or more bundles on one test, and how sure it is."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from marrowscope.commands.common import (
    SOURCES,
    AuditOption,
    BootstrapSeedOption,
    JsonOption,
    LeastSupportOption,
    OverwriteOption,
    RoundsOption,
    errors_in_words,
    progress,
    read_data,
    writing_into,
)
from marrowscope.errors import SettingsError

if TYPE_CHECKING:
    from marrowscope.evaluation.load import Evaluated


class Figures(NamedTuple):
    """How figures are made, as `evaluate` takes it."""

    least_support: int
    rounds: int
    seed: int
    overwrite: bool


EPILOG = (
    "Examples:\n\n"
    "`marrowscope compare figures/first figures/second --output comparison`\n\n"
    "`marrowscope compare bundles/first bundles/second --data cells.csv --split split "
    "--output comparison`\n\n"
    "Exit codes: 0 whatever differs, 1 an error, 2 wrong usage."
)


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="EVALUATION...",
            help="Folders that `evaluate` wrote; the others are compared with the first. Or "
            "folders of bundles, with --data, --split and --output.",
        ),
    ],
    data: Annotated[
        Path | None, typer.Option(help=f"To evaluate bundles: the cells, as {SOURCES}.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="To evaluate bundles: folder of their run or split.")
    ] = None,
    audit: AuditOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder for compare.json, compare.csv and compare.html.",
            show_default="only the screen",
        ),
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Leave out cells that only some evaluations have.")
    ] = False,
    least_support: LeastSupportOption = 10,
    rounds: RoundsOption = 2000,
    seed: BootstrapSeedOption = 0,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare bundles cell by cell on one test, with a verdict in words for each class."""
    with writing_into(output) if output else errors_in_words():
        from marrowscope.commands.evaluate_output import show_comparison
        from marrowscope.evaluation.compare import compare as run
        from marrowscope.evaluation.compare_page import PAGE, write_comparison
        from marrowscope.evaluation.load import check_different, read_evaluation
        from marrowscope.io.tables import prepare_folder

        bundles = _bundles(folders)
        _check_options(bundles, data=data, split=split, audit=audit, output=output)
        check_different(folders)
        read = {folder: read_evaluation(folder) for folder in folders if folder not in bundles}
        if output:
            prepare_folder(output, overwrite)
        if data and split and output:
            figures = Figures(least_support, rounds, seed, overwrite)
            read |= _evaluate(bundles, data, split, audit, output, figures)
        evaluations = [read[folder] for folder in folders]
        result = run(
            evaluations, common=common, least_support=least_support, rounds=rounds, seed=seed
        )
        if output:
            write_comparison(result, output)
        show_comparison(result, as_json)
        if output and not as_json:
            print(f"Page: {output / PAGE}")


def _bundles(folders: list[Path]) -> list[Path]:
    from marrowscope.model.metadata import DESCRIPTION

    return [folder for folder in folders if (folder / DESCRIPTION).is_file()]


def _check_options(bundles: list[Path], *, output: Path | None, **inputs: Path | None) -> None:
    """Check that what evaluating needs is given if there are bundles, and only then."""
    if not bundles and any(inputs.values()):
        raise SettingsError(
            "--data, --split and --audit are for bundles, and no argument is the folder of one; "
            "leave them out to compare evaluations"
        )
    if bundles and not (inputs["data"] and inputs["split"] and output):
        raise SettingsError(
            f"{bundles[0]} is a bundle; to evaluate it, --data, --split and --output are needed. "
            "Or give the folder that `marrowscope evaluate` wrote for it"
        )


def _evaluate(
    bundles: list[Path],
    data: Path,
    split: Path,
    audit: Path | None,
    output: Path,
    figures: Figures,
) -> "dict[Path, Evaluated]":
    """Evaluate bundles as `marrowscope evaluate` does, each into a subfolder of the output."""
    from marrowscope.data.split import read_pairs, read_split
    from marrowscope.evaluation.evaluate import evaluate
    from marrowscope.evaluation.load import read_evaluation
    from marrowscope.model.bundle import load_bundle

    sealed = read_split(split)
    manifest = read_data(data, quiet=True)
    read = {}
    for number, folder in enumerate(bundles, 1):
        into = output / f"evaluation-{number}"
        with progress(f"Evaluating {folder.name}", len(sealed.part("test"))) as advance:
            result = evaluate(
                load_bundle(str(folder)),
                manifest,
                sealed,
                into,
                pairs=read_pairs(audit) if audit else None,
                advance=advance,
                **figures._asdict(),
            )
        for reject in result.rejects:
            print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
        read[folder] = read_evaluation(into)
    return read
