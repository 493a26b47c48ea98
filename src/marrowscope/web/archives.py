"""Zip archives that strangers made: opened with care, their files given one by one."""

import stat
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from marrowscope.errors import UploadError, said_by
from marrowscope.io.archives import is_left_by_systems
from marrowscope.web.settings import MIB, Limits

BEGINS = (b"PK\x03\x04", b"PK\x05\x06")
END, END_BYTES, END_64 = b"PK\x05\x06", 22, b"PK\x06\x07"
LONGEST_COMMENT = 65_535
MOST_DIRECTORY = 16 * MIB
"""Bytes of the list of files within an archive."""
MACS = "__MACOSX"
OPENED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


@dataclass(frozen=True)
class Member:
    """A file within an archive; either its content or why it is refused."""

    name: str
    content: bytes = b""
    refused: str = ""


def is_zip(file: IO[bytes]) -> bool:
    """Tell by its first bytes whether a file is a zip archive."""
    file.seek(0)
    begin = file.read(4)
    file.seek(0)
    return begin in BEGINS


def members(file: IO[bytes], limits: Limits) -> Iterator[Member]:
    """Give the files within a zip archive; hidden ones and folders are left out.

    A file is refused if its name leads elsewhere, or it is encrypted, a link, an archive itself,
    too large, or packed in another way than deflate.

    Raises:
        UploadError: the archive is damaged, holds too many files, or unpacks to far more than it
            is: a zip bomb.
    """
    with _opened(file, limits) as archive:
        listed = _listed(archive)
        _check_sizes(listed, limits)
        yield from _members(archive, listed, limits)


def count_members(file: IO[bytes], limits: Limits) -> int:
    """Count the files that `members` will give, without unpacking any.

    Raises:
        UploadError: the archive is damaged, or holds too many files.
    """
    with _opened(file, limits) as archive:
        return len(_listed(archive))


@contextmanager
def _opened(file: IO[bytes], limits: Limits) -> Iterator[zipfile.ZipFile]:
    _check_directory(file, limits)
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except UploadError:
        raise
    except Exception as error:  # noqa: BLE001 - damage shows in many types
        raise UploadError(f"the zip archive is damaged ({said_by(error)})") from None


def _listed(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [member for member in archive.infolist() if not _is_left_out(member)]


def _check_directory(file: IO[bytes], limits: Limits) -> None:
    """Refuse an archive by its last bytes, before its list of files is read into memory."""
    size = file.seek(0, 2)
    start = max(0, size - END_BYTES - LONGEST_COMMENT - 20)
    file.seek(start)
    tail = file.read()
    place = len(tail) - END_BYTES
    if place < 0 or not (tail[place:].startswith(END) and tail.endswith(b"\0\0")):
        place = tail.rfind(END)
    if place < 0 or len(tail) - place < END_BYTES:
        raise UploadError("the zip archive is damaged (it has no end); make it anew")
    if tail[max(0, place - 20) : place].startswith(END_64):
        raise UploadError(f"the zip archive is of the 64-bit kind: {_too_many(limits)}")
    files, directory = struct.unpack_from("<HI", tail, place + 10)
    if directory > MOST_DIRECTORY or files > 2 * limits.files:
        raise UploadError(_too_many(limits))


def _too_many(limits: Limits) -> str:
    return f"at most {limits.files:,} files are taken at once; send it in parts"


def _is_left_out(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename.replace("\\", "/")).parts
    return info.filename.endswith("/") or any(
        part == MACS or (part != ".." and is_left_by_systems(part)) for part in parts
    )


def _check_sizes(listed: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(listed) > limits.files:
        raise UploadError(_too_many(limits))
    unpacked = sum(member.file_size for member in listed)
    if unpacked > limits.unpacked_bytes:
        raise UploadError(_bomb(f"{unpacked / MIB:,.0f} MiB in all", limits))
    for member in listed:
        if member.file_size > max(MIB, limits.ratio * member.compress_size):
            raise UploadError(_bomb(f"{member.file_size / MIB:,.0f} MiB in one file", limits))


def _bomb(size: str, limits: Limits) -> str:
    return (
        f"the zip archive unpacks to {size}; at most {limits.unpacked_bytes // MIB:,} MiB and "
        f"{limits.ratio} times its packed size are unpacked"
    )


def _members(
    archive: zipfile.ZipFile, listed: list[zipfile.ZipInfo], limits: Limits
) -> Iterator[Member]:
    """Unpack files; `zipfile` gives no more bytes than were claimed, and checks their sum."""
    for info in listed:
        if refused := _why_not(info, limits):
            yield Member(info.filename, refused=refused)
            continue
        content = archive.read(info)
        if content.startswith(BEGINS):
            yield Member(info.filename, refused="an archive within an archive is not opened")
        else:
            yield Member(info.filename, content)


def _stays_inside(path: PurePosixPath) -> bool:
    return bool(path.parts) and not (
        path.is_absolute() or ".." in path.parts or ":" in path.parts[0]
    )


def _why_not(info: zipfile.ZipInfo, limits: Limits) -> str:
    if not _stays_inside(PurePosixPath(info.filename.replace("\\", "/"))):
        return "it has no name, or one that leads out of the archive"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "it is a link"
    if info.flag_bits & 1:
        return "it is encrypted"
    if info.compress_type not in OPENED:
        return "it is packed in a way that is not read; use plain zip (deflate)"
    if info.file_size > limits.picture_bytes:
        return f"it has more than {limits.picture_bytes // MIB} MiB"
    return ""
