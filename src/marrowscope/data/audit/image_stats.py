"""How pictures look: size, background, stain and sharpness, for each source."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from marrowscope.data.audit.keypoints import opencv

LOOKS = {
    "width": "pixels",
    "height": "pixels",
    "background_red": "95th percentile, 0 to 255",
    "background_green": "95th percentile, 0 to 255",
    "background_blue": "95th percentile, 0 to 255",
    "density_red": "mean optical density of the stained area",
    "density_green": "mean optical density of the stained area",
    "density_blue": "mean optical density of the stained area",
    "stained_area": "share of the picture, 0 to 1",
    "sharpness": "standard deviation of the Laplacian over that of the grey values",
}
"""What is measured of each picture, with its unit, in the order of the columns."""
LEAST_DENSITY = 0.15
"""Optical density (log10) in the green channel, against the background, that counts as stained."""
RANGE = (5, 50, 95)
"""Percentiles that are told of each source."""


def look(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Measure a picture (H, W, 3), RGB, 0..255: the values of `LOOKS`, (10,).

    A background of 200 and a stained value of 20 make a density of log10(200 / 20) = 1.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    cv2 = opencv()
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, (64, 64), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    background = np.percentile(small, 95, axis=0)
    density = np.log10(np.maximum(background, 1) / np.maximum(small, 1))
    stained = density[:, 1] > LEAST_DENSITY
    mean = density[stained].mean(axis=0) if stained.any() else np.zeros(3)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    sharpness = edges.std() / max(float(grey.std()), 1.0)
    return np.array([width, height, *background, *mean, stained.mean(), sharpness], np.float32)


def summarise(
    looks: NDArray[np.float32], sources: Sequence[str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Give the percentiles of each measure (N, 10) for each source; unread pictures are NaN."""
    names = np.array(sources)
    summary = {}
    for source in sorted(set(sources)):
        rows = looks[(names == source) & ~np.isnan(looks[:, 0])]
        if len(rows):
            table = np.percentile(rows, RANGE, axis=0).T
            summary[source] = {
                name: {
                    f"p{step}": round(float(value), 4)
                    for step, value in zip(RANGE, row, strict=True)
                }
                for name, row in zip(LOOKS, table, strict=True)
            }
    return summary
