"""Texts in a CSV that a spreadsheet would run as formulas: marked as texts, and read back."""

import re
from collections.abc import Sequence

RUN = re.compile(r"'*[=+\-@\t\r]")
MARKED = re.compile(r"'+[=+\-@\t\r]")


def harmless(text: str) -> str:
    """Mark a text that begins as a formula does with an apostrophe; numbers stay as they are.

    `=1+1.jpg` becomes `'=1+1.jpg`, `-0.5` stays.

    Source: OWASP, CSV injection.
    """
    return f"'{text}" if RUN.match(text) and not _is_number(text) else text


def as_it_was(text: str) -> str:
    """Take the mark away: `'=1+1.jpg` becomes `=1+1.jpg`."""
    return text[1:] if MARKED.match(text) else text


def harmless_row(row: Sequence[str]) -> list[str]:
    """Mark the texts of a row."""
    return [harmless(text) for text in row]


def row_as_it_was(row: Sequence[str]) -> list[str]:
    """Take the marks of a row away."""
    return [as_it_was(text) for text in row]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
