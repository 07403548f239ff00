"""One archiver for each directory of journals and archive."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from ..errors import ArchiveError
from ..journal import owner
from .root import path_beside

_CLOSED = -1
# somebody may just be looking whether it is held
PATIENCE_SECONDS, _PAUSE_SECONDS = 1.0, 0.02


class ArchiverLock:
    """A lock on a file beside the journals. It lasts as long as the process that holds it, at most."""

    def __init__(self, journal: Path, root: Path) -> None:
        self._root = root
        self.path = path_beside(journal, root, ".lock")
        self._descriptor = _CLOSED

    def acquire(self, patience: float = PATIENCE_SECONDS) -> None:
        """Raises ArchiveError when another process holds it for longer than `patience` seconds."""
        descriptor = self._open()
        deadline = time.monotonic() + patience
        while not _lock(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                os.close(descriptor)
                raise ArchiveError(
                    f"another archiver ({holder or 'unknown'}) is at work on {self.path.parent} for {self._root}: one "
                    "is enough"
                )
            time.sleep(_PAUSE_SECONDS)
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{owner()}\n".encode(), 0)

    def release(self) -> None:
        """May be repeated."""
        if self._descriptor != _CLOSED:
            os.close(self._descriptor)
            self._descriptor = _CLOSED

    def is_held(self) -> bool:
        """Whether a process archives here now. Raises ArchiveError."""
        if not self.path.exists():
            return False
        descriptor = self._open()
        try:
            return not _lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ArchiveError(f"{self.path} cannot be opened: {error.strerror}") from error


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
