"""OpenCV, which only the extra `data` installs."""

from types import ModuleType

from marrowscope.errors import MissingExtraError


def opencv() -> ModuleType:
    """Give the module `cv2`.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cv2
    except ImportError:
        raise MissingExtraError(
            "looking into pictures needs OpenCV; install it with: pip install 'marrowscope[data]'"
        ) from None
    return cv2
