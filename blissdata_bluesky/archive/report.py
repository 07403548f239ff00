"""Which runs of a directory wait for the archiver, and how far they are: looked at without taking part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import JournalError
from ..journal import Header, JournalDirectory, JournalReader
from .lock import ArchiverLock
from .state import load_state, state_path


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that is not wholly archived: its file lacks rows, is not sealed, or is not listed."""

    journal: Path
    header: Header
    offset: int
    """Up to which byte the journal is in the file."""
    unwritten: int
    """Bytes of the journal that are not in the file."""
    attended: bool
    """Whether an archiver is at work on this directory for the run's archive."""


def waiting_runs(directory: JournalDirectory) -> Iterator[WaitingRun]:
    """The runs that an archiver is not done with. A journal that cannot be read is left out. Raises ArchiveError."""
    attended: dict[str, bool] = {}
    for path in directory.to_archive():
        try:
            with JournalReader(path) as reader:
                header, size = reader.header, reader.size
                offset = max(reader.begin, load_state(state_path(path)).offset)
                # what is torn belongs into no file
                unwritten = size - offset if any(reader.records(offset)) else 0
        except JournalError:
            continue
        if header.archive:
            if header.archive not in attended:
                attended[header.archive] = ArchiverLock(directory.path, Path(header.archive)).is_held()
            yield WaitingRun(path, header, offset, unwritten, attended[header.archive])
