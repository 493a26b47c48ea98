"""The command `marrowscope preview`: cells as a training would see them."""

from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import (
    ChangesOption,
    DataArgument,
    RecipeOption,
    prepare_training,
    read_data,
    writing,
)

EPILOG = (
    "Example:\n\n"
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
    with writing(output):
        prepare_training()
        from marrowscope.train.preview import preview as draw
        from marrowscope.train.recipes import read_changes, settings_of

        settings = settings_of(recipe, read_changes(changes or []))
        manifest = read_data(data, quiet=True)
        draw(manifest, settings, output, cells=cells, views=views)
        print(f"Page: {output}")
