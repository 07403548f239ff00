"""How a run was cut into batches, beside its journal: the offset after each batch, as 64-bit integers.

Publishing the run again in the same batches gives the same entries in Redis, so that a reader in mid-stream goes on.
The highest bit says that the scan was prepared after this batch because time had run out (DESIGN 8): what a journal
cannot tell.
"""

from __future__ import annotations

import logging
import os
import struct
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger(__name__)

_OFFSET = struct.Struct("<Q")
_PREPARED = 2**63
_CLOSED = -1


class Mark(NamedTuple):
    """The end of one batch."""

    offset: int
    """In the journal, in bytes."""
    prepared: bool
    """Whether the scan was prepared after it."""


class BatchMarks:
    """The marks of one journal. What is torn, or not in ascending order, counts as not written."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises OSError."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._count = 0
        self._last = 0
        while (offset := self._read(self._count).offset) > self._last:
            self._count, self._last = self._count + 1, offset

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Mark:
        """One mark. Raises IndexError beyond the last."""
        if not 0 <= index < self._count:
            raise IndexError(f"{self.path} has {self._count} marks, not one with number {index}")
        return self._read(index)

    def add(self, offset: int) -> None:
        """Append one mark, unless it lies before the last."""
        if offset > self._last and self._write(self._count, offset):
            self._count, self._last = self._count + 1, offset

    def prepared(self) -> None:
        """The scan is prepared now, after the last mark."""
        if self._count:
            self._write(self._count - 1, self._last | _PREPARED)

    def close(self) -> None:
        """Close the file. May be repeated."""
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor, self._count = _CLOSED, 0

    def _read(self, index: int) -> Mark:
        piece = os.pread(self._descriptor, _OFFSET.size, index * _OFFSET.size)
        value = int.from_bytes(piece, "little") if len(piece) == _OFFSET.size else 0
        return Mark(value & ~_PREPARED, bool(value & _PREPARED))

    def _write(self, index: int, value: int) -> bool:
        """A failure ends marking; nothing but the boundaries of entries depends on it."""
        if self._descriptor == _CLOSED:
            return False
        try:
            os.pwrite(self._descriptor, _OFFSET.pack(value), index * _OFFSET.size)
        except OSError as error:
            logger.debug("%s cannot be written: %s", self.path, error)
            self.close()
            return False
        return True
