"""The journal of one run: a file that its owner appends to and that its readers read on."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import JournalError, JournalOwnedError
from .damage import Damage, damage_at
from .marks import BatchMarks, last_acknowledged
from .records import LONGEST, Header, frame, open_file, read_records

MARKS_SUFFIX = ".marks"
# beside a journal until the archiver is done with it; what it holds is the archiver's
ARCHIVE_SUFFIX = ".archive"
# beside a journal that lacks documents; empty, for the disk is full then
FAILED_SUFFIX = ".failed"
_CLOSED = -1
# not looked at by those who search for journals that nobody owns; then it is renamed, with its lock
NEW_SUFFIX = ".new"


class RunJournal:
    """An open journal, locked for its owner. `append` has reached the operating system when it returns."""

    def __init__(self, path: Path, descriptor: int, header: Header, begin: int, size: int) -> None:
        """`create` and `adopt` make journals."""
        self.path = path
        self.header = header
        self.begin = begin
        """Where the documents begin, in bytes."""
        self.failed = ""
        """Why nothing can be appended any more."""
        self.on_failure: Callable[[RunJournal], None] | None = None
        """Told once, when the first record could not be written."""
        self.whole = True
        """Whether it has all that was appended."""
        self._descriptor = descriptor
        self._size = size
        self._marks: BatchMarks | None = None

    @classmethod
    def create(cls, path: Path, header: Header) -> RunJournal:
        """A new journal. Raises JournalError when it cannot be made."""
        new = path.with_suffix(NEW_SUFFIX)
        descriptor = _CLOSED
        try:
            descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            begin = _write(descriptor, header.pack())
            new.rename(path)
        except OSError as error:
            if descriptor != _CLOSED:
                os.close(descriptor)
                new.unlink(missing_ok=True)
            raise JournalError(f"journal {path} cannot be made: {error.strerror}") from error
        return cls(path, descriptor, header, begin, begin)

    @classmethod
    def adopt(cls, path: Path) -> RunJournal:
        """Take over the journal of an owner that is gone, for reading; `size` tells how far it is whole.

        Raises JournalOwnedError while its owner lives, JournalError when it cannot be read or has no valid header.
        """
        try:
            descriptor = open_file(path, os.O_RDWR)
        except OSError as error:
            raise JournalError(f"journal {path} cannot be opened: {error.strerror}") from error
        try:
            return cls._adopt(path, descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    @classmethod
    def _adopt(cls, path: Path, descriptor: int) -> RunJournal:
        try:
            _lock(path, descriptor)
            records = read_records(descriptor)
            begin, payload = next(records, (0, b""))
            header = Header.unpack(payload, path)
            size = begin
            for offset, _ in records:
                size = offset
        except BlockingIOError as error:
            raise JournalOwnedError(f"journal {path} belongs to a process that is publishing it") from error
        except OSError as error:
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"journal {path} cannot be read: {error.strerror}") from error
        journal = cls(path, descriptor, header, begin, size)
        journal.failed = "its owner is gone"
        return journal

    @property
    def size(self) -> int:
        """Bytes of whole records."""
        return self._size

    @property
    def excess(self) -> int:
        """Bytes after the last whole record: torn or damaged, and never read."""
        return os.fstat(self._descriptor).st_size - self._size

    @property
    def damage(self) -> Damage | None:
        """What is wrong behind the last whole record; None when nothing is, or its owner died while he wrote it."""
        if self._descriptor == _CLOSED:
            return None
        try:
            if not self.failed and not self.excess:
                return None
            # documents that its owner could not write are acknowledged as well
            acknowledged = last_acknowledged(self.path.with_suffix(MARKS_SUFFIX)) if self.whole else 0
            return damage_at(self._descriptor, self._size, acknowledged)
        except OSError:
            # what cannot be read is not known to be whole
            return Damage(self._size, 0)

    @property
    def marks(self) -> BatchMarks | None:
        """How the run was cut into batches; None when that cannot be kept."""
        if self._marks is None and self._descriptor != _CLOSED:
            try:
                self._marks = BatchMarks(self.path.with_suffix(MARKS_SUFFIX))
            except OSError:
                return None
        return self._marks

    def append(self, payload: bytes) -> bool:
        """Write one record. False from the first one on that could not be written."""
        if self.failed:
            return False
        try:
            self._size += _write(self._descriptor, payload)
        except OSError as error:
            self._fail(error)
            return False
        return True

    def records(self, offset: int) -> Iterator[tuple[int, bytes]]:
        """(offset after the record, payload) of the records from `offset` on; 0 gives the header first.

        Raises JournalError when the file cannot be read.
        """
        try:
            yield from read_records(self._descriptor, offset)
        except OSError as error:
            raise JournalError(f"journal {self.path} cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Release the lock. The files stay. May be repeated."""
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor = _CLOSED
        if self._marks is not None:
            self._marks.close()

    def _fail(self, error: OSError) -> None:
        self.failed = error.strerror or str(error)
        self.whole = False
        try:
            # a torn record would hide whatever might follow it
            os.ftruncate(self._descriptor, self._size)
        except OSError as error_again:
            self.failed += f"; it cannot be cut back either ({error_again.strerror})"
        if self.on_failure is not None:
            self.on_failure(self)


def _lock(path: Path, descriptor: int) -> None:
    """Raises BlockingIOError when it is another's, also when that one has just set it aside."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if not path.exists() or not os.path.samestat(path.stat(), os.fstat(descriptor)):
        raise BlockingIOError


def _write(descriptor: int, payload: bytes) -> int:
    """Append one record; return its size. Raises OSError, and may then have written a part."""
    if len(payload) > LONGEST:
        raise OSError(errno.EFBIG, f"a document of {len(payload)} bytes is larger than a record can be")
    head = frame(payload)
    size = len(head) + len(payload)
    written = os.writev(descriptor, (head, payload))
    while written < size:
        written += os.write(descriptor, (head + payload)[written:])
    return size
