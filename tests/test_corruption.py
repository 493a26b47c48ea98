"""Broken pictures that decode: what is said of them as files, and once they were saved again."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from numpy.typing import NDArray
from PIL import Image

from marrowscope.data.audit.corruption import find_damage
from marrowscope.errors import ImageError, MissingExtraError
from marrowscope.io.images import read_image

CELLS = sorted((SAMPLES / "cells").rglob("*.jpg"))
CONTENTS = [cell.read_bytes() for cell in CELLS]
END = b"\xff\xd9"
VISIBLE = 1.0
"""Mean absolute difference, in levels (0..255), from which a picture is visibly broken."""

Pixels = NDArray[np.uint8]


def decode(content: bytes) -> Pixels:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def saved_again(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def by_pixels(pixels: Pixels) -> str | None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "BMP")
    return find_damage(buffer.getvalue(), pixels)


def scan_of(content: bytes) -> int:
    """Give where the compressed data begin."""
    header = content.rfind(b"\xff\xda") + 2
    return header + int.from_bytes(content[header : header + 2], "big")


def overwritten(content: bytes, at: int, random: np.random.Generator) -> bytes:
    return content[:at] + random.bytes(16) + content[at + 16 :]


def zeroed(content: bytes, at: int, _: np.random.Generator) -> bytes:
    return content[:at] + bytes(16) + content[at + 16 :]


def shortened(content: bytes, at: int, _: np.random.Generator) -> bytes:
    return content[:at] + content[at + 16 :]


def lengthened(content: bytes, at: int, random: np.random.Generator) -> bytes:
    return content[:at] + random.bytes(16) + content[at:]


def cut_and_ended(content: bytes, at: int, _: np.random.Generator) -> bytes:
    return content[:at] + END


def visibly_broken(
    breaking: Callable[[bytes, int, np.random.Generator], bytes],
) -> list[tuple[bytes, Pixels]]:
    """Break every sample at a random place; keep what decodes and looks different."""
    random = np.random.default_rng(0)
    kept = []
    for content in CONTENTS:
        start, room = scan_of(content), len(content) // 20
        data = breaking(content, int(random.integers(start + room, len(content) - room)), random)
        try:
            pixels = decode(data)
        except (OSError, SyntaxError):
            continue
        whole = decode(content)
        if np.abs(pixels.astype(np.int16) - whole).mean() >= VISIBLE:
            kept.append((data, pixels))
    return kept


def test_whole_pictures_raise_no_alarm() -> None:
    assert [find_damage(content, decode(content)) for content in CONTENTS] == [None] * 201


def test_whole_pictures_moved_against_the_blocks_raise_no_alarm() -> None:
    assert [by_pixels(decode(content)[3:, 5:]) for content in CONTENTS[::4]] == [None] * 51


@pytest.mark.parametrize(
    ("breaking", "as_file", "as_saved_again"),
    [
        (overwritten, 0.95, 0.95),
        (zeroed, 0.95, 0.95),
        (shortened, 0.95, 0.95),
        (lengthened, 0.95, 0.95),
        (cut_and_ended, 1.0, 0.97),
    ],
)
def test_broken_data_are_found(
    breaking: Callable[[bytes, int, np.random.Generator], bytes],
    as_file: float,
    as_saved_again: float,
) -> None:
    broken = visibly_broken(breaking)
    assert len(broken) > 100
    files = [find_damage(*each) is not None for each in broken]
    again = [saved_again(pixels) for _, pixels in broken]
    assert np.mean(files) >= as_file
    assert np.mean([find_damage(each, decode(each)) is not None for each in again]) >= (
        as_saved_again
    )


@pytest.mark.parametrize("missing", [1, 2, 3, 10, 100, 1000])
def test_a_jpeg_without_its_end_is_refused_when_it_is_read(tmp_path: Path, missing: int) -> None:
    file = tmp_path / "cut.jpg"
    for content in CONTENTS[::10]:
        file.write_bytes(content[:-missing])
        with pytest.raises(ImageError, match="damaged or cut short"):
            read_image(file)


def test_the_words_of_the_decoder() -> None:
    content = cut_and_ended(CONTENTS[0], len(CONTENTS[0]) - 60, np.random.default_rng(0))
    assert find_damage(content, decode(content)) == (
        "the decoder lost data (Corrupt JPEG data: premature end of data segment)"
    )


def test_bytes_after_the_end_and_an_unknown_version_are_no_loss() -> None:
    content = CONTENTS[0]
    pixels = decode(content)
    version = content.index(b"JFIF\0") + 5
    assert find_damage(content + b"more", pixels) is None
    assert find_damage(content[:version] + b"\x03" + content[version + 1 :], pixels) is None


@pytest.mark.parametrize("side", [8, 16])
def test_a_jump_is_told_with_its_place(side: int) -> None:
    pixels = decode(CONTENTS[0]) // 2
    pixels[64 : 64 + side, 128:] += 12
    pixels[64 + side :] += 12
    assert by_pixels(pixels) == "brightness or colour jumps from row 64, column 128 on"


def test_a_flat_band_is_told_with_its_place() -> None:
    pixels = decode(CONTENTS[0]).copy()
    pixels[100:120] = (128, 128, 128)
    assert by_pixels(pixels) == "a flat band without any detail lies at row 100"


@pytest.mark.parametrize("level", [0, 255])
def test_black_borders_and_overexposed_rows_are_whole(level: int) -> None:
    pixels = decode(CONTENTS[0]).copy()
    pixels[:20] = pixels[-20:] = level
    assert by_pixels(pixels) is None


def test_displaced_blocks_are_found() -> None:
    found = []
    for content in CONTENTS:
        pixels = decode(content).copy()
        pixels[128:] = np.roll(pixels[128:], 48, axis=1)
        found.append(by_pixels(pixels) is not None)
    assert np.mean(found) >= 0.9


def test_the_smallest_pictures_are_looked_at() -> None:
    assert by_pixels(decode(CONTENTS[0])[100:124, 100:124]) is None


def test_without_simplejpeg_only_a_jpeg_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    pixels = decode(CONTENTS[0])
    assert by_pixels(pixels) is None
    with pytest.raises(MissingExtraError) as caught:
        find_damage(CONTENTS[0], pixels)
    assert str(caught.value) == (
        "the search for damaged pictures needs simplejpeg; install it with: "
        "pip install 'marrowscope[data]'"
    )
