"""Room at the end of a growing HDF5 file, so that who finds it between two writes can read it.

HDF5 notes how far a file reaches in its first block, and refuses what lies beyond. It writes that block after all that
it has added: a reader that opens the file in between, or that finds it after its writer was killed there, would be
refused. So the note always says more than is written, and the file really is that long, without taking the room (HDF5
File Format Specification 3.0, II.A: superblock of version 0, which the default mode writes).
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

ROOM_BYTES = 2**26
"""How much may be written between two calls of `make_room`, all that HDF5 adds included."""

_PIECE_BYTES = 2**20
_NOWHERE = 2**63
_SIGNATURE = b"\x89HDF\r\n\x1a\n\x00"
_END = struct.Struct("<Q")
_END_OFFSET = 40


def make_room(descriptor: int, size: int) -> None:
    """Let the file reach beyond the `size` bytes that it has; its writer has just flushed it. Raises OSError."""
    _set_end(descriptor, size + ROOM_BYTES)


def take_room(descriptor: int, size: int) -> None:
    """Let the file, which its writer has closed, end after `size` bytes, where HDF5 says that it ends. Raises OSError."""
    _set_end(descriptor, size)


def copy_sparsely(descriptor: int, target: Path, size: int) -> None:
    """Copy the first `size` bytes of an open file; room takes no more disk in the copy than it does there. Raises OSError."""
    with target.open("w+b") as copy:
        for begin, end in _written(descriptor, size):
            for first in range(begin, end, _PIECE_BYTES):
                copy.seek(first)
                copy.write(os.pread(descriptor, min(_PIECE_BYTES, end - first), first))
        copy.flush()
        # the copy has no room
        _set_end(copy.fileno(), size)


def _written(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file, up to `size`, that are more than room."""
    position = 0
    # HDF5 does not care for the position that is changed here
    while (begin := _next_data(descriptor, position)) < size:
        position = min(size, os.lseek(descriptor, begin, os.SEEK_HOLE))
        yield begin, position


def _next_data(descriptor: int, position: int) -> int:
    try:
        return os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        # there is nothing but room
        return _NOWHERE


def _set_end(descriptor: int, end: int) -> None:
    if os.pread(descriptor, len(_SIGNATURE), 0) != _SIGNATURE:
        raise OSError("it does not begin as an HDF5 file of the default mode does")
    # longer first, shorter last: at no moment may the file be shorter than it says
    if end >= os.fstat(descriptor).st_size:
        os.ftruncate(descriptor, end)
        os.pwrite(descriptor, _END.pack(end), _END_OFFSET)
    else:
        os.pwrite(descriptor, _END.pack(end), _END_OFFSET)
        os.ftruncate(descriptor, end)
