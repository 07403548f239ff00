"""What lies in a directory of journals: looked at without owning, changing or making anything there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import JournalError
from .directory import Fate
from .marks import last_acknowledged
from .reader import JournalReader
from .records import Header
from .run import MARKS_SUFFIX


@dataclass(frozen=True, slots=True)
class ListedJournal:
    """One journal as it was at that moment."""

    path: Path
    size: int
    """Bytes of the file."""
    modified: float
    """When it was written last, in seconds since the epoch."""
    fault: str = ""
    """Why it cannot be read; then all that follows is unknown."""
    header: Header | None = None
    start: bytes = b""
    """The first document, packed; empty when it is not there as a whole."""
    owned: bool = False
    """Whether a process is publishing it."""
    sent: int = 0
    """Bytes that Redis has acknowledged."""

    @property
    def fate(self) -> Fate:
        """What has become of it."""
        return Fate(self.path.suffix)

    @property
    def left_over(self) -> bool:
        """Whether nobody publishes it though it is not finished."""
        return self.fate == Fate.UNFINISHED and self.header is not None and not self.owned

    @property
    def unsent(self) -> int:
        """Bytes that Redis has not acknowledged."""
        return 0 if self.header is None or self.fate == Fate.FINISHED else max(0, self.size - self.sent)


def list_journals(directory: Path) -> list[ListedJournal]:
    """All journals, oldest first. Of each, the header, the first document and the last marks are read.

    Raises JournalError when there is no such directory, or it cannot be read.
    """
    try:
        # one that is set aside meanwhile may be met under both names
        stems = {path.with_suffix("") for path in directory.iterdir() if path.suffix in tuple(Fate)}
    except OSError as error:
        raise JournalError(
            f"journal directory {directory} cannot be read ({error.strerror}): give the one that BlissdataWriter has"
        ) from error
    return sorted((listed for stem in stems for listed in _look_for(stem)), key=_began)


def look_at(path: Path) -> ListedJournal:
    """One journal. Raises JournalError when it does not exist, or it cannot be read."""
    none = f"there is no journal {path}: `blissdata-bluesky journal ls` shows what there is"
    if path.suffix not in tuple(Fate):
        raise JournalError(none)
    try:
        listed = _look(path)
    except FileNotFoundError as error:
        raise JournalError(none) from error
    if listed.header is None:
        raise JournalError(listed.fault)
    return listed


def find_journal(directory: Path, run: str) -> ListedJournal:
    """The one journal of a run: `run` is a path, the run's uid or the beginning of it.

    Raises JournalError when there is none, or more than one.
    """
    if Path(run).suffix in tuple(Fate):
        return look_at(Path(run).expanduser())
    known = [(journal.header.uid, journal) for journal in list_journals(directory) if journal.header is not None]
    found = [journal for uid, journal in known if uid == run]
    found = found or [journal for uid, journal in known if run and uid.startswith(run)]
    if not found:
        raise JournalError(
            f"{directory} has no journal of a run whose uid begins with {run!r}: "
            "`blissdata-bluesky journal ls` shows what there is"
        )
    if len(found) > 1:
        paths = ", ".join(str(journal.path) for journal in found)
        raise JournalError(f"{run!r} is the beginning of more than one: give more of the uid, or one of {paths}")
    return found[0]


def first_unsent(journal: ListedJournal) -> bytes:
    """The oldest document, packed, that Redis has not acknowledged; empty when there is none."""
    try:
        with JournalReader(journal.path) as reader:
            return next((payload for _, payload in reader.records(journal.sent)), b"")
    except JournalError:
        # set aside meanwhile
        return b""


def _look_for(stem: Path) -> Iterator[ListedJournal]:
    for fate in Fate:
        try:
            yield _look(stem.with_suffix(fate))
            return
        except FileNotFoundError:
            continue


def _look(path: Path) -> ListedJournal:
    """One journal, or why it cannot be read, whatever bears its name. Raises FileNotFoundError."""
    try:
        # not where a link leads: that may be nowhere
        status = path.lstat()
    except FileNotFoundError:
        raise
    except OSError as error:
        return ListedJournal(path, 0, 0.0, f"journal {path} cannot be read: {error.strerror}")
    try:
        with JournalReader(path) as reader:
            start = next((payload for _, payload in reader.records(reader.begin)), b"")
            owned = Fate(path.suffix) == Fate.UNFINISHED and reader.owned
            # before the size, or what is written meanwhile would count as sent
            sent = max(reader.begin, _acknowledged(path.with_suffix(MARKS_SUFFIX)))
            return ListedJournal(path, reader.size, reader.modified, "", reader.header, start, owned, sent)
    except JournalError as error:
        if not os.path.lexists(path):
            raise FileNotFoundError(path) from error
        return ListedJournal(path, status.st_size, status.st_mtime, str(error))


def _acknowledged(marks: Path) -> int:
    # anything but a file might keep us waiting for ever
    return last_acknowledged(marks) if marks.is_file() else 0


def _began(journal: ListedJournal) -> float:
    return journal.header.created if journal.header is not None else journal.modified
