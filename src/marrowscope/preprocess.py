"""The one definition of how a picture becomes model input, for training and serving alike."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from marrowscope.errors import BundleError

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True)
class Preprocessing:
    """Stretch to `size` x `size` pixels, scale to 0..1, subtract `mean`, divide by `std`."""

    size: int = 224
    """Side of the square input, in pixels."""
    resample: str = "bicubic"
    """Filter of the resize, with antialiasing: one of `RESAMPLING`."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per channel (red, green, blue), of values in 0..1."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Per channel (red, green, blue), of values in 0..1."""

    def resize(self, image: Image.Image) -> NDArray[np.uint8]:
        """Stretch an RGB picture to the input size: (3, size, size) uint8."""
        square = image.resize((self.size, self.size), RESAMPLING[self.resample])
        return np.asarray(square, dtype=np.uint8).transpose(2, 0, 1)

    def normalise(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalise (..., 3, size, size) uint8 to float32 of the same shape.

        A red value of 124 becomes (124 / 255 - 0.485) / 0.229 = 0.0056.
        """
        mean = 255 * np.array(self.mean, dtype=np.float32).reshape(3, 1, 1)
        std = 255 * np.array(self.std, dtype=np.float32).reshape(3, 1, 1)
        return np.asarray((pixels.astype(np.float32) - mean) / std, dtype=np.float32)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """Read the form that `dataclasses.asdict` writes.

        Raises:
            BundleError: a field is missing, surplus or of a value that is not supported.
        """
        fields = set(cls.__dataclass_fields__)
        if set(values) != fields or values["resample"] not in RESAMPLING:
            raise BundleError(
                f"preprocessing must have the fields {', '.join(sorted(fields))} and a resample "
                f"out of {', '.join(RESAMPLING)}; got {values}"
            )
        return cls(
            int(values["size"]),
            values["resample"],
            _three(values["mean"]),
            _three(values["std"]),
        )


def _three(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
