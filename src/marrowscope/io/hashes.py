"""SHA-256 of files: what names their content, and shows that it was changed."""

import hashlib
from pathlib import Path


def file_hash(file: Path) -> str:
    """Give the SHA-256 of a file's content, as 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
