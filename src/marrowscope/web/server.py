"""Run the reading room as a server until it is stopped."""

import logging
import socket
from collections.abc import Callable

import uvicorn

from marrowscope.errors import SettingsError
from marrowscope.store.invitations import first_link
from marrowscope.web.api.users import link_path
from marrowscope.web.app import create_app
from marrowscope.web.settings import Settings
from marrowscope.web.state import Room
from marrowscope.web.worker_process import Apart

PATIENCE_S = 10
"""Seconds that open requests have when the server is stopped."""


def open_room(settings: Settings, say: Callable[[str], object]) -> None:
    """Open a reading room and serve it until the process is told to stop.

    `say` gets the address and, while there are no users, the link that makes the administrator.

    Raises:
        SettingsError: the address cannot be listened at.
        StoreError: the database, the folder or the store of the pictures cannot be used.
        BundleError: the bundle is not whole, not the one demanded, or not signed as demanded.
        MissingExtraError: the library for such a database, store or signature is not installed.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    listening = _listen(settings.host, settings.port)
    app = create_app(settings, Apart)
    address = _address(settings, listening.getsockname()[1])
    say(f"The reading room is open at {address} (stop it with Ctrl+C).")
    _invite(app.state.room, address, say)
    uvicorn.Server(_config(app, settings)).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"cannot listen at {host}, port {port} ({error.strerror}); give another --port"
        ) from None
    # Inherited by every connection; asyncio sets it on none whose listener came from outside,
    # and an answer's body would wait up to 40 ms for the browser to acknowledge its head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _address(settings: Settings, port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.certificate else 'http'}://{host}:{port}"


def _invite(room: Room, address: str, say: Callable[[str], object]) -> None:
    """Say how the first administrator is made, if there is none."""
    with room.store.write() as session:
        secret = first_link(session)
    if secret:
        say(f"Make the administrator, once, within a day: {address}{link_path(secret)}")


def _config(app: object, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.https and settings.certificate is None,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.key,
        timeout_graceful_shutdown=PATIENCE_S,
    )
