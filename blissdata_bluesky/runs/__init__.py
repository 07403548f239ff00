"""Reading runs: `RunSource` → `Run` → `RunStream` → columns as numpy."""

from .interface import Column, Document, Run, RunSource, RunStream, Table
from .redis_source import RedisRuns
from .rewind import is_increasing, last_of_each

__all__ = [
    "Column",
    "Document",
    "RedisRuns",
    "Run",
    "RunSource",
    "RunStream",
    "Table",
    "is_increasing",
    "last_of_each",
]
