"""Looking into a journal without owning it, also while its owner writes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from ..errors import JournalError
from .damage import Damage, damage_at, records_behind
from .marks import last_acknowledged
from .records import Header, open_file, read_records
from .run import FAILED_SUFFIX, MARKS_SUFFIX


class JournalReader:
    """A journal that is only read. A context manager."""

    def __init__(self, path: Path) -> None:
        """Raises JournalError when it cannot be read, has no valid header or a newer format."""
        self.path = path
        try:
            self._descriptor = open_file(path, os.O_RDONLY)
        except OSError as error:
            raise JournalError(f"journal {path} cannot be opened: {error.strerror}") from error
        try:
            self.begin, payload = next(self.records(), (0, b""))
            self.header = Header.unpack(payload, path)
        except BaseException:
            self.close()
            raise

    def records(self, offset: int = 0) -> Iterator[tuple[int, bytes]]:
        """(offset after the record, payload) from `offset` on; 0 gives the header first, `begin` the documents."""
        try:
            yield from read_records(self._descriptor, offset)
        except OSError as error:
            raise JournalError(f"journal {self.path} cannot be read: {error.strerror}") from error

    def records_behind(self, offset: int) -> Iterator[tuple[int, int, bytes]]:
        """(begin, end, payload) of the whole records behind the damaged one at `offset`."""
        try:
            yield from records_behind(self._descriptor, offset)
        except OSError as error:
            raise JournalError(f"journal {self.path} cannot be read: {error.strerror}") from error

    def damage(self, offset: int) -> Damage | None:
        """What is wrong behind `offset`, where the whole records end, in a journal that nobody owns; reads the rest."""
        # documents that it lacks are acknowledged as well
        acknowledged = 0 if self.failure else last_acknowledged(self.path.with_suffix(MARKS_SUFFIX))
        try:
            return damage_at(self._descriptor, offset, acknowledged)
        except OSError as error:
            raise JournalError(f"journal {self.path} cannot be read: {error.strerror}") from error

    def whole(self) -> int:
        """Bytes up to the end of the last whole record; reads the file."""
        return max((offset for offset, _ in self.records()), default=0)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return os.fstat(self._descriptor).st_size

    @property
    def modified(self) -> float:
        """When it was written last, in seconds since the epoch."""
        return os.fstat(self._descriptor).st_mtime

    @property
    def owned(self) -> bool:
        """Whether a process is publishing it."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    @property
    def failure(self) -> str:
        """Why it does not have the whole of a run that Redis may have; "" when nothing is known of that."""
        failed = self.path.with_suffix(FAILED_SUFFIX).exists()
        return "its journal lacks documents, for it could not be written" if failed else ""

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
