"""When journals reach the disk, for the case that the power fails. A process that dies needs none of this."""

from __future__ import annotations

import logging
import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Literal, TypeAlias

from .run import RunJournal

logger = logging.getLogger(__name__)

Fsync: TypeAlias = Literal["never", "run"] | float
"""`"never"`: the operating system decides; `"run"`: when a run stops; a number: so many seconds apart as well."""


_LONGEST_SECONDS = 86400


class Syncer:
    """A daemon thread that calls fdatasync, so that neither the callback nor the publisher waits for the disk."""

    def __init__(self, policy: Fsync) -> None:
        """Raises ValueError for a policy that is none."""
        if policy not in {"never", "run"} and not (isinstance(policy, int | float) and 0 < policy <= _LONGEST_SECONDS):
            raise ValueError(f'fsync={policy!r}: give "never", "run", or seconds, up to {_LONGEST_SECONDS}')
        self._policy = policy
        self._files: dict[RunJournal, int] = {}
        self._stopped: SimpleQueue[RunJournal | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.longest = 0.0
        """Seconds that the slowest call took."""

    def add(self, journal: RunJournal) -> None:
        """A run has started."""
        if self._policy == "never":
            return
        with suppress(OSError), self._lock:
            # a descriptor of its own: it neither holds the lock nor can be closed while it is in use
            self._files[journal] = os.open(journal.path, os.O_RDONLY | os.O_CLOEXEC)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="blissdata-bluesky-fsync", daemon=True)
            self._thread.start()

    def end(self, journal: RunJournal) -> None:
        """The run has stopped: its journal is brought to the disk once more."""
        if self._policy != "never":
            self._stopped.put(journal)

    def stop(self, timeout: float | None) -> None:
        """Bring everything to the disk and end, waiting no longer than `timeout` seconds."""
        if self._thread is not None:
            self._stopped.put(None)
            self._thread.join(timeout)

    def forget(self) -> None:
        """In a forked child: files and thread are its parent's."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files, self._thread = {}, None

    def _run(self) -> None:
        interval = None if self._policy == "run" else float(self._policy)
        while True:
            try:
                stopped = self._stopped.get(timeout=interval)
            except Empty:
                self._sync_all()
                continue
            if stopped is None:
                break
            self._finish(stopped)
        for journal in list(self._files):
            self._finish(journal)

    def _sync_all(self) -> None:
        with self._lock:
            files = list(self._files.items())
        for journal, descriptor in files:
            self._sync(journal.path, descriptor)
        for directory in {journal.path.parent for journal, _ in files}:
            self._sync_directory(directory)

    def _finish(self, journal: RunJournal) -> None:
        with self._lock:
            descriptor = self._files.pop(journal, None)
        if descriptor is not None:
            self._sync(journal.path, descriptor)
            os.close(descriptor)
            self._sync_directory(journal.path.parent)

    def _sync(self, path: Path, descriptor: int) -> None:
        began = time.monotonic()
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            logger.error("journal %s may not survive a power failure: %s", path, error.strerror)
        self.longest = max(self.longest, time.monotonic() - began)

    def _sync_directory(self, path: Path) -> None:
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
