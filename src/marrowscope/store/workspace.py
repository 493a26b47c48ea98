"""The reading room on the disk: one folder with the pictures and, by default, the database."""

import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from marrowscope.errors import StoreError
from marrowscope.store.blobs import Blobs
from marrowscope.store.database import Store, open_store
from marrowscope.store.object_blobs import SharedBlobs
from marrowscope.store.tables import CaseCell, Field

DATABASE, BLOBS = "room.db", "blobs"
A_DAY = 24 * 3600.0
"""Seconds that a picture of no case is kept, as its upload may still go on."""


@dataclass(frozen=True)
class Room:
    """An open reading room."""

    folder: Path
    store: Store
    blobs: Blobs

    def close(self) -> None:
        """Close its database."""
        self.store.close()


def open_room(folder: Path, url: str = "", pictures: str = "") -> Room:
    """Open the reading room in a folder, which is made if need be, for its owner's eyes alone.

    Without a URL, the database is the SQLite file `room.db` in the folder. With the URL of a store,
    the pictures are kept there, and the folder has copies of some.

    Raises:
        StoreError: the folder cannot be made, or the database or the store cannot be used.
        MissingExtraError: the library for such a store, or the driver of PostgreSQL, is not
            installed.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder}: cannot hold a reading room ({error.strerror})") from None
    blobs = SharedBlobs(folder / BLOBS, pictures) if pictures else Blobs(folder / BLOBS)
    return Room(folder, open_store(url or f"sqlite:///{(folder / DATABASE).resolve()}"), blobs)


def find_room(folder: Path, url: str = "", pictures: str = "") -> Room:
    """Open a reading room that is there.

    Raises:
        StoreError: there is none in this folder, or its database or store cannot be used.
        MissingExtraError: the library for such a store, or the driver of PostgreSQL, is not
            installed.
    """
    if not (pictures or (folder / BLOBS).is_dir()):
        raise StoreError(
            f"{folder}: no reading room; name its folder with --room, or make one with "
            "`marrowscope user add`"
        )
    return open_room(folder, url, pictures)


def sweep(room: Room, older: float = A_DAY) -> int:
    """Remove pictures that no case has any more, so many seconds after they came; give how many."""
    cutoff = time.time() - older
    with room.store.read() as session:
        cells = session.scalars(select(CaseCell.sha256).distinct())
        names = frozenset(cells) | frozenset(session.scalars(select(Field.sha256).distinct()))
    return room.blobs.sweep(names, cutoff)
