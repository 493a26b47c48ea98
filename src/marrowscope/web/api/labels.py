"""Reviewed cells to take along: a manifest that `train` takes, alone or with its pictures."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import IO

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from marrowscope.store.blobs import CHUNK
from marrowscope.store.enums import Role
from marrowscope.store.export_labels import export_reviewed
from marrowscope.store.users import check_role
from marrowscope.web.auth import Caller, InRoom, Me
from marrowscope.web.state import Room

router = APIRouter(tags=["queue"])
MANIFEST = "manifest.csv"


class ReviewedName(StrEnum):
    """What of the reviewed cells is wanted."""

    MANIFEST = "manifest.csv"
    """Paths, hashes and classes; a path is `pictures/` and the SHA-256 of the picture."""
    CELLS = "cells.zip"
    """The manifest with all its pictures."""


MEDIA = {ReviewedName.MANIFEST: "text/csv; charset=utf-8", ReviewedName.CELLS: "application/zip"}


@router.get("/reviewed/{name}", response_class=StreamingResponse)
def reviewed(caller: Me, room: InRoom, name: ReviewedName) -> StreamingResponse:
    """Give the cells that people decided on in reviewed and signed cases that you may see.

    For reviewers. Headers `X-Cells`, `X-Disputed` and `X-In-Drafts` count the cells in it, those
    left out as the same picture has another class in another case, and those in drafts.
    """
    check_role(caller.user, Role.REVIEWER, "the export")
    with ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile(prefix="marrowscope-"))
        counts = _write(file, room, caller, name)
        stack.pop_all()
    headers = {"Content-Disposition": f'attachment; filename="{name.value}"'} | counts
    return StreamingResponse(_pieces(file), media_type=MEDIA[name], headers=headers)


def _write(file: IO[bytes], room: Room, caller: Caller, name: ReviewedName) -> dict[str, str]:
    """Write what is wanted; give headers that say how many cells are in it and left out."""
    wanted: dict[str, str] = {}

    def place(sha256: str) -> str:
        return wanted.setdefault(sha256, f"pictures/{sha256}")

    with tempfile.TemporaryDirectory(prefix="marrowscope-") as folder:
        manifest = Path(folder) / MANIFEST
        with room.store.read() as session:
            done = export_reviewed(session, room.blobs, manifest, actor=caller.user, place=place)
        if name is ReviewedName.MANIFEST:
            file.write(manifest.read_bytes())
        else:
            with zipfile.ZipFile(file, "w") as archive:
                archive.write(manifest, MANIFEST)
                for sha256, path in wanted.items():
                    archive.write(room.blobs.path(sha256), path)
    counts = {"Cells": done.cells, "Disputed": done.disputed, "In-Drafts": done.in_drafts}
    return {f"X-{key}": str(number) for key, number in counts.items()}


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    with file:
        while piece := file.read(CHUNK):
            yield piece
