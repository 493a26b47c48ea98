"""Files as they come from disks and scanners: what is read, and what is refused in which words."""

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import SAMPLES
from PIL import Image

from marrowscope.errors import ImageError
from marrowscope.io.images import read_image

CELL = SAMPLES / "cells/pbc/LY"


def a_cell() -> Image.Image:
    return Image.open(min(CELL.glob("*.jpg")))


def refusal(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    return str(caught.value)


def test_all_samples_are_read() -> None:
    files = sorted((SAMPLES / "cells").rglob("*.jpg"))
    assert len(files) == 201
    assert {read_image(file).mode for file in files} == {"RGB"}


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp"])
def test_lossless_copies_give_the_same_pixels(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"cell.{suffix}"
    a_cell().save(file, lossless=True)
    assert (np.asarray(read_image(file)) == np.asarray(a_cell())).all()


def test_an_opaque_alpha_channel_is_dropped_and_a_transparent_one_refused(tmp_path: Path) -> None:
    file = tmp_path / "cell.png"
    picture = a_cell().convert("RGBA")
    picture.save(file)
    assert (np.asarray(read_image(file)) == np.asarray(a_cell())).all()
    picture.putpixel((0, 0), (0, 0, 0, 0))
    picture.save(file)
    assert refusal(file) == ("parts of it are transparent; save it on its own background as RGB")


def test_text(tmp_path: Path) -> None:
    file = tmp_path / "notes.jpg"
    file.write_text("not a picture")
    assert refusal(file) == (
        "not a picture that can be read; JPEG, PNG, TIFF, BMP, WEBP with 8 bits a channel are"
    )


def test_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "empty.jpg"
    file.touch()
    assert refusal(file) == "the file is empty (0 bytes)"


def test_missing_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.jpg") == "no such file"


def test_truncated_jpeg(tmp_path: Path) -> None:
    file = tmp_path / "cut.jpg"
    content = min(CELL.glob("*.jpg")).read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert refusal(file).startswith("the picture is damaged or cut short (")


@pytest.mark.parametrize("length", range(2, 400, 7))
def test_a_jpeg_cut_anywhere_in_its_header_is_refused(tmp_path: Path, length: int) -> None:
    file = tmp_path / "cut.jpg"
    file.write_bytes(min(CELL.glob("*.jpg")).read_bytes()[:length])
    refusal(file)


def test_one_pixel(tmp_path: Path) -> None:
    file = tmp_path / "dot.png"
    Image.new("RGB", (1, 1)).save(file)
    assert refusal(file) == "too small: 1 x 1 pixels; a cell needs at least 24 x 24"


def test_huge_png_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    file = tmp_path / "huge.png"
    Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
    Image.new("1", (30_000, 30_000)).save(file)
    Image.MAX_IMAGE_PIXELS = limit
    assert refusal(file) == (
        "too large: over 178 million pixels; one cell has at most 4096 x 4096. "
        "If this is a whole field, give it with --fields"
    )


def test_a_whole_field_is_refused_with_its_size(tmp_path: Path) -> None:
    file = tmp_path / "field.png"
    Image.new("1", (10_000, 10_000)).save(file)
    assert refusal(file).startswith("too large: 10000 x 10000 pixels; one cell has at most")


def test_sixteen_bit_tiff(tmp_path: Path) -> None:
    file = tmp_path / "deep.tif"
    Image.fromarray(np.zeros((64, 64), dtype=np.uint16)).save(file)
    assert refusal(file) == (
        "it has 16 bits or more a channel; 8 bits are read: convert it to an 8-bit RGB picture"
    )


def test_sixteen_bit_colour_tiff(tmp_path: Path) -> None:
    """A tiny uncompressed 16-bit RGB TIFF, written by hand: Pillow writes none."""
    file = tmp_path / "deep.tif"
    side, entries = 32, []
    header = 8 + 2 + 12 * 9 + 4
    for tag, kind, number, value in [
        (256, 3, 1, side), (257, 3, 1, side), (258, 3, 3, header), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, header + 6), (277, 3, 1, 3), (278, 3, 1, side), (279, 4, 1, side * side * 6),
    ]:  # fmt: skip
        entries.append(b"".join(n.to_bytes(w, "little") for n, w in
                                ((tag, 2), (kind, 2), (number, 4), (value, 4))))  # fmt: skip
    file.write_bytes(
        b"II*\0" + (8).to_bytes(4, "little") + (9).to_bytes(2, "little") + b"".join(entries)
        + bytes(4) + (16).to_bytes(2, "little") * 3 + bytes(side * side * 6)
    )  # fmt: skip
    assert "16 bits" in refusal(file) or "8 bits a channel" in refusal(file)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    file = tmp_path / "print.jpg"
    a_cell().convert("CMYK").save(file)
    assert refusal(file) == (
        "its colours are CMYK (for print), which cannot be turned into stain colours faithfully; "
        "save it as RGB"
    )


def test_grey_jpeg(tmp_path: Path) -> None:
    file = tmp_path / "grey.jpg"
    a_cell().convert("L").save(file)
    assert refusal(file).startswith("it is grey-scale; cells are told apart by the colours")


def test_several_pictures_in_one_tiff(tmp_path: Path) -> None:
    file = tmp_path / "stack.tif"
    a_cell().save(file, save_all=True, append_images=[a_cell()])
    assert refusal(file) == "it holds several pictures; give one file for each cell"


def test_a_format_that_is_not_listed(tmp_path: Path) -> None:
    file = tmp_path / "cell.gif"
    a_cell().save(file)
    assert refusal(file).startswith("not a picture that can be read")


def test_noise_in_the_place_of_a_picture_never_breaks_the_reader(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    buffer = io.BytesIO()
    a_cell().save(buffer, "PNG")
    whole = np.frombuffer(buffer.getvalue(), dtype=np.uint8)
    file = tmp_path / "noise.png"
    for _ in range(50):
        broken = whole.copy()
        places = random.integers(8, len(broken), 20)
        broken[places] = random.integers(0, 256, 20)
        file.write_bytes(broken.tobytes())
        with contextlib.suppress(ImageError):
            assert read_image(file).mode == "RGB"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "locked.jpg"
    a_cell().save(file)
    file.chmod(0)
    assert refusal(file) == "this user may not read the file"
