"""A directory of journals: open ones that belong to runs, finished ones that are kept for a while."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import JournalError
from ..names import run_uuid, ulid
from .records import Header
from .run import RunJournal

logger = logging.getLogger(__name__)

OPEN_SUFFIX = ".journal"
FINISHED_SUFFIX = ".finished-journal"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long and how much of finished journals is kept."""

    seconds: float = 7 * 86400
    bytes: int = 4 * 2**30


class JournalDirectory:
    """Makes journals, sets them aside when they are finished, and lets go of what is older than the retention."""

    def __init__(self, path: Path, retention: Retention | None = None) -> None:
        """Raises JournalError when the directory cannot be made or written."""
        self.path = path.expanduser().absolute()
        self._retention = retention or Retention()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"journal directory {self.path} cannot be made: {error.strerror}") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise JournalError(f"journal directory {self.path} cannot be written: give journal=DIR that can")

    def create(self, header: Header) -> RunJournal:
        """A journal for a new run. Raises JournalError, also when an unfinished one of the same run is there."""
        return RunJournal.create(self._path(header.uid, OPEN_SUFFIX), header)

    def finish(self, journal: RunJournal) -> None:
        """Set a journal aside whose run every reader has taken whole."""
        journal.close()
        try:
            journal.path.replace(self._path(journal.header.uid, FINISHED_SUFFIX))
        except OSError as error:
            logger.error("journal %s cannot be set aside: %s", journal.path, error.strerror)
        self.prune()

    def unfinished(self) -> list[Path]:
        """The journals of runs that are not published whole, oldest first."""
        return [path for _, _, path in sorted(self._files(OPEN_SUFFIX))]

    def prune(self) -> None:
        """Remove finished journals beyond the retention, oldest first."""
        files = sorted(self._files(FINISHED_SUFFIX))
        total = sum(size for _, size, _ in files)
        for modified, size, path in files:
            if total <= self._retention.bytes and time.time() - modified <= self._retention.seconds:
                return
            try:
                path.unlink(missing_ok=True)
                total -= size
            except OSError as error:
                logger.error("journal %s cannot be removed: %s", path, error.strerror)

    def _path(self, uid: str, suffix: str) -> Path:
        return self.path / (ulid(run_uuid(uid)) + suffix)

    def _files(self, suffix: str) -> Iterator[tuple[float, int, Path]]:
        for path in self.path.glob(f"*{suffix}"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield status.st_mtime, status.st_size, path
