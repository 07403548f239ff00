"""An archiver in a process of its own, for a writer that has none."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any

from ..errors import ArchiveError
from .lock import ArchiverLock

logger = logging.getLogger(__name__)

LOG_NAME = "archiver.log"
_LOG_BYTES = 2**20
_LOOK_SECONDS, _LONGEST_PAUSE_SECONDS = 5.0, 60.0


class ArchiverChild:
    """Sees to it that somebody archives the journals of a directory, as long as its owner lives.

    A child that it starts reads from a pipe which nobody writes to: when that ends, because its owner says so or has
    died, however it died, the child finishes what can be finished, and ends.
    """

    def __init__(self, journal: Path, root: Path) -> None:
        self._journal = journal
        self._root = root
        self._log = journal / LOG_NAME
        self._lock = ArchiverLock(journal, root)
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = _Failures()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="blissdata-bluesky-archiver", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have the child end when it has finished what can be finished; does not wait for it."""
        self._stopping.set()

    def forget(self) -> None:
        """In a forked child of its owner: the pipe is the owner's."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._lock.is_held():
                    self._failures.end()
                else:
                    self._watch()
            except (ArchiveError, OSError) as error:
                reason = f"the archiver for {self._root} cannot be started, and it is tried again: {error}"
                self._failures.add(logging.ERROR, str(error), reason)
            self._stopping.wait(self._failures.pause)

    def _watch(self) -> None:
        """Start a child and wait for its end."""
        if self._stopping.is_set():
            return
        with self._log.open("ab") as log:
            if log.tell() > _LOG_BYTES:
                log.truncate(0)
            begin = log.seek(0, os.SEEK_END)
            self._process = process = self._started(log)
        try:
            self._wait(process)
        finally:
            if process.stdin is not None:
                process.stdin.close()
            code = process.wait()
        # it also ends when another one was faster
        if code and not self._stopping.is_set() and not self._lock.is_held():
            said = _last_line(self._log, begin)
            about = f"the archiver for {self._root} ended with code {code} and is started again"
            self._failures.add(logging.WARNING, f"{code} {said}", f"{about}; {self._log} may say why: {said}")

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it has ended, or is to end; as soon as it is at work, earlier failures are over."""
        while process.poll() is None and not self._stopping.wait(0.5):
            if self._failures and self._lock.is_held():
                self._failures.end()

    def _started(self, log: IO[Any]) -> subprocess.Popen[bytes]:
        # -P: the directory that the owner happens to be in has no modules for it
        command = [sys.executable, "-P", "-m", "blissdata_bluesky", "archive", "--until-eof"]
        places = ["--journal", str(self._journal), "--root", str(self._root)]
        return subprocess.Popen(
            [*command, *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            # Ctrl-C in the owner's terminal is meant for a plan
            start_new_session=True,
        )


class _Failures:
    """Archivers that did not come to work, one after the other: each reason is told once, and the pauses grow."""

    def __init__(self) -> None:
        self._count = 0
        self._told: set[str] = set()

    def add(self, level: int, reason: str, message: str) -> None:
        self._count += 1
        if reason not in self._told:
            self._told.add(reason)
            logger.log(level, "%s", message)

    def end(self) -> None:
        """One is at work."""
        self._count = 0
        self._told.clear()

    def __bool__(self) -> bool:
        return bool(self._count)

    @property
    def pause(self) -> float:
        """Seconds until the next attempt, or look."""
        return min(_LOOK_SECONDS * 2.0 ** min(max(0, self._count - 1), 10), _LONGEST_PAUSE_SECONDS)


def _last_line(log: Path, begin: int) -> str:
    """What a child said last, without the time."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read(_LOG_BYTES).decode(errors="replace").split("\n")
    last: str = next((line for line in reversed(lines) if line.strip()), "")
    return last.lstrip("0123456789-:, ")
