"""The application of the reading room: what stands around the routes, and its life."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from marrowscope import __version__
from marrowscope.web import pages, problems
from marrowscope.web.api import (
    active_learning,
    audit,
    cases,
    cells,
    classify,
    differential,
    fields,
    files,
    health,
    labels,
    report,
    review,
    session,
    users,
)
from marrowscope.web.metrics import API, Timed
from marrowscope.web.security import Guard
from marrowscope.web.settings import Settings
from marrowscope.web.state import Room
from marrowscope.web.worker import Worker

ABOUT = (
    "Cases of bone marrow cells, their review and their differential. Research use only: figures "
    "for a person to review, never a diagnosis."
)
STATIC = Path(__file__).parent / "static"
PROBLEM = {"description": "A problem (RFC 9457).", "content": {problems.MEDIA: {}}}
PARTS = (
    session,
    users,
    cases,
    files,
    fields,
    cells,
    review,
    differential,
    report,
    classify,
    audit,
    health,
    active_learning,
    labels,
)


class Reader(Protocol):
    """What reads cells behind the pages."""

    def call(self) -> None:
        """Hear that there is something to do."""


def create_app(
    settings: Settings, reader: Callable[[Room], AbstractContextManager[Reader]] = Worker
) -> FastAPI:
    """Make the application of a reading room; it opens its room as it starts.

    Cells are read by a thread, or by what `reader` makes for the room, such as `apart.Apart`.

    Raises:
        StoreError: the database, the folder or the store of the pictures cannot be used.
        BundleError: the bundle is not whole, not the one demanded, or not signed as demanded.
        MissingExtraError: the library for such a database, store or signature is not installed.
    """
    room = Room(settings)

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        with reader(room) as entered:
            room.called = entered.call
            yield
        room.close()

    app = FastAPI(
        title="marrowscope",
        version=__version__,
        description=ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
        responses={"4XX": PROBLEM, "503": PROBLEM},
        lifespan=life,
    )
    app.state.room = room
    problems.install(app, pages.error_page)
    for part in PARTS:
        app.include_router(part.router, prefix=API)
    app.include_router(pages.router)
    if STATIC.is_dir():
        app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Timed, meters=room.meters)
    app.add_middleware(Guard, settings=settings)
    return app
