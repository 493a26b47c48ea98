"""The command `marrowscope train`: a classifier by a recipe."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marrowscope.commands.common import (
    AuditOption,
    ChangesOption,
    DataOption,
    DecodersOption,
    EpochsOption,
    JsonOption,
    PackOption,
    RecipeOption,
    ThreadsOption,
    errors_in_words,
    prepare_training,
    read_data,
    training_bar,
    writing_into,
)

if TYPE_CHECKING:
    from marrowscope.data.manifest import Manifest
    from marrowscope.data.split import Split

EPILOG = (
    "Examples:\n\n"
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
    is_first = os.environ.get("RANK", "0") == "0"
    with writing_into(output) if is_first else errors_in_words():
        prepare_training()
        from marrowscope.commands.train_output import show_trained
        from marrowscope.data.pack import open_pack
        from marrowscope.data.split import read_split
        from marrowscope.io.tables import CONTINUE, prepare_folder
        from marrowscope.taxonomy import scheme
        from marrowscope.train.fit import fit
        from marrowscope.train.recipes import read_changes, settings_of

        named: dict[str, Any] = {"model": model, "epochs": epochs, "batch_size": batch_size}
        named |= {"seed": seed, "workers": workers, "threads": threads}
        named |= {"classes": None if classes is None else scheme(classes)}
        options = {name: value for name, value in named.items() if value is not None}
        settings = settings_of(recipe, options | read_changes(changes or []))
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


def _split_here(manifest: "Manifest", audit: Path | None, seed: int) -> "Split":
    """Split by the defaults, where no split was made before."""
    from marrowscope.data.partition import divide
    from marrowscope.data.split import read_damaged, read_pairs
    from marrowscope.data.split_plan import SplitPlan

    plan = SplitPlan(seed=seed, damaged=read_damaged(audit))
    return divide(manifest.cells, read_pairs(audit) if audit else None, plan)
