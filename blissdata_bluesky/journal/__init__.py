"""The log of a run on disk. Publishing and archiving are its readers."""

from .directory import Fate, JournalDirectory, Retention
from .marks import BatchMarks, Mark
from .reader import JournalReader
from .records import Header, read_records, record_size
from .run import RunJournal
from .sync import Fsync, Syncer

__all__ = [
    "BatchMarks",
    "Fate",
    "Fsync",
    "Header",
    "JournalDirectory",
    "JournalReader",
    "Mark",
    "Retention",
    "RunJournal",
    "Syncer",
    "read_records",
    "record_size",
]
