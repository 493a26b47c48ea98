"""The scale that a picture file claims for itself."""

UM_PER_PX = (0.02, 1.0)
"""Scales that a file may claim; what else it says is the resolution of a screen or a printer."""
UM_PER_INCH = 25_400.0


def scale_of_dpi(dots_per_inch: float) -> float | None:
    """Turn a file's resolution into micrometres per pixel, if it can be that of a microscope.

    Example: 254,000 dots an inch are 0.1 um a pixel; 96 are a screen's: None.
    """
    if not dots_per_inch > 0:
        return None
    scale = UM_PER_INCH / float(dots_per_inch)
    return scale if UM_PER_PX[0] <= scale <= UM_PER_PX[1] else None
