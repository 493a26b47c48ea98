"""The one definition of how a picture becomes model input, for training and serving alike."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from marrowscope.errors import BundleError, ImageError, SettingsError
from marrowscope.io.images import LARGEST

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Preprocessing:
    """Cut, resize to `size` x `size` pixels, scale to 0..1, subtract `mean`, divide by `std`."""

    size: int = 224
    """Side of the square input, in pixels."""
    resample: str = "bicubic"
    """Filter of the resize, with antialiasing: one of `RESAMPLING`."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per channel (red, green, blue), of values in 0..1."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per channel (red, green, blue), of values in 0..1."""
    field_um: float = 0.0
    """Side of the square around the middle that the input shows, in micrometres on the slide, so
    that cells of all scanners have one scale; 0 to stretch the whole picture."""

    def __post_init__(self) -> None:
        """Check the filter.

        Raises:
            SettingsError: it is not known.
        """
        if self.resample not in RESAMPLING:
            methods = ", ".join(RESAMPLING)
            raise SettingsError(f"resample must be one of {methods}, got {self.resample!r}")

    def check_scale(self, um_per_px: float | None) -> None:
        """Check that the size of a pixel is known, if it must be.

        Raises:
            SettingsError: it is not.
        """
        if self.field_um and um_per_px is None:
            raise SettingsError(
                f"the network sees {self.field_um:g} micrometres around a cell, so it must know "
                "how large a pixel is: give --um-per-px, as your scanner names it, or 7.2 "
                "(a red cell's width in micrometres) divided by its width in pixels, or what "
                "`marrowscope find-cells` tells of a whole field of the same scanner; about 0.086 "
                "for the public bone marrow set, 0.09 for the Barcelona blood set"
            )

    def resize(self, image: Image.Image, um_per_px: float | None = None) -> NDArray[np.uint8]:
        """Bring an RGB picture to the input size: (3, size, size) uint8.

        A field of 25 micrometres in a picture of 0.1 micrometres a pixel is its middle 250 pixels;
        what lies beyond its edges is mirrored.

        Raises:
            ImageError: a field is to be shown, and the size of a pixel is not known or so small
                that the field has more pixels a side than a picture of a cell may have.
        """
        size = (self.size, self.size)
        resample = RESAMPLING[self.resample]
        if not self.field_um:
            square = image.resize(size, resample)
        elif um_per_px is None:
            raise ImageError(
                f"the network sees {self.field_um:g} micrometres around a cell, and the size of "
                "this picture's pixels is not known: give um_per_px in the manifest, or --um-per-px"
            )
        elif self.field_um / um_per_px > LARGEST:
            raise ImageError(
                f"the network sees {self.field_um:g} micrometres around a cell, which are "
                f"{self.field_um / um_per_px:,.0f} pixels at {um_per_px:g} micrometres a pixel; at "
                f"most {LARGEST:,} are cut out: check um_per_px"
            )
        else:
            image, box = _field(image, self.field_um / um_per_px)
            square = image.resize(size, resample, box)
        return np.asarray(square, dtype=np.uint8).transpose(2, 0, 1)

    def normalise(self, pixels: NDArray[np.number]) -> NDArray[np.float32]:
        """Normalise (..., 3, size, size) levels of 0..255 to float32 of the same shape.

        A red value of 124 becomes (124 / 255 - 0.485) / 0.229 = 0.0056.
        """
        mean, std = self.in_levels()
        return np.asarray((pixels.astype(np.float32) - mean) / std, dtype=np.float32)

    def in_levels(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give mean and deviation of each channel on the scale 0..255, each (3, 1, 1)."""
        mean, std = (
            255 * np.array(values, dtype=np.float32).reshape(3, 1, 1)
            for values in (self.mean, self.std)
        )
        return mean, std

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Read the form that `dataclasses.asdict` writes.

        Raises:
            BundleError: a field is missing, surplus or of a value that is not supported.
        """
        fields = set(cls.__dataclass_fields__)
        values = {"field_um": 0.0} | values
        if set(values) != fields or values["resample"] not in RESAMPLING:
            raise BundleError(
                f"preprocessing must have the fields {', '.join(sorted(fields))} and a resample "
                f"out of {', '.join(RESAMPLING)}; got {values}"
            )
        return cls(
            int(values["size"]),
            values["resample"],
            three(values["mean"]),
            three(values["std"]),
            float(values["field_um"]),
        )


Box = tuple[float, float, float, float]


def _field(image: Image.Image, side: float) -> tuple[Image.Image, Box]:
    """Give the box of a central square of `side` pixels, and the picture, mirrored to hold it."""
    margin = max(0, math.ceil((side - min(image.size)) / 2))
    if margin:
        pixels = np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), "reflect")
        image = Image.fromarray(pixels)
    left, top = ((length - side) / 2 for length in image.size)
    return image, (left, top, left + side, top + side)


def three(values: Sequence[float]) -> tuple[float, float, float]:
    """Read a value for each channel.

    Raises:
        ValueError: there are not three, or one is no number.
        TypeError: it is no sequence of numbers.
    """
    red, green, blue = (float(value) for value in values)
    return red, green, blue
