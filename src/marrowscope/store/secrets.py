"""Secrets that are given out once: the store keeps their hashes, so a copy of it opens nothing."""

import hashlib
import secrets

BYTES = 32


def new_secret(kind: str) -> str:
    """Make a secret that cannot be guessed; its beginning says what it is for."""
    return f"{kind}_{secrets.token_urlsafe(BYTES)}"


def secret_hash(secret: str) -> str:
    """Give the SHA-256 of a secret in hexadecimal; long and random, it needs no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
