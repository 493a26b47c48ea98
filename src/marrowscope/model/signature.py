"""Who vouches for a bundle: a signature beside it, made with a key of Ed25519."""

import base64
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from marrowscope.errors import BundleError, MissingExtraError
from marrowscope.io.tables import write_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

SIGNATURE = "bundle.sig"
"""One line: the 64 bytes of the signature in Base64."""
TRUSTED = "MARROWSCOPE_TRUSTED_KEYS"
"""Variable of the environment: files of public keys (PEM), with `:` between them (Windows: `;`)."""
LIBRARY = "cryptography"
INSTALL = "pip install 'marrowscope[sign]'"


def signed_text(sha256: str) -> bytes:
    """Give the text that a signature is made of: one line with the bundle's digest."""
    return f"marrowscope bundle {sha256}\n".encode()


def trusted_keys() -> tuple[Path, ...]:
    """Name the public keys of which one must have signed a bundle; none where none is configured.

    `MARROWSCOPE_TRUSTED_KEYS=a.pem:b.pem` gives `(Path("a.pem"), Path("b.pem"))`.
    """
    return tuple(Path(name) for name in os.environ.get(TRUSTED, "").split(os.pathsep) if name)


def write_signature(folder: Path, sha256: str, key: Path) -> Path:
    """Sign the digest of the bundle in a folder with a private key (PEM); give the new file.

    Raises:
        BundleError: the key cannot be read, is protected by a password or is none of Ed25519.
        MissingExtraError: the library is not installed.
    """
    made = _private_key(key).sign(signed_text(sha256))
    file = folder / SIGNATURE
    write_text(file, base64.b64encode(made).decode() + "\n")
    return file


def is_signed(folder: Path) -> bool:
    """Tell whether a signature lies beside a bundle, whoever made it."""
    return (folder / SIGNATURE).is_file()


def signature_in_words(folder: Path, sha256: str) -> str:
    """Say who vouches for a bundle, as far as that can be told here.

    Raises:
        BundleError: keys are configured, and there is no signature, it fits none of them, or it
            or a key cannot be read.
        MissingExtraError: the library is not installed.
    """
    if keys := trusted_keys():
        return f"signed, by the key {check_signature(folder, sha256, keys)}"
    if is_signed(folder):
        return f"signed, but not checked: {TRUSTED} names no public key"
    return "not signed"


def check_signature(folder: Path, sha256: str, keys: Sequence[Path]) -> Path:
    """Check that one of the public keys (PEM) signed this digest; give that key.

    Raises:
        BundleError: there is no signature, it fits no key, or it or a key cannot be read.
        MissingExtraError: the library is not installed.
    """
    named = ", ".join(map(str, keys))
    if not is_signed(folder):
        raise BundleError(
            f"{folder} is not signed, and a signature by one of {named} is demanded; sign it with "
            "`marrowscope bundle sign`, if you trust it"
        )
    made = _read_signature(folder / SIGNATURE)
    for key in keys:
        if _fits(_public_key(key), made, signed_text(sha256)):
            return key
    raise BundleError(
        f"{folder / SIGNATURE} fits none of the keys {named}: the bundle was changed after it was "
        f"signed, or someone else signed it (SHA-256 of the bundle: {sha256})"
    )


def _read_signature(file: Path) -> bytes:
    try:
        return base64.b64decode(file.read_bytes().strip(), validate=True)
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} is no signature ({error}); sign the bundle again") from None


def _fits(key: "Ed25519PublicKey", made: bytes, text: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(made, text)
    except InvalidSignature:
        return False
    return True


def _private_key(file: Path) -> "Ed25519PrivateKey":
    _check_installed()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = _read_key(file, "private", partial(load_pem_private_key, password=None))
    except TypeError:
        raise BundleError(
            f"{file} is protected by a password; sign with openssl, as docs/security.md says"
        ) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleError(
            f"{file} is no key of Ed25519; make one with: openssl genpkey -algorithm ed25519"
        )
    return key


def _public_key(file: Path) -> "Ed25519PublicKey":
    _check_installed()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = _read_key(file, "public", load_pem_public_key)
    if not isinstance(key, Ed25519PublicKey):
        raise BundleError(
            f"{file} is no public key of Ed25519; give the one of the key that signed"
        )
    return key


def _read_key(file: Path, kind: str, load: Callable[[bytes], object]) -> object:
    """Read a key in PEM, whatever its algorithm."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return load(file.read_bytes())
    except (OSError, UnsupportedAlgorithm, ValueError) as error:
        raise BundleError(f"{file} cannot be read as a {kind} key in PEM: {error}") from None


def _check_installed() -> None:
    """Check that the library is there.

    Raises:
        MissingExtraError: it is not.
    """
    from importlib.util import find_spec

    if find_spec(LIBRARY) is None:
        raise MissingExtraError(f"signatures need {LIBRARY}; install it with: {INSTALL}")
