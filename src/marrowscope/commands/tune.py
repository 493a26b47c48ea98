"""The command `marrowscope tune`: a sweep over settings, one training a trial."""

from pathlib import Path
from typing import Annotated, Any

import typer

from marrowscope.commands.common import (
    ChangesOption,
    DataOption,
    DecodersOption,
    EpochsOption,
    JsonOption,
    PackOption,
    ThreadsOption,
    prepare_training,
    read_data,
    training_bar,
    writing_into,
)

EPILOG = (
    "Examples:\n\n"
    "`marrowscope tune --data cells.csv --split split --range learning_rate=1e-5:1e-3:log "
    "--range balance=none,sampler,focal --output sweeps/first`\n\n"
    "`marrowscope train --data cells.csv --split split --recipe sweeps/first/best.toml "
    "--output runs/best`\n\n"
    "An interrupted sweep is continued by the same command; a larger `--trials` adds to it."
)


def tune(
    data: DataOption,
    split: Annotated[Path, typer.Option(help="Folder of `data split`; its test part stays shut.")],
    ranges: Annotated[
        list[str],
        typer.Option(
            "--range",
            metavar="NAME=RANGE",
            help="What to try: LOW:HIGH, LOW:HIGH:log or A,B,C; may be repeated.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="Folder of the sweep: new, empty or to go on with.")],
    recipe: Annotated[
        str, typer.Option(help="All other settings: a recipe's name, or a TOML file.")
    ] = "dinov2-small",
    trials: Annotated[int, typer.Option(min=1, help="Trainings in all.")] = 20,
    pack: PackOption = None,
    epochs: EpochsOption = None,
    changes: ChangesOption = None,
    seed: Annotated[int, typer.Option(help="Of every training and of what is tried.")] = 0,
    workers: DecodersOption = 0,
    threads: ThreadsOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Try settings within ranges; keep the training with the best validation macro-F1."""
    with writing_into(output):
        prepare_training("optuna")
        from marrowscope.commands.train_output import show_tuned
        from marrowscope.data.pack import open_pack
        from marrowscope.data.split import read_split
        from marrowscope.train.recipes import read_changes, settings_of
        from marrowscope.train.search_space import read_ranges
        from marrowscope.train.tune import tune as run

        named: dict[str, Any] = {"seed": seed, "workers": workers, "threads": threads}
        named |= {} if epochs is None else {"epochs": epochs}
        fixed = named | read_changes(changes or [])
        settings = settings_of(recipe, fixed)
        wanted = read_ranges(ranges, fixed)
        chosen = read_split(split)
        manifest = read_data(data, quiet=as_json)
        with training_bar() as watch:
            opened = open_pack(pack) if pack else None
            result = run(
                manifest,
                chosen,
                settings,
                wanted,
                output,
                trials=trials,
                watch=watch,
                pack=opened,
            )
        show_tuned(result, as_json)
