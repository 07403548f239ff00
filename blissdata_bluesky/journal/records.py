"""The journal's format: records with length and checksum, the first of which is the header."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import ormsgpack

from ..errors import JournalError

FORMAT = 1
_MAGIC = b"BBJ1"
_FRAME = struct.Struct("<4sII")
# A length beyond this is not a length: the file is damaged there.
_LONGEST = 2**31


@dataclass(frozen=True, slots=True)
class Header:
    """Whose run the journal holds and where it is published; nothing else may be done with it."""

    uid: str
    publisher: str
    """Who may continue the run; stands in its documents stream as well."""
    target: str
    """The Redis URL without password."""
    format: int = FORMAT
    created: float = field(default_factory=time.time)

    def pack(self) -> bytes:
        """The header as the payload of the first record."""
        return ormsgpack.packb(asdict(self))

    @classmethod
    def unpack(cls, payload: bytes, path: Path) -> Header:
        """Raises JournalError for a newer format, and for a payload that is no header."""
        try:
            members = ormsgpack.unpackb(payload)
            newer = members["format"] > FORMAT
            if not newer:
                return cls(**members)
        except (ValueError, TypeError, KeyError) as error:
            raise JournalError(f"{path} does not begin with a journal's header: move it away ({error})") from error
        raise JournalError(
            f"{path} has format {members['format']}, this version reads up to {FORMAT}: open it with the version of "
            "blissdata-bluesky that wrote it, or a newer one"
        )


def frame(payload: bytes) -> bytes:
    """What stands before the payload in the file."""
    return _FRAME.pack(_MAGIC, len(payload), zlib.crc32(payload))


def record_size(length: int) -> int:
    """Bytes that a payload of `length` bytes takes in the file."""
    return _FRAME.size + length


def read_records(path: Path, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset after the record, payload) of every whole record from `offset` on.

    Stops at the first one that is torn or damaged. Raises JournalError when the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while payload := _next_payload(file.read(_FRAME.size), file.read):
                offset += _FRAME.size + len(payload)
                yield offset, payload
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror}") from error


def _next_payload(head: bytes, read: Callable[[int], bytes]) -> bytes | None:
    if len(head) < _FRAME.size:
        return None
    magic, length, checksum = _FRAME.unpack(head)
    if magic != _MAGIC or length > _LONGEST:
        return None
    payload = read(length)
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None
