"""The open reading room: its database, pictures, model and counters, as all requests share them."""

import threading
from collections.abc import Callable
from functools import cached_property

from fastapi import Request

from marrowscope.differential.error_correction import Adjusted
from marrowscope.errors import NotReadyError
from marrowscope.inference.predictor import Predictor
from marrowscope.model.bundle import Bundle, load_bundle, load_pictures
from marrowscope.model.reference_images import KnownPicture
from marrowscope.store.live_count import CaseCount
from marrowscope.store.workspace import open_room, sweep
from marrowscope.web.cache import Kept
from marrowscope.web.explain_schema import Explanation
from marrowscope.web.metrics import Meters
from marrowscope.web.settings import Settings
from marrowscope.web.throttle import Attempts
from marrowscope.web.upload_progress import Unpacking

HASHES_AT_ONCE = 2
"""Passwords that are checked side by side; each takes 64 MiB."""


class Room:
    """What an application holds while it is open."""

    def __init__(self, settings: Settings) -> None:
        """Open the database, the pictures and the bundle; the model itself is loaded later.

        Pictures that no case has any more, and that are older than a day, are removed.

        Raises:
            StoreError: the database, the folder or the store of the pictures cannot be used.
            BundleError: the bundle is not whole, not the one demanded, or not signed as demanded.
            MissingExtraError: the library for such a database, store or signature is not installed.
        """
        self.settings = settings
        opened = open_room(settings.folder, settings.database, settings.pictures)
        self.store, self.blobs = opened.store, opened.blobs
        self.bundle: Bundle = load_bundle(settings.bundle, settings.bundle_sha256)
        sweep(opened)
        self.attempts = Attempts()
        self.meters = Meters()
        self.counts: Kept[CaseCount] = Kept(64)
        self.adjusted: Kept[Adjusted] = Kept(64)
        self.explanations: Kept[Explanation] = Kept(128)
        self.unpacking = Unpacking()
        self.hashing = threading.Semaphore(HASHES_AT_ONCE)
        self.called: Callable[[], None] = lambda: None
        """Says that there is something to do; the worker sets it."""
        self._loading = threading.Lock()

    @cached_property
    def _loaded(self) -> Predictor:
        return Predictor(self.bundle, self.settings.reading_threads, self.settings.engine)

    @cached_property
    def known_pictures(self) -> tuple[KnownPicture, ...]:
        """The pictures of the bundle's known cells; empty where it keeps none.

        Raises:
            BundleError: the file cannot be read, or holds something else.
        """
        return load_pictures(self.bundle)

    def load(self) -> Predictor:
        """Give the model; the first call loads it, which takes a second or two.

        Raises:
            SettingsError: no engine has the name in the settings.
            MissingExtraError: the engine is not installed.
            BundleError: the model cannot be loaded, or does not fit the bundle.
        """
        with self._loading:
            return self._loaded

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded."""
        return "_loaded" in self.__dict__

    def predictor(self) -> Predictor:
        """Give the model without waiting for it.

        Raises:
            NotReadyError: it is not loaded yet.
        """
        if not self.is_ready:
            raise NotReadyError("the model is being loaded; try again in a few seconds")
        return self._loaded

    def close(self) -> None:
        """Close the database."""
        self.store.close()


def room_of(request: Request) -> Room:
    """Give the room that a request came to."""
    room: Room = request.app.state.room
    return room
