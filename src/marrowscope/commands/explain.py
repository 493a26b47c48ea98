"""The command `marrowscope explain`: where a bundle sees the likeliest classes of pictures."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import (
    SOME_REJECTED,
    JsonOption,
    OverwriteOption,
    ScaleOption,
    progress,
    writing_into,
)

EPILOG = (
    "Example:\n\n"
    "`marrowscope explain cells/odd.jpg --bundle bundles/first --output seen`\n\n"
    "Exit codes: 0 all pictures were read, 1 none could be or an error, 2 wrong usage, "
    "3 some inputs were rejected."
)


def explain(
    pictures: Annotated[
        list[str], typer.Argument(metavar="PICTURE...", help="Pictures, folders or patterns.")
    ],
    bundle: Annotated[str, typer.Option(help="Folder or name of a bundle.")],
    output: Annotated[Path, typer.Option(help="Folder for explain.html and explain.json.")],
    um_per_px: ScaleOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show where a bundle sees the two likeliest classes of pictures, on one page."""
    with writing_into(output):
        from marrowscope.inference.explain import DATA, PAGE
        from marrowscope.inference.explain import explain as run
        from marrowscope.io.discovery import find_files
        from marrowscope.model.bundle import load_bundle

        chosen = load_bundle(bundle)
        chosen.preprocessing.check_scale(um_per_px)
        besides = (output / PAGE, output / DATA)
        inputs = find_files(pictures, um_per_px, besides)
        with progress("Looking at cells", None) as advance:
            result = run(inputs, chosen, output, overwrite=overwrite, advance=advance)
        for reject in result.rejects:
            print(f"rejected: {reject.path}: {reject.reason}", file=sys.stderr)
        if as_json:
            print(json.dumps(result.as_dict(chosen), ensure_ascii=False))
        else:
            for path, (best, *_) in result.guesses.items():
                print(f"{path}: {best.code} {best.probability:.1%}")
            print(f"Page: {output / PAGE}")
    if result.rejects:
        raise typer.Exit(SOME_REJECTED if result.guesses else 1)
