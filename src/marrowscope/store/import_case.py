"""Bring a case from the disk into the reading room: its pictures are kept, and a job reads them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from marrowscope.cases.case import Case, Slide
from marrowscope.detection.field import file_of, open_field
from marrowscope.errors import CaseError, FieldError, ImageError
from marrowscope.io.archives import read_content
from marrowscope.io.images import decode_image
from marrowscope.locations import name_of
from marrowscope.store.blobs import Blobs, read_chunks
from marrowscope.store.cases import Facts, lock, make_case
from marrowscope.store.cells import Added, NewCell, add_cells
from marrowscope.store.enums import Role
from marrowscope.store.fields import FIND, NewField, add_fields
from marrowscope.store.jobs import add_job_once
from marrowscope.store.users import check_role, user_called
from marrowscope.store.workspace import Room
from marrowscope.types import Found, Picture, Reject

Kept = TypeVar("Kept")

READ = "read"
"""The kind of the job that reads the waiting cells of a case."""


@dataclass(frozen=True)
class Brought:
    """What became of a case that was brought in."""

    case: str
    """Public id."""
    added: Added
    """Cells that came as pictures of their own."""
    fields: Added
    """Whole fields, whose cells are still to be found."""
    rejects: tuple[Reject, ...]
    """Files that are no pictures of cells, or no fields; nothing of them joins the case."""


def bring(
    room: Room, actor: str, case: Case, advance: Callable[[], object] = lambda: None
) -> Brought:
    """Make a case of one on the disk, in one transaction once all pictures are kept.

    `who` is the name of the user that it will belong to; `advance` is called after each file.

    Raises:
        NotThereError: there is no such user.
        DeniedError: the user is a reader.
        CaseError: no file is a picture of a cell or a field, or slides have pixels of different
            sizes.
        StoreError: a fact, or a file's or a slide's name cannot be kept.
        UnavailableError: a picture cannot be kept, such as on a full disk; no case is made.
        MissingExtraError: a file lies in a container or store, or is a slide, that needs an extra
            which is not installed; nothing is kept.
    """
    with room.store.read() as session:
        check_role(user_called(session, actor), Role.REVIEWER, "making a case")
    scales = {slide.um_per_px for slide in case.slides}
    if len(scales) > 1:
        raise CaseError(f"the slides of {case.id} have pixels of different sizes; make a case each")
    inputs = {slide.name: _look_at(slide) for slide in case.slides}
    rejects: list[Reject] = []
    cells = {
        slide.name: _keep(inputs[slide.name], partial(_keep_one, room.blobs), rejects, advance)
        for slide in case.slides
        if not slide.fields
    }
    fields = {
        slide.name: _keep(inputs[slide.name], partial(_keep_field, room.blobs), rejects, advance)
        for slide in case.slides
        if slide.fields
    }
    if not any((*cells.values(), *fields.values())):
        why = f"; the first of {len(rejects)}: {rejects[0].reason}" if rejects else ""
        raise CaseError(f"{case.id}: no file is the picture of a cell{why}")
    facts = Facts(case.id, case.date, case.material, case.stain, next(iter(scales)))
    with room.store.write() as session:
        user = user_called(session, actor)
        new_case = make_case(session, user, facts)
        added = _sum(
            add_cells(session, user, new_case, name, pictures) for name, pictures in cells.items()
        )
        looked = _sum(
            add_fields(session, user, new_case, name, pictures) for name, pictures in fields.items()
        )
        lock(session, new_case)
        if looked.new:
            add_job_once(session, FIND, new_case, looked.new)
        if added.new or not looked.new:
            add_job_once(session, READ, new_case, added.new)
    return Brought(new_case.public_id, added, looked, tuple(rejects))


def _sum(parts: Iterable[Added]) -> Added:
    every = list(parts)
    return Added(sum(part.new for part in every), sum(part.known for part in every))


def _look_at(slide: Slide) -> list[Found]:
    """Find the files of a slide and open its fields: what needs an extra that is missing says so.

    Nothing is kept before that is done for all slides.
    """
    return [_openable(item) if slide.fields else item for item in slide.find()]


def _openable(item: Found) -> Found:
    if isinstance(item, Reject):
        return item
    try:
        open_field(file_of(item.path))
    except FieldError as error:
        return Reject(str(item.path), str(error).removeprefix(f"{item.path}: "))
    return item


def _keep(
    pictures: Iterable[Found],
    keep: Callable[[Picture], Kept | Reject],
    rejects: list[Reject],
    advance: Callable[[], object],
) -> list[Kept]:
    stored: list[Kept] = []
    for picture in pictures:
        outcome = picture if isinstance(picture, Reject) else keep(picture)
        advance()
        if isinstance(outcome, Reject):
            rejects.append(outcome)
        else:
            stored.append(outcome)
    return stored


def _keep_field(blobs: Blobs, picture: Picture) -> NewField | Reject:
    """Keep a field, if what is kept can be opened: of some slides, one file is not all."""
    file = file_of(picture.path)
    try:
        sha256 = blobs.put_chunks(_pieces(file))
        opened = open_field(blobs.path(sha256))
    except FieldError as error:
        return Reject(str(file), str(error).removeprefix(f"{file}: "))
    return NewField(file.name, sha256, opened.width, opened.height)


def _pieces(file: Path) -> Iterator[bytes]:
    """Give a file in pieces; that it cannot be read is its own fault, not that of who keeps it."""
    try:
        yield from read_chunks(file)
    except OSError as error:
        raise FieldError(f"{file}: it cannot be read ({error.strerror or error})") from None


def _keep_one(blobs: Blobs, picture: Picture) -> NewCell | Reject:
    try:
        content = read_content(picture.path)
    except OSError as error:
        return Reject(str(picture.path), f"it cannot be read ({error.strerror or error})")
    try:
        return keep_picture(blobs, name_of(picture.path), content)
    except ImageError as error:
        return Reject(str(picture.path), str(error))


def keep_picture(blobs: Blobs, name: str, content: bytes) -> NewCell:
    """Keep the picture of a cell, once it is known to be one.

    Raises:
        ImageError: it is no picture that is read; nothing is kept.
        UnavailableError: it cannot be kept, such as on a full disk.
    """
    width, height = decode_image(content).size
    return NewCell(name, blobs.put(content), width, height)
