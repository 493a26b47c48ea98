"""Pictures of cells as browsers show them; thumbnails are made once and kept."""

import io
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from marrowscope.detection.field import open_field
from marrowscope.detection.overlay import overview
from marrowscope.errors import SettingsError
from marrowscope.io.images import decode_image
from marrowscope.store.tables import Field
from marrowscope.web.state import Room

SIDES = (96, 144, 224, 320)
"""Pixels a side, at most."""
GALLERY = 144
"""Of the gallery; the worker makes them, so that the first look at a case need not wait."""
MEDIA = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}
"""Formats that browsers show."""


@dataclass(frozen=True)
class Shown:
    """A picture to send."""

    content: bytes
    media: str


def picture(room: Room, sha256: str) -> Shown:
    """Give a picture as it came, or as PNG where browsers do not show its format.

    Raises:
        NotThereError: it is not there.
        StoreError: the file was changed, or the store of the pictures does not answer.
        ImageError: it cannot be decoded.
    """
    content = room.blobs.read(sha256)
    if shown := as_it_came(content):
        return shown
    buffer = io.BytesIO()
    decode_image(content).save(buffer, "PNG")
    return Shown(buffer.getvalue(), "image/png")


def as_it_came(content: bytes) -> Shown | None:
    """Give a picture unchanged; None where browsers do not show its format."""
    with Image.open(io.BytesIO(content)) as image:
        media = MEDIA.get(image.format or "")
    return Shown(content, media) if media else None


def thumbnail(room: Room, sha256: str, side: int) -> Shown:
    """Give a small JPEG of a picture; its place among the thumbnails is named by its content.

    Raises:
        SettingsError: thumbnails of this side are not made.
        NotThereError: the picture is not there.
        StoreError: the file was changed, or the store of the pictures does not answer.
        ImageError: it cannot be decoded.
    """
    check_side(side, SIDES)

    def draw() -> Image.Image:
        image = decode_image(room.blobs.read(sha256))
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        return image

    return kept_jpeg(room, sha256, side, draw, quality=88)


def check_side(side: int, sides: Sequence[int]) -> None:
    """Check the side of a small picture, in pixels.

    Raises:
        SettingsError: pictures of this side are not made.
    """
    if side not in sides:
        raise SettingsError(f"side is one of {', '.join(map(str, sides))}; got {side}")


def kept_jpeg(
    room: Room, sha256: str, side: int, draw: Callable[[], Image.Image], *, quality: int
) -> Shown:
    """Give the small JPEG of a content: drawn once, and kept if the disk takes it.

    It is written whole or not at all; several may write the same one at once.
    """
    file = room.settings.folder / "thumbnails" / sha256[:2] / f"{sha256}-{side}.jpg"
    if file.is_file():
        return Shown(file.read_bytes(), "image/jpeg")
    buffer = io.BytesIO()
    draw().save(buffer, "JPEG", quality=quality)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            partial = Path(folder, file.name)
            partial.write_bytes(buffer.getvalue())
            partial.replace(file)
    return Shown(buffer.getvalue(), "image/jpeg")


FIELD_SIDES = (320, 4096)
"""Pixels a side, at most."""


def field_picture(room: Room, field: Field, side: int) -> Shown:
    """Give a field as it came, or as a JPEG that is smaller or of a format that browsers show.

    Raises:
        SettingsError: pictures of this side are not made.
        FieldError: the field cannot be read.
        MissingExtraError: it is large or a slide, and the extra `slides` is not installed.
        NotThereError: it is not there.
        StoreError: the file was changed, or the store of the pictures does not answer.
    """
    check_side(side, FIELD_SIDES)
    if max(field.width, field.height) <= side:
        shown = as_it_came(room.blobs.read(field.sha256))
        if shown:
            return shown
    return kept_jpeg(
        room,
        field.sha256,
        side,
        lambda: overview(open_field(room.blobs.path(field.sha256)), side),
        quality=90,
    )
