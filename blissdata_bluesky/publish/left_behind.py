"""Journals that nobody publishes any more: their owners have died, or were closed during an outage."""

from __future__ import annotations

import logging
import time
from collections import deque
from pathlib import Path

from ..errors import JournalError, JournalOwnedError
from ..journal import Fate, JournalDirectory, JournalReader, RunJournal

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.01


class LeftBehind:
    """The unfinished journals of one directory that are for one Redis, taken over one after the other."""

    def __init__(self, directory: JournalDirectory, target: str) -> None:
        self._directory = directory
        self._target = target
        self._paths: deque[Path] = deque()
        self._unusable: set[Path] = set()

    def look(self) -> None:
        """Look for journals again."""
        self._paths = deque(path for path in self._directory.paths(Fate.UNFINISHED) if path not in self._unusable)

    def __bool__(self) -> bool:
        return bool(self._paths)

    def take(self) -> RunJournal | None:
        """The next journal, now ours; None when there is no other."""
        while self._paths:
            path = self._paths.popleft()
            try:
                # a look at the header needs no lock, and of others' journals nothing more is read
                if _target(path) != self._target:
                    self._unusable.add(path)
                    continue
                journal = _adopt(path)
            except JournalOwnedError:
                continue
            except JournalError as error:
                self._unusable.add(path)
                if path.exists():
                    logger.error("a journal cannot be recovered and is left where it is: %s", error)
                continue
            return journal
        return None


def _target(path: Path) -> str:
    with JournalReader(path) as reader:
        return reader.header.target


def _adopt(path: Path) -> RunJournal:
    try:
        return RunJournal.adopt(path)
    except JournalOwnedError:
        # somebody may have had a look at it only
        time.sleep(_LOOK_SECONDS)
        return RunJournal.adopt(path)
