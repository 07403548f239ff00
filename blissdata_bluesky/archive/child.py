"""An archiver in a process of its own, for a writer that has none."""

from __future__ import annotations

import logging
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
_LOOK_SECONDS = 5.0


class ArchiverChild:
    """Sees to it that somebody archives the journals of a directory, as long as its owner lives.

    A child that it starts reads from a pipe which nobody writes to: when that ends, because its owner says so or has
    died, however it died, the child finishes what can be finished, and ends.
    """

    def __init__(self, journal: Path, root: Path) -> None:
        self._journal = journal
        self._root = root
        self._lock = ArchiverLock(journal, root)
        self._process: subprocess.Popen[bytes] | None = None
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
                if not self._lock.is_held() and not self._stopping.is_set():
                    self._watch()
            except (ArchiveError, OSError) as error:
                logger.error("the archiver for %s cannot be started, and it is tried again: %s", self._root, error)
            self._stopping.wait(_LOOK_SECONDS)

    def _watch(self) -> None:
        """Start a child and wait for its end."""
        with (self._journal / LOG_NAME).open("ab") as log:
            if log.tell() > _LOG_BYTES:
                log.truncate(0)
            self._process = process = self._started(log)
        while process.poll() is None and not self._stopping.wait(0.5):
            pass
        if process.stdin is not None:
            process.stdin.close()
        # it also ends when another one was faster
        if process.wait() and not self._stopping.is_set() and not self._lock.is_held():
            logger.warning(
                "the archiver for %s ended with code %d and is started again; %s may say why",
                self._root,
                process.returncode,
                self._journal / LOG_NAME,
            )

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
