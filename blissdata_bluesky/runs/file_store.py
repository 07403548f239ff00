"""One run in its file in the archive."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..archive import ArchivedFile, FileSpan
from ..errors import DamagedRunError, RunNotFoundError, RunUnavailableError
from ..protocol import Rows, StreamEnd, dump_json
from .layout import StoredColumn, time_column
from .store import Extent, Piece, Seen, Span, furthest

logger = logging.getLogger(__name__)

# how long a file that has changed is not asked again whether it is complete now
_ASK_AGAIN_SECONDS = 1.0
_ROW_BYTES = 128


@dataclass(frozen=True, slots=True)
class _Look:
    """What was in the file at one moment."""

    file: os.stat_result
    """Of the file that stood at the path: another one takes its place when the run is complete."""
    seen: Seen
    data_streams: Mapping[str, Any]


class FileStore:
    """A run in a file (`RunStore`). No file is held open; a file that is complete is looked at once."""

    origin = "file"

    def __init__(self, path: Path, uid: str) -> None:
        self.path = path
        self._file = ArchivedFile(path)
        self._uid = uid
        self._last: _Look | None = None
        self._lock = threading.Lock()
        self._asked: os.stat_result | None = None
        self._ask_again = 0.0

    @property
    def place(self) -> str:
        return f"the file {self.path}"

    def look(self, known: Seen | None) -> Seen:
        now = self._look().seen
        if not now.entries:
            raise RunUnavailableError(f"run {self._uid}: {self.place} has only just been made; try again")
        seen = furthest(known, now)
        with self._lock:
            if self._last is not None and len(self._last.seen.entries) == len(seen.entries):
                # the same objects: the next comparison has nothing to compare
                self._last = replace(self._last, seen=replace(self._last.seen, entries=seen.entries))
        return seen

    @property
    def lacks(self) -> str:
        """Why a complete file does not have the whole run, as it was when it was looked at last; "" of all others."""
        last = self._last
        return last.seen.incomplete if last is not None and last.seen.closed else ""

    def is_complete(self) -> bool:
        """Whether nothing will follow in the file. Cheap: a file that is not complete is asked again only now and then.

        A file that is missing or cannot be read is not complete.
        """
        file = self._stat()
        if file is None:
            return False
        last = self._last
        if last is not None and last.seen.closed and _is_unchanged(last.file, file):
            return True
        if (self._asked is not None and _is_unchanged(self._asked, file)) or time.monotonic() < self._ask_again:
            return False
        self._asked, self._ask_again = file, time.monotonic() + _ASK_AGAIN_SECONDS
        try:
            return self._look().seen.closed
        except (RunNotFoundError, RunUnavailableError) as error:
            # it may have been made a moment ago
            logger.debug("run %s is read from Redis: %s", self._uid, error)
            return False
        except DamagedRunError as error:
            logger.warning("run %s is read from Redis, because its file cannot be used: %s", self._uid, error)
            return False

    def declared(self, stream: str) -> Mapping[str, Any] | None:
        time = time_column(self._uid, stream)
        return self._look().data_streams if any(self._file.rows([time.name])) else None

    def extent(self, columns: Sequence[StoredColumn], irregular: StoredColumn, known: Extent, about: str) -> Extent:  # noqa: ARG002 - the file is asked anew
        # before the rows: what is complete stays so
        complete = self._look().seen.closed
        rows = self._file.rows([column.name for column in (*columns, irregular)])
        return Extent.of([StreamEnd(count, complete) for count in rows])

    def rows(self, columns: Sequence[StoredColumn]) -> list[int]:
        """How many rows of each column are in the file."""
        return self.rows_of([column.name for column in columns])

    def rows_of(self, names: Sequence[str]) -> list[int]:
        """How many rows of each data stream are in the file."""
        return self._file.rows(names)

    def fetch(self, spans: Sequence[Span], about: str) -> list[Piece]:
        if not spans:
            return []
        read = self._file.read([FileSpan(span.column.name, span.start, span.stop) for span in spans])
        for span, rows in zip(spans, read, strict=True):
            if len(rows) < span.stop - span.start:
                raise RunUnavailableError(
                    f"{about}, {span.column.name!r}: {self.place} has {span.start + len(rows)} rows, not {span.stop}, "
                    "though it had them before: was it replaced? Refresh the run and try again"
                )
        return [Piece(span.start, rows, _nbytes(rows)) for span, rows in zip(spans, read, strict=True)]

    def _look(self) -> _Look:
        with self._lock:
            file = self._stat()
            if file is None:
                raise RunNotFoundError(f"run {self._uid}: there is no {self.place}; was it moved or deleted?")
            last = self._last
            if last is None or not last.seen.closed or not _is_unchanged(last.file, file):
                last = self._last = self._next(last if last and _may_have_grown(last, file) else None, file)
            return last

    def _next(self, last: _Look | None, file: os.stat_result) -> _Look:
        view = self._file.look(len(last.seen.entries) if last else 0)
        if view.uid != self._uid:
            raise RunNotFoundError(f"run {self._uid}: {self.place} is of run {view.uid}; register the archive again")
        entries = (*last.seen.entries, *view.entries) if last else view.entries
        return _Look(file, Seen(entries, view.complete, view.incomplete if view.complete else ""), view.data_streams)

    def _stat(self) -> os.stat_result | None:
        try:
            return self.path.stat()
        except OSError:
            return None


def _may_have_grown(last: _Look, file: os.stat_result) -> bool:
    # a complete one does not grow: another file has got its number, or it was written over
    return not last.seen.closed and os.path.samestat(last.file, file)


def _is_unchanged(one: os.stat_result, other: os.stat_result) -> bool:
    return os.path.samestat(one, other) and (one.st_mtime_ns, one.st_size) == (other.st_mtime_ns, other.st_size)


def _nbytes(rows: Rows) -> int:
    if isinstance(rows, np.ndarray):
        return int(rows.nbytes)
    return sum(_ROW_BYTES + _value_bytes(row) for row in rows)


def _value_bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    return 4 * len(dump_json(value)) if isinstance(value, dict | list) else sys.getsizeof(value)
