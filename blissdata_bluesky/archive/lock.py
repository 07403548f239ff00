"""One archiver for each directory of journals and archive."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ArchiveError
from ..journal import owner
from .root import path_beside

logger = logging.getLogger(__name__)

_CLOSED = -1
# somebody may just be looking whether it is held
_BRIEFLY_SECONDS, _PAUSE_SECONDS = 1.0, 0.02


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the end of another archiver is waited for."""

    seconds: float = _BRIEFLY_SECONDS
    stop: threading.Event = field(default_factory=threading.Event)
    """Ends the waiting."""


class ArchiverLock:
    """A lock on a file beside the journals. It lasts as long as the process that holds it, at most."""

    def __init__(self, journal: Path, root: Path) -> None:
        self._root = root
        self.path = path_beside(journal, root, ".lock")
        self._descriptor = _CLOSED

    def acquire(self, patience: Patience | None = None) -> None:
        """Raises ArchiveError when another process holds it for longer than patience lasts."""
        descriptor, patience = self._open(), patience or Patience()
        began, told = time.monotonic(), False
        while not _lock(descriptor, fcntl.LOCK_EX):
            waited = time.monotonic() - began
            if waited > patience.seconds or patience.stop.is_set():
                other = self._other(descriptor)
                os.close(descriptor)
                raise ArchiveError(f"{other}: one is enough")
            if waited > _BRIEFLY_SECONDS and not told:
                logger.warning("%s: its end is waited for, for %.0f s", self._other(descriptor), patience.seconds)
                told = True
            patience.stop.wait(_PAUSE_SECONDS)
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

    def _other(self, descriptor: int) -> str:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "unknown"
        return f"another archiver ({holder}) is at work on {self.path.parent} for {self._root}"

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
