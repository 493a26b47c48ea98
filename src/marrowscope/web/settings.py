"""Settings of the reading room, checked together before it opens."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from marrowscope.errors import SettingsError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Names of this machine that no other one can reach."""
MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """How much is taken at once; more is refused with the limit named."""

    upload_bytes: int = 2048 * MIB
    """Of one upload."""
    files: int = 5000
    """Files in one upload, those within zip archives counted."""
    picture_bytes: int = 32 * MIB
    """Of one picture, unpacked."""
    field_bytes: int = 256 * MIB
    """Of one whole field, unpacked."""
    unpacked_bytes: int = 4096 * MIB
    """Of all files in a zip archive, unpacked."""
    ratio: int = 100
    """How much larger a file of more than 1 MiB may be than it is within a zip archive."""
    cells: int = 20_000
    """Cells of one case."""
    body_bytes: int = MIB
    """Of a request that is no upload."""


@dataclass(frozen=True)
class Settings:
    """What a reading room is opened with."""

    folder: Path
    """For the pictures, their thumbnails and, unless it is named, the database."""
    database: str = ""
    """URL; empty for `room.db` in the folder."""
    pictures: str = ""
    """URL of the store that keeps pictures; empty for the folder."""
    bundle: str = "default"
    """Name or folder of the bundle that reads cells."""
    bundle_sha256: str = ""
    """Digest that the bundle must have; empty for any."""
    engine: str = "onnxruntime"
    threads: int = 0
    """Processor threads that read cells; 0 for all cores but one, which is left to the pages."""
    host: str = "127.0.0.1"
    port: int = 8017
    """0 for any that is free."""
    names: tuple[str, ...] = ()
    """Names by which browsers reach the server, besides `host` and those of this machine."""
    https: bool = False
    """Whether browsers speak HTTPS with it, itself or through a proxy."""
    certificate: Path | None = None
    """PEM file, for a server that speaks HTTPS itself."""
    key: Path | None = None
    """PEM file of the certificate's private key."""
    lease_s: float = 30.0
    """Seconds after which a dead worker's job is taken up."""
    batch: int = 16
    """Cells that are read before the progress is written down."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check the fields against each other.

        Raises:
            SettingsError: with all that is wrong.
        """
        wrong = []
        if (self.certificate is None) != (self.key is None):
            wrong.append("--certificate and --key come together")
        if self.host not in LOOPBACK and not self.secure:
            wrong.append(
                f"--host {self.host} can be reached from other machines, and passwords would "
                "travel in clear text: give --certificate and --key, or --https behind a proxy "
                "that speaks HTTPS"
            )
        if not 0 <= self.port <= 65535:
            wrong.append(f"--port is 0 to 65535, got {self.port}")
        if self.threads < 0:
            wrong.append(f"--threads is 0 or more, got {self.threads}")
        if wrong:
            raise SettingsError("; ".join(wrong))

    @property
    def secure(self) -> bool:
        """Whether cookies travel by HTTPS alone."""
        return self.https or self.certificate is not None

    @property
    def reading_threads(self) -> int:
        """Threads that read cells."""
        return self.threads or max(1, (os.cpu_count() or 2) - 1)

    @property
    def known_names(self) -> frozenset[str]:
        """All names by which the server may be called, in small letters."""
        return frozenset(name.lower() for name in (*LOOPBACK, self.host, *self.names))
