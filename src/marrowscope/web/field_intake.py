"""Take whole fields in from strangers: each is opened before it is kept."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from marrowscope.errors import FieldError, MissingExtraError
from marrowscope.fields.field import open_field
from marrowscope.store.blobs import Blobs
from marrowscope.store.fields import NewField
from marrowscope.web.archives import Member
from marrowscope.web.intake import Incoming, Refused, keep_each, shown_name
from marrowscope.web.settings import Limits


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
    fields, refused = keep_each(files, larger, partial(_keep, blobs=blobs), tell)
    return FieldsTakenIn(fields, refused)


def _keep(member: Member, blobs: Blobs) -> NewField | Refused:
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
