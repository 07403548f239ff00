"""Columns through the cache: what it lacks is fetched from the store, for all columns together."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

from ..protocol import Rows
from .cache import Block, ColumnCache, ColumnKey
from .layout import StoredColumn
from .store import RunStore, Span
from .turn import turn

# as long as it may take to read a run of many million rows
LONGEST_FETCH_SECONDS = 60.0

_owners = itertools.count()


class ColumnReader:
    """Reads the columns of one stream. Thread-safe; two threads that want the same rows fetch them once."""

    def __init__(self, store: RunStore, cache: ColumnCache, about: str) -> None:
        self._store = store
        self._cache = cache
        self._about = about
        self._owner = next(_owners)
        self._fetching = threading.Lock()

    def read(self, columns: Sequence[StoredColumn], start: int, stop: int, length: int) -> list[Rows]:
        """Rows `start` to `stop` of each column; `length` is how many rows they have altogether.

        Columns too large for the cache are read as they are, only what is needed.
        Raises what `RunStore.fetch` raises.
        """
        if start >= stop:
            return [column.no_rows for column in columns]
        spans = [Span(column, start, stop) for column in columns]
        is_large = [(column.row_bytes or 0) * length > self._cache.largest for column in columns]
        large = iter(self._fetched([span for span, is_it in zip(spans, is_large, strict=True) if is_it]))
        small = [span for span, is_it in zip(spans, is_large, strict=True) if not is_it]
        kept = iter(self._cached(small) or self._completed(small))
        return [next(large if is_it else kept) for is_it in is_large]

    def forget(self) -> None:
        """Drop what is cached."""
        self._cache.drop(self._owner)

    def _fetched(self, spans: Sequence[Span]) -> list[Rows]:
        pieces = self._store.fetch(spans, self._about)
        return [Block(piece).read(span.start, span.stop) for span, piece in zip(spans, pieces, strict=True)]

    def _cached(self, spans: Sequence[Span]) -> list[Rows]:
        """The rows of all spans, or nothing when one of them is not cached."""
        found: list[Rows] = []
        for span in spans:
            rows = self._cache.read(self._key(span), span.start, span.stop)
            if rows is None:
                return []
            found.append(rows)
        return found

    def _completed(self, spans: Sequence[Span]) -> list[Rows]:
        with turn(self._fetching, LONGEST_FETCH_SECONDS, self._about, self._store.place):
            looks = [self._cache.look(self._key(span), span.start, span.stop) for span in spans]
            lacking = [
                Span(span.column, look.start, look.stop)
                for span, look in zip(spans, looks, strict=True)
                if not look.whole
            ]
            pieces = iter(self._store.fetch(lacking, self._about))
            return [
                self._cache.merge(self._key(span), look, None if look.whole else next(pieces), span.start, span.stop)
                for span, look in zip(spans, looks, strict=True)
            ]

    def _key(self, span: Span) -> ColumnKey:
        return self._owner, span.column.name
