"""The log of a run on disk. Publishing and archiving are its readers."""

from .damage import Damage
from .directory import Fate, JournalDirectory, Retention
from .marks import BatchMarks, Mark, prepared_after
from .reader import JournalReader
from .records import Header, owner, read_records, record_size
from .run import ARCHIVE_SUFFIX, MARKS_SUFFIX, RunJournal
from .sync import Fsync, Syncer

__all__ = [
    "ARCHIVE_SUFFIX",
    "MARKS_SUFFIX",
    "BatchMarks",
    "Damage",
    "Fate",
    "Fsync",
    "Header",
    "JournalDirectory",
    "JournalReader",
    "Mark",
    "Retention",
    "RunJournal",
    "Syncer",
    "owner",
    "prepared_after",
    "read_records",
    "record_size",
]
