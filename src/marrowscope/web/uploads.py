"""Take pictures in from strangers: each is decoded before it is kept, what is refused is named."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from marrowscope.detection.field import open_field
from marrowscope.errors import FieldError, ImageError, MissingExtraError, UploadError
from marrowscope.io.archives import is_left_by_systems
from marrowscope.store.blobs import Blobs
from marrowscope.store.cells import LONGEST, NewCell
from marrowscope.store.fields import NewField
from marrowscope.store.import_case import keep_picture
from marrowscope.web.archives import Member, count_members, is_zip, members
from marrowscope.web.settings import MIB, Limits

Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Incoming:
    """A file as it came, on the disk or in memory."""

    name: str
    file: IO[bytes]


@dataclass(frozen=True)
class Refused:
    """A file that is not taken, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class TakenIn:
    """Pictures that are kept now, and files that are not."""

    cells: tuple[NewCell, ...]
    refused: tuple[Refused, ...]


def take_in(
    files: Sequence[Incoming],
    blobs: Blobs,
    limits: Limits,
    tell: Callable[[int, int], object] = lambda done, total: None,  # noqa: ARG005 - to nobody
) -> TakenIn:
    """Keep the pictures among files and within zip archives, by their content.

    `tell` hears after each file how many are done, and of how many.

    Raises:
        UploadError: there are too many files, or an archive is damaged or a zip bomb; nothing
            of the upload becomes part of a case then.
    """
    cells, refused = keep_each(files, limits, partial(_keep_cell, blobs=blobs), tell)
    return TakenIn(cells, refused)


def keep_each(
    files: Sequence[Incoming],
    limits: Limits,
    keep: Callable[[Member], Kept | Refused],
    tell: Callable[[int, int], object],
) -> tuple[tuple[Kept, ...], tuple[Refused, ...]]:
    """Keep what is among files and within zip archives; give what is kept, and what is refused.

    `tell` hears after each file how many are done, and of how many.

    Raises:
        UploadError: there are too many files, or an archive is damaged or a zip bomb.
    """
    accepted: list[Kept] = []
    refused: list[Refused] = []
    total = sum(count_members(file.file, limits) if is_zip(file.file) else 1 for file in files)
    for number, member in enumerate(each_member(files, limits), 1):
        if number > limits.files:
            raise UploadError(f"at most {limits.files:,} files are taken at once; send it in parts")
        outcome = keep(member)
        if isinstance(outcome, Refused):
            refused.append(outcome)
        else:
            accepted.append(outcome)
        tell(number, total)
    return tuple(accepted), tuple(refused)


def each_member(files: Iterable[Incoming], limits: Limits) -> Iterator[Member]:
    """Give loose files and those within zip archives, one by one; hidden ones are left out.

    Raises:
        UploadError: an archive is damaged, or a zip bomb.
    """
    for file in files:
        if is_zip(file.file):
            yield from members(file.file, limits)
        elif not is_left_by_systems(PurePosixPath(file.name).name):
            yield _loose(file, limits)


def _loose(file: Incoming, limits: Limits) -> Member:
    content = file.file.read(limits.picture_bytes + 1)
    if len(content) > limits.picture_bytes:
        return Member(file.name, refused=f"it has more than {limits.picture_bytes // MIB} MiB")
    return Member(file.name, content)


def _keep_cell(member: Member, blobs: Blobs) -> NewCell | Refused:
    name = shown_name(member.name)
    if member.refused:
        return Refused(name, member.refused)
    try:
        return keep_picture(blobs, name, member.content)
    except ImageError as error:
        return Refused(name, str(error))


def shown_name(name: str) -> str:
    r"""Give the last part of a file's name, in characters that can be shown.

    `C:\cells\a.jpg` is `a.jpg`, a line break within becomes `?`, nothing `unnamed`; of a long name,
    the last 255 characters stay.
    """
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    shown = "".join(sign if sign.isprintable() else "?" for sign in last).strip()
    return shown[-LONGEST:] or "unnamed"


@dataclass(frozen=True)
class FieldsTakenIn:
    """Fields that are kept now, and files that are not."""

    fields: tuple[NewField, ...]
    refused: tuple[Refused, ...]


def take_in_fields(
    files: Sequence[Incoming], blobs: Blobs, limits: Limits, tell: Callable[[int, int], object]
) -> FieldsTakenIn:
    """Keep the fields among files and within zip archives, by their content.

    `tell` hears after each file how many are done, and of how many.

    Raises:
        UploadError: there are too many files, or an archive is damaged or a zip bomb; nothing
            of the upload becomes part of a case then.
    """
    larger = replace(limits, picture_bytes=limits.field_bytes)
    fields, refused = keep_each(files, larger, partial(_keep_field, blobs=blobs), tell)
    return FieldsTakenIn(fields, refused)


def _keep_field(member: Member, blobs: Blobs) -> NewField | Refused:
    name = shown_name(member.name)
    if member.refused:
        return Refused(name, member.refused)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "field"
        file.write_bytes(member.content)
        try:
            opened = open_field(file)
        except (FieldError, MissingExtraError) as error:
            return Refused(name, str(error).removeprefix(f"{file}: "))
        return NewField(name, blobs.put(member.content), opened.width, opened.height)
