"""The command `marrowscope serve`."""

from pathlib import Path
from typing import Annotated

import typer

from marrowscope.commands.common import (
    AUTO,
    BundleHashOption,
    BundleOption,
    EngineOption,
    errors_in_words,
)
from marrowscope.commands.store import ROOM, DatabaseOption, PicturesOption, RoomOption

EPILOG = (
    "Examples:\n\n"
    "`marrowscope serve`\n\n"
    "`marrowscope serve --room /srv/room --https --name room.example.org`\n\n"
    "The first start prints a link with which you make the administrator; it can be used once."
)


def serve(
    room: RoomOption = ROOM,
    database: DatabaseOption = "",
    pictures: PicturesOption = "",
    bundle: BundleOption = "default",
    bundle_sha256: BundleHashOption = "",
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default cannot be reached from outside.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 for any that is free.")] = 8017,
    name: Annotated[
        list[str] | None,
        typer.Option(help="Another name by which browsers reach it; may be given again."),
    ] = None,
    https: Annotated[
        bool, typer.Option("--https", help="Browsers speak HTTPS with a proxy before it.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(help="Certificate (PEM), to speak HTTPS itself.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Key of the certificate (PEM).")] = None,
    threads: Annotated[
        int,
        typer.Option(min=0, help="Processor threads that read cells; 0 for all cores but one."),
    ] = 0,
    engine: EngineOption = AUTO,
) -> None:
    """Open the reading room: a local web page for cases, their review and sign-off."""
    with errors_in_words():
        from marrowscope.web.server import open_room
        from marrowscope.web.settings import Settings

        open_room(
            Settings(
                folder=room,
                database=database,
                pictures=pictures,
                bundle=bundle,
                bundle_sha256=bundle_sha256,
                engine="onnxruntime" if engine == AUTO else engine,
                threads=threads,
                host=host,
                port=port,
                names=tuple(name or ()),
                https=https,
                certificate=certificate,
                key=key,
            ),
            typer.echo,
        )
