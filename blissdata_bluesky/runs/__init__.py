"""Reading runs: `RunSource` → `Run` → `RunStream` → columns as numpy."""

from .archived_source import ArchivedRuns
from .interface import Column, Document, ExternalColumn, Run, RunSource, RunStream, Table
from .joined_source import JoinedRuns
from .redis_source import RedisRuns
from .rewind import is_increasing, last_frames_of_each, last_of_each
from .run import StoredRun

__all__ = [
    "ArchivedRuns",
    "Column",
    "Document",
    "ExternalColumn",
    "JoinedRuns",
    "RedisRuns",
    "Run",
    "RunSource",
    "RunStream",
    "StoredRun",
    "Table",
    "is_increasing",
    "last_frames_of_each",
    "last_of_each",
]
