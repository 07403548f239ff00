"""How a run was cut into batches, beside its journal: the offset after each batch, as 64-bit integers.

Publishing the run again in the same batches gives the same entries in Redis, so that a reader in mid-stream goes on.
The highest bit says that the scan was prepared after this batch because time had run out (DESIGN 8): what a journal
cannot tell. The next one says that Redis has acknowledged the batch, and all before it.
"""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path
from typing import NamedTuple

from .records import open_file

logger = logging.getLogger(__name__)

_OFFSET = struct.Struct("<Q")
_PREPARED, _ACKNOWLEDGED = 2**63, 2**62
# of the marks, however many there are, the last ones are enough to see how far it is acknowledged
_LAST_MARKS = 1024
_CLOSED = -1


class Mark(NamedTuple):
    """The end of one batch."""

    offset: int
    """In the journal, in bytes."""
    prepared: bool
    """Whether the scan was prepared after it."""
    acknowledged: bool
    """Whether Redis has it."""

    @classmethod
    def parse(cls, value: int) -> Mark:
        """A mark as it is stored."""
        return cls(value & ~(_PREPARED | _ACKNOWLEDGED), bool(value & _PREPARED), bool(value & _ACKNOWLEDGED))

    def __int__(self) -> int:
        return self.offset | _PREPARED * self.prepared | _ACKNOWLEDGED * self.acknowledged


_NONE = Mark(0, prepared=False, acknowledged=False)


def last_acknowledged(path: Path) -> int:
    """The offset up to which Redis has a run, 0 when nothing tells; unlike `BatchMarks` this makes no file."""
    return max((mark.offset for mark in _stored(path, _LAST_MARKS) if mark.acknowledged), default=0)


def prepared_after(path: Path) -> list[int]:
    """The offsets after which the scan was prepared because time had run out, in ascending order; makes no file."""
    return [mark.offset for mark in _stored(path) if mark.prepared]


def _stored(path: Path, last: int | None = None) -> list[Mark]:
    """The `last` marks of a file, or all; none when it cannot be read."""
    try:
        with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
            if last is not None:
                whole = os.fstat(file.fileno()).st_size // _OFFSET.size
                file.seek(max(0, whole - last) * _OFFSET.size)
            piece = file.read()
    except OSError:
        return []
    return [Mark.parse(value) for (value,) in _OFFSET.iter_unpack(piece[: len(piece) // _OFFSET.size * _OFFSET.size])]


class BatchMarks:
    """The marks of one journal. What is torn, or not in ascending order, counts as not written."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises OSError."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._count = 0
        self._last = _NONE
        while (mark := self._read(self._count)).offset > self._last.offset:
            self._count, self._last = self._count + 1, mark

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Mark:
        """One mark. Raises IndexError beyond the last."""
        if not 0 <= index < self._count:
            raise IndexError(f"{self.path} has {self._count} marks, not one with number {index}")
        return self._read(index)

    def add(self, offset: int) -> None:
        """Append one mark, unless it lies before the last."""
        mark = Mark(offset, prepared=False, acknowledged=False)
        if offset > self._last.offset and self._write(self._count, mark):
            self._count, self._last = self._count + 1, mark

    def prepared(self) -> None:
        """The scan is prepared now, after the last mark."""
        self._change_last(self._last._replace(prepared=True))

    def acknowledged(self) -> None:
        """Redis has everything up to the last mark."""
        self._change_last(self._last._replace(acknowledged=True))

    def close(self) -> None:
        """Close the file. May be repeated."""
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor, self._count = _CLOSED, 0

    def _change_last(self, mark: Mark) -> None:
        if self._count and mark != self._last and self._write(self._count - 1, mark):
            self._last = mark

    def _read(self, index: int) -> Mark:
        piece = os.pread(self._descriptor, _OFFSET.size, index * _OFFSET.size)
        return Mark.parse(int.from_bytes(piece, "little")) if len(piece) == _OFFSET.size else _NONE

    def _write(self, index: int, mark: Mark) -> bool:
        """A failure ends marking; nothing but the boundaries of entries depends on it."""
        if self._descriptor == _CLOSED:
            return False
        try:
            os.pwrite(self._descriptor, _OFFSET.pack(int(mark)), index * _OFFSET.size)
        except OSError as error:
            logger.debug("%s cannot be written: %s", self.path, error)
            self.close()
            return False
        return True
