"""Pictures of whole fields as browsers show them; those made small are made once and kept."""

import io
import tempfile
from pathlib import Path

from PIL import Image

from marrowscope.errors import SettingsError
from marrowscope.fields.field import open_field
from marrowscope.fields.overview import overview
from marrowscope.store.tables import Field
from marrowscope.web.room import Room
from marrowscope.web.shown import MEDIA, Shown

SIDES = (320, 4096)
"""Pixels a side, at most."""


def field_picture(room: Room, field: Field, side: int) -> Shown:
    """Give a field as it came, or as a JPEG that is smaller or of a format that browsers show.

    Raises:
        SettingsError: pictures of this side are not made.
        FieldError: the field cannot be read.
        NotThereError: it is not there.
    """
    if side not in SIDES:
        raise SettingsError(f"side is one of {', '.join(map(str, SIDES))}; got {side}")
    if max(field.width, field.height) <= side:
        content = room.blobs.read(field.sha256)
        with Image.open(io.BytesIO(content)) as image:
            media = MEDIA.get(image.format or "")
        if media:
            return Shown(content, media)
    file = room.settings.folder / "thumbnails" / field.sha256[:2] / f"{field.sha256}-{side}.jpg"
    if not file.is_file():
        _keep(overview(open_field(room.blobs.path(field.sha256)), side), file)
    return Shown(file.read_bytes(), "image/jpeg")


def _keep(image: Image.Image, file: Path) -> None:
    """Write a JPEG whole or not at all; several may write the same one at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as partial:
        image.save(partial, "JPEG", quality=90)
    Path(partial.name).replace(file)
