"""The log of a run on disk. Publishing and archiving are its readers."""

from .directory import JournalDirectory, Retention
from .records import Header, read_records, record_size
from .run import RunJournal

__all__ = ["Header", "JournalDirectory", "Retention", "RunJournal", "read_records", "record_size"]
