"""Read one cell's picture from an untrusted file, or say why it cannot be used."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from marrowscope.errors import ImageError, said_by
from marrowscope.io.archives import read_content
from marrowscope.locations import Location

FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
SMALLEST = 24
LARGEST = 4096

COLOUR_MODES = ("RGB", "RGBA", "P")
SAY_WHY = {
    "CMYK": "its colours are CMYK (for print), which cannot be turned into stain colours "
    "faithfully; save it as RGB",
    "L": "it is grey-scale; cells are told apart by the colours of their stain, "
    "so an RGB picture is needed",
    "1": "it is black and white; an RGB picture is needed",
}
TIFF_BITS_PER_SAMPLE = 258


def read_image(location: Location) -> Image.Image:
    """Decode the picture of one cell: RGB, 8 bits a channel, 24 to 4096 pixels a side.

    Raises:
        ImageError: the file is missing or cannot be read, or `decode_image` refuses its content.
        MissingExtraError: it lies in a Parquet file or a store whose library is not installed.
    """
    try:
        content = read_content(location)
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError("no such file") from None
    except PermissionError:
        raise ImageError("this user may not read the file") from None
    except OSError as error:
        raise ImageError(f"it cannot be read ({error.strerror or error})") from None
    return decode_image(content)


def decode_image(content: bytes) -> Image.Image:
    """Decode the bytes of a picture file: RGB, 8 bits a channel, 24 to 4096 pixels a side.

    Raises:
        ImageError: it is empty, no picture, damaged, several pictures in one, partly transparent,
            of another colour mode or depth, or of a size that one cell cannot have.
    """
    if not content:
        raise ImageError("the file is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_header(image)
                return to_rgb(image)
    except Image.DecompressionBombError:
        raise ImageError(_too_large("over 178 million")) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"not a picture that can be read; {', '.join(FORMATS)} with 8 bits a channel are"
        ) from None
    except ImageError:
        raise
    except Exception as error:  # noqa: BLE001 - each format's decoder raises types of its own
        raise ImageError(f"the picture is damaged or cut short ({said_by(error)})") from None


def _check_header(image: Image.Image) -> None:
    """Refuse, before anything is decoded, what cannot be the picture of one cell."""
    width, height = image.size
    if min(width, height) < SMALLEST:
        raise ImageError(
            f"too small: {width} x {height} pixels; a cell needs at least {SMALLEST} x {SMALLEST}"
        )
    if max(width, height) > LARGEST:
        raise ImageError(_too_large(f"{width} x {height}"))
    if getattr(image, "n_frames", 1) > 1:
        raise ImageError("it holds several pictures; give one file for each cell")
    check_colours(image)


def check_colours(image: Image.Image) -> None:
    """Refuse a picture whose colours cannot be those of a stain.

    Raises:
        ImageError: it has more than 8 bits a channel, or no colours.
    """
    if _bits_per_channel(image) > 8:
        raise ImageError(
            "it has 16 bits or more a channel; 8 bits are read: convert it to an 8-bit RGB picture"
        )
    if image.mode not in COLOUR_MODES:
        raise ImageError(SAY_WHY.get(image.mode, f"its colour mode is {image.mode}; RGB is read"))


def _too_large(size: str) -> str:
    return (
        f"too large: {size} pixels; one cell has at most {LARGEST} x {LARGEST}. "
        "If this is a whole field, give it with --fields"
    )


def _bits_per_channel(image: Image.Image) -> int:
    if image.mode.startswith(("I", "F")):
        return 16
    tags = getattr(image, "tag_v2", None)
    return max(tags.get(TIFF_BITS_PER_SAMPLE, (8,))) if tags else 8


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn a picture into RGB without changing a colour.

    Raises:
        ImageError: parts of it are transparent.
    """
    if "A" in image.getbands() or "transparency" in image.info:
        opaque = image.convert("RGBA")
        if opaque.getchannel("A").getextrema() != (255, 255):
            raise ImageError("parts of it are transparent; save it on its own background as RGB")
        return opaque.convert("RGB")
    return image.convert("RGB")
