"""The journal of one run: a file that its owner appends to and that its readers read on."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import JournalError
from .records import Header, frame, read_records

logger = logging.getLogger(__name__)

_CLOSED = -1


class RunJournal:
    """An open journal, locked for its owner. `append` has reached the operating system when it returns."""

    def __init__(self, path: Path, descriptor: int, header: Header, size: int) -> None:
        self.path = path
        self.header = header
        self._descriptor = descriptor
        self._size = size
        self._failed = False

    @classmethod
    def create(cls, path: Path, header: Header) -> RunJournal:
        """A new journal. Raises JournalError when the file exists or cannot be made."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise JournalError(f"journal {path} cannot be made: {error.strerror}") from error
        journal = cls(path, descriptor, header, 0)
        if not journal.append(header.pack()):
            journal.close()
            path.unlink()
            raise JournalError(f"journal {path} cannot be written")
        return journal

    @property
    def size(self) -> int:
        """Bytes of whole records."""
        return self._size

    def append(self, payload: bytes) -> bool:
        """Write one record. False, with one error in the log, from the first one on that could not be written."""
        if self._failed:
            return False
        head = frame(payload)
        size = len(head) + len(payload)
        try:
            written = os.writev(self._descriptor, (head, payload))
            while written < size:
                written += os.write(self._descriptor, (head + payload)[written:])
        except OSError as error:
            self._fail(error)
            return False
        self._size += size
        return True

    def records(self, offset: int) -> Iterator[tuple[int, bytes]]:
        """(offset after the record, payload) of the records from `offset` on; 0 gives the header first."""
        return read_records(self.path, offset)

    def close(self) -> None:
        """Release the lock. The file stays. May be repeated."""
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor = _CLOSED

    def _fail(self, error: OSError) -> None:
        self._failed = True
        logger.error(
            "run %s: journal %s cannot be written (%s). The run goes on and is published from memory; what is not "
            "published when this process dies is lost. Free space in that directory.",
            self.header.uid,
            self.path,
            error.strerror,
        )
        # a torn record would hide whatever might follow it
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            logger.exception("run %s: journal %s cannot be cut back either", self.header.uid, self.path)
