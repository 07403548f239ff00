"""A directory of journals: those of runs that are being published, and those that are kept afterwards."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ..errors import JournalError
from ..names import run_uuid, ulid
from .network import network_file_system
from .records import Header, open_file, owner
from .run import ARCHIVE_SUFFIX, FAILED_SUFFIX, MARKS_SUFFIX, NEW_SUFFIX, RunJournal

logger = logging.getLogger(__name__)

_FAULT = "last-fault.json"
# looking at thousands of files takes longer than a short run
_PRUNE_SECONDS = 60.0


class Fate(StrEnum):
    """What has become of a journal; its value is the suffix of the file."""

    UNFINISHED = ".journal"
    """Being published, or left over by a process that died."""
    FINISHED = ".finished-journal"
    """Redis has the whole run; kept for the retention."""
    ABANDONED = ".abandoned-journal"
    """Redis does not take the run; kept until somebody replays or removes it."""
    DAMAGED = ".damaged-journal"
    """Redis and the archive have what is whole of it; kept until somebody removes it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long and how much of finished journals is kept."""

    seconds: float = 7 * 86400
    bytes: int = 4 * 2**30


class JournalDirectory:
    """Makes journals, sets them aside when they are done, and lets go of what is older than the retention."""

    def __init__(self, path: Path, retention: Retention | None = None) -> None:
        """Raises JournalError when the directory cannot be made or written."""
        self.path = path.expanduser().absolute()
        self._retention = retention or Retention()
        self._lock = threading.Lock()
        self._failing = False
        self._pruned = -math.inf
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"journal directory {self.path} cannot be made: {error.strerror}") from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise JournalError(f"journal directory {self.path} cannot be written: give journal=DIR that can")

    def warn_if_remote(self) -> None:
        """One warning when the directory lies on a network file system."""
        if kind := network_file_system(self.path):
            logger.warning(
                "the journals in %s lie on a network file system (%s): each document waits for it, and its locks may "
                "not hold between computers. Give journal=DIR on a local disk.",
                self.path,
                kind,
            )

    def create(self, header: Header) -> RunJournal | None:
        """A journal for a new run; None when none can be made, of which the log tells once until one can be."""
        path = self.path / f"{ulid(run_uuid(header.uid))}-{header.publisher[:8]}{Fate.UNFINISHED}"
        try:
            if header.archive:
                # before the journal: without it, nobody would know that one has to be kept
                _touch(path.with_suffix(ARCHIVE_SUFFIX))
            journal = RunJournal.create(path, header)
        except JournalError as error:
            self._tell(header.uid, str(error))
            return None
        journal.on_failure = lambda failed: self._tell(failed.header.uid, f"{failed.path}: {failed.failed}")
        return journal

    def finish(self, journal: RunJournal, *, needed: bool = False) -> None:
        """Set a journal aside whose run Redis has whole. One that the archive has as well is removed.

        `needed`: but for what retention says, as it has documents that neither of them has.
        """
        if not journal.failed:
            self._tell_again(journal)
        if journal.header.archive and not journal.whole:
            with suppress(JournalError):
                _touch(journal.path.with_suffix(FAILED_SUFFIX))
        if journal.damage is not None:
            self._set_aside(journal, Fate.DAMAGED)
            return
        self._set_aside(journal, Fate.FINISHED)
        # asked after it was renamed, as the archiver asks in the opposite order: one of both sees that all is done
        if journal.header.archive and not needed and not journal.path.with_suffix(ARCHIVE_SUFFIX).exists():
            self._remove_whole(journal.path)
        if time.monotonic() - self._pruned > _PRUNE_SECONDS:
            self.prune()

    def archived(self, path: Path, *, needed: bool = False) -> None:
        """The archive has the whole run of the journal that was found as `path`: it goes once Redis has it as well.

        `needed`: as in `finish`.
        """
        self._remove(path.with_suffix(ARCHIVE_SUFFIX))
        if not needed and (finished := path.with_suffix(Fate.FINISHED)).exists():
            self._remove_whole(finished)

    def keep_damaged(self, path: Path) -> Path:
        """Never remove the journal that was found as `path`, more than it gave may be in it; where it is now.

        One that is unfinished stays so: who finishes it sees the damage as well.
        """
        finished, damaged = path.with_suffix(Fate.FINISHED), path.with_suffix(Fate.DAMAGED)
        try:
            finished.replace(damaged)
        except FileNotFoundError:
            return damaged if damaged.exists() else path
        except OSError as error:
            raise JournalError(
                f"damaged journal {finished} cannot be renamed to {damaged.name}: {error.strerror}"
            ) from error
        return damaged

    def to_archive(self) -> list[Path]:
        """The journals that the archiver is not done with: first those of runs that may go on, then oldest first."""
        files = sorted(self._files(*Fate), key=lambda file: (file[-1].suffix != Fate.UNFINISHED, file))
        return [path for _, _, path in files if _is_to_archive(path)]

    def is_to_archive(self, path: Path) -> bool:
        """Whether the archiver is not done with the journal that was found as `path`, and it is there."""
        return _has_journal(path) and _is_to_archive(path)

    def abandon(self, journal: RunJournal) -> None:
        """Set a journal aside that Redis does not take."""
        self._set_aside(journal, Fate.ABANDONED)

    def reopen(self, journal: RunJournal) -> None:
        """Make a journal an unfinished one again, which is to be published once more."""
        self._rename(journal, Fate.UNFINISHED)

    def paths(self, *fates: Fate) -> list[Path]:
        """The journals with one of these fates (all without any), oldest first."""
        return [path for _, _, path in sorted(self._files(*(fates or Fate)))]

    def holds(self, uid: str) -> bool:
        """Whether there is a journal of this run, whatever has become of it."""
        return any(path.suffix in set(Fate) for path in self.path.glob(f"{ulid(run_uuid(uid))}-*"))

    def note(self, message: str) -> None:
        """Keep the last fault for `doctor`, which runs in another process."""
        fault = {"time": time.time(), "owner": owner(), "message": message}
        new = self.path / f"{_FAULT}.{os.getpid()}"
        try:
            new.write_text(json.dumps(fault))
            new.replace(self.path / _FAULT)
        except OSError as error:
            logger.debug("%s cannot be written: %s", new, error)

    def fault(self) -> dict[str, Any] | None:
        """The last fault that was noted: `time`, `owner`, `message`; None when there was none."""
        try:
            with os.fdopen(open_file(self.path / _FAULT, os.O_RDONLY)) as file:
                fault = json.load(file)
        except (OSError, ValueError):
            return None
        return fault if isinstance(fault, dict) else None

    def prune(self) -> None:
        """Remove finished journals beyond the retention, oldest first, and marks that have lost their journal.

        One that is not archived yet, and is to be, is no subject to the retention.
        """
        self._pruned = time.monotonic()
        files = sorted(file for file in self._files(Fate.FINISHED) if not _is_to_archive(file[-1]))
        total = sum(size for _, size, _ in files)
        for modified, size, path in files:
            if total > self._retention.bytes or time.time() - modified > self._retention.seconds:
                self._remove(path)
                total -= size
        for modified, _, path in self._files(NEW_SUFFIX, ARCHIVE_SUFFIX):
            # its writer was killed between two instructions
            if time.time() - modified > self._retention.seconds and not _has_journal(path):
                self._remove(path)
        for _, _, path in self._files(MARKS_SUFFIX, FAILED_SUFFIX):
            if not _has_journal(path):
                self._remove(path)

    def _tell(self, uid: str, reason: str) -> None:
        with self._lock:
            told, self._failing = self._failing, True
        if not told:
            logger.error(
                "run %s: %s. Runs go on and are published from memory; what is not published when this process dies "
                "is lost. Free space in %s. Further runs that have no journal are not reported.",
                uid,
                reason,
                self.path,
            )

    def _tell_again(self, journal: RunJournal) -> None:
        with self._lock:
            if self._failing:
                self._failing = False
                logger.warning("run %s had a whole journal in %s again", journal.header.uid, self.path)

    def _set_aside(self, journal: RunJournal, fate: Fate) -> None:
        # before its lock is released, or somebody might adopt it
        self._rename(journal, fate)
        journal.close()

    def _rename(self, journal: RunJournal, fate: Fate) -> None:
        path = journal.path.with_suffix(fate)
        try:
            journal.path.replace(path)
            journal.path = path
        except OSError as error:
            logger.error("journal %s cannot be renamed to %s: %s", journal.path, path.name, error.strerror)

    def _remove_whole(self, path: Path) -> None:
        for suffix in (path.suffix, MARKS_SUFFIX, FAILED_SUFFIX):
            self._remove(path.with_suffix(suffix))

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.error("%s cannot be removed: %s", path, error.strerror)

    def _files(self, *suffixes: str) -> list[tuple[float, int, Path]]:
        """Time of the last change, size, path of each. What vanishes meanwhile, or is no file, is left out."""
        found = []
        with suppress(OSError):
            for entry in os.scandir(self.path):
                path = Path(entry.path)
                with suppress(OSError):
                    if path.suffix in suffixes and entry.is_file():
                        status = entry.stat()
                        found.append((status.st_mtime, status.st_size, path))
        return found


def _has_journal(path: Path) -> bool:
    return any(path.with_suffix(fate).exists() for fate in Fate)


def _is_to_archive(path: Path) -> bool:
    return path.with_suffix(ARCHIVE_SUFFIX).exists()


def _touch(path: Path) -> None:
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise JournalError(f"{path} cannot be made: {error.strerror}") from error
