"""The journal's format: records with length and checksum, the first of which is the header."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ormsgpack

from ..errors import JournalError

# 2: `archive` in the header; 3: equal times of several streams are told apart (ADR 24)
FORMAT = 3
_MAGIC = b"BBJ1"
_FRAME = struct.Struct("<4sII")
# A length beyond this is not a length: the file is damaged there.
LONGEST = 2**31
# the year 9999, with which the calendar ends
_LAST_MOMENT = 253_402_300_800
# who reads the beginning only shall not wait for more
_FIRST_BYTES, _READ_BYTES = 2**16, 2**20


def owner() -> str:
    """Host and number of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Header:
    """Whose run the journal holds and where it is published; nothing else may be done with it."""

    uid: str
    publisher: str
    """Who may continue the run; stands in its documents stream as well."""
    target: str
    """The Redis that the run is published to (`connection.target`)."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """Identity of the scan, so that all readers give the run the same one."""
    archive: str = ""
    """The directory below which our archiver writes the run's file, `identity["path"]`; "" when it is not to."""
    owner: str = field(default_factory=owner)
    """Host and number of the process that wrote it, for people."""
    format: int = FORMAT
    created: float = field(default_factory=time.time)

    @property
    def ordered(self) -> bool:
        """Whether its run is mapped with `mapping.EventOrder`: a run that was begun without goes on without.

        What Redis and the file have of it is found again by the number of each document.
        """
        return self.format >= 3

    @property
    def owner_died(self) -> str:
        """Why a run is incomplete whose journal has no stop document, and nobody any more who could write one."""
        return f"the process that published it ({self.owner or 'unknown'}) ended before the run did"

    def pack(self) -> bytes:
        """The header as the payload of the first record."""
        return ormsgpack.packb(asdict(self))

    def checked(self) -> Header:
        """The header, when its members have the types they must have. Raises TypeError."""
        texts = (self.uid, self.publisher, self.target, self.owner, self.archive)
        if not (all(isinstance(text, str) for text in texts) and self.uid and self.publisher):
            raise TypeError("uid, publisher, target, owner or archive is no text")
        if not isinstance(self.identity, dict) or not isinstance(self.created, float | int):
            raise TypeError("identity is no mapping, or created no number")
        if not 0 <= self.created < _LAST_MOMENT:
            raise ValueError(f"created is no time: {self.created}")
        return self

    @classmethod
    def unpack(cls, payload: bytes, path: Path) -> Header:
        """Raises JournalError for a newer format, and for a payload that is no header."""
        try:
            members = ormsgpack.unpackb(payload)
            newer = members["format"] > FORMAT
            if not newer:
                return cls(**members).checked()
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


def open_file(path: Path, flags: int) -> int:
    """A descriptor of a regular file; anything else might keep its reader waiting for ever. Raises OSError."""
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file")
    return descriptor


def read_records(descriptor: int, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset after the record, payload) of every whole record of an open file from `offset` on.

    Stops at the first one that is torn or damaged. The file's position is neither used nor moved, so its owner may
    append meanwhile. Raises OSError when the file cannot be read.
    """
    window = _Window(descriptor)
    while len(head := window.get(offset, _FRAME.size)) == _FRAME.size:
        magic, length, checksum = _FRAME.unpack(head)
        if magic != _MAGIC or length > LONGEST:
            return
        payload = window.get(offset + _FRAME.size, length)
        if len(payload) < length or zlib.crc32(payload) != checksum:
            return
        offset += _FRAME.size + length
        yield offset, payload


def next_record(descriptor: int, offset: int) -> int | None:
    """Where the next whole record begins behind a torn or damaged one at `offset`; None when there is none.

    Raises OSError.
    """
    window = _Window(descriptor)
    head = window.get(offset, _FRAME.size)
    if len(head) == _FRAME.size:
        magic, length, _ = _FRAME.unpack(head)
        # its payload may hold what looks like a record
        if magic == _MAGIC and _is_whole(window, behind := offset + record_size(length)):
            return behind
    at = offset + 1
    while len(piece := window.get(at, _FIRST_BYTES)) >= _FRAME.size:
        found = piece.find(_MAGIC)
        at += len(piece) - len(_MAGIC) + 1 if found < 0 else found
        if found >= 0:
            if _is_whole(window, at):
                return at
            at += 1
    return None


def is_torn(descriptor: int, offset: int) -> bool:
    """Whether nothing stands behind `offset` but the beginning of a record, as a killed owner leaves it."""
    rest = os.fstat(descriptor).st_size - offset
    head = os.pread(descriptor, _FRAME.size, offset)
    if len(head) < _FRAME.size:
        return head[: len(_MAGIC)] == _MAGIC[: len(head)]
    magic, length, _ = _FRAME.unpack(head)
    return magic == _MAGIC and length <= LONGEST and rest < record_size(length)


def _is_whole(window: _Window, offset: int) -> bool:
    head = window.get(offset, _FRAME.size)
    if len(head) < _FRAME.size:
        return False
    magic, length, checksum = _FRAME.unpack(head)
    if magic != _MAGIC or length > LONGEST:
        return False
    payload = window.get(offset + _FRAME.size, length)
    return len(payload) == length and zlib.crc32(payload) == int(checksum)


class _Window:
    """The bytes of a file, fetched in large pieces."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begin = 0
        self._piece = b""
        self._next_bytes = _FIRST_BYTES

    def get(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on, or fewer where the file ends."""
        if offset < self._begin or offset + length > self._begin + len(self._piece):
            # a damaged length must not ask for memory that the file cannot fill
            there = max(0, os.fstat(self._descriptor).st_size - offset)
            wanted = min(there, max(length, self._next_bytes))
            self._begin, self._piece = offset, _read_whole(self._descriptor, offset, wanted)
            self._next_bytes = min(2 * self._next_bytes, _READ_BYTES)
        at = offset - self._begin
        return self._piece[at : at + length]


def _read_whole(descriptor: int, offset: int, length: int) -> bytes:
    piece = os.pread(descriptor, length, offset)
    while len(piece) < length and (more := os.pread(descriptor, length - len(piece), offset + len(piece))):
        piece += more
    return piece
