"""Texts and numbers as they come in requests: nothing that a database cannot hold."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, StringConstraints


def _storable(text: str) -> str:
    """Check a text.

    Raises:
        ValueError: it has a NUL, or half of a surrogate pair.
    """
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("holds a character that is none (NUL or half of a pair)")
    return text


Words = Annotated[str, StringConstraints(max_length=1024), AfterValidator(_storable)]
"""A text of at most 1,024 characters."""
LARGEST = 2**31 - 1
Number = Annotated[int, Path(ge=1, le=LARGEST)]
"""A number in an address."""
CaseId = Annotated[Words, Path(description="The public id of a case.")]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]
Search = Annotated[Words, Query()]
