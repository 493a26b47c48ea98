"""Texts that people type: one line, not too long, with nothing in them that cannot be shown."""

from marrowscope.errors import StoreError

LONGEST = 120
"""Characters of a name or title."""


def one_line(name: str, text: str, longest: int = LONGEST) -> str:
    """Give a text without blanks around it; it may be empty.

    Raises:
        StoreError: it has several lines or other characters that cannot be shown, or is too long.
    """
    if not text.isprintable() or len(text) > longest:
        raise StoreError(
            f"the {name} must be one line of at most {longest} characters, got {text[:200]!r}"
        )
    return text.strip()


def needed(name: str, text: str, longest: int = LONGEST) -> str:
    """Give a text as `one_line` does; it must not be empty.

    Raises:
        StoreError: it is empty, or `one_line` refuses it.
    """
    if not (line := one_line(name, text, longest)):
        raise StoreError(f"the {name} is empty; give one")
    return line
