"""Columns through the cache: what it lacks is fetched from Redis, for all columns together."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

from ..protocol import Rows
from .cache import Block, ColumnCache, ColumnKey
from .fetch import Span, fetch
from .link import RedisLink

# as long as it may take to read a run of many million rows
LONGEST_FETCH_SECONDS = 60.0

_owners = itertools.count()


class ColumnReader:
    """Reads the columns of one stream. Thread-safe; two threads that want the same rows fetch them once."""

    def __init__(self, link: RedisLink, cache: ColumnCache, about: str) -> None:
        self._link = link
        self._cache = cache
        self._about = about
        self._owner = next(_owners)
        self._fetching = threading.Lock()

    def read(self, spans: Sequence[Span], length: int) -> list[Rows]:
        """The rows of each span; `length` is how many rows these columns have altogether.

        Columns too large for the cache are read as they are, only the entries that are needed.
        Raises what `fetch` raises.
        """
        empty = {span: span.column.no_rows for span in spans if span.start >= span.stop}
        large = [span for span in spans if span not in empty and self._is_large(span, length)]
        small = [span for span in spans if span not in empty and span not in large]
        found = empty | self._fetched(large) | (self._cached(small) or self._completed(small))
        return [found[span] for span in spans]

    def forget(self) -> None:
        """Drop what is cached."""
        self._cache.drop(self._owner)

    def _is_large(self, span: Span, length: int) -> bool:
        return (span.column.row_bytes or 0) * length > self._cache.largest

    def _fetched(self, spans: Sequence[Span]) -> dict[Span, Rows]:
        pieces = fetch(self._link, spans, self._about)
        return {span: Block(piece).read(span.start, span.stop) for span, piece in zip(spans, pieces, strict=True)}

    def _cached(self, spans: Sequence[Span]) -> dict[Span, Rows]:
        """The rows of all spans, or nothing when one of them is not cached."""
        found: dict[Span, Rows] = {}
        for span in spans:
            rows = self._cache.read(self._key(span), span.start, span.stop)
            if rows is None:
                return {}
            found[span] = rows
        return found

    def _completed(self, spans: Sequence[Span]) -> dict[Span, Rows]:
        with self._link.turn(self._fetching, LONGEST_FETCH_SECONDS, self._about):
            looks = {span: self._cache.look(self._key(span), span.start, span.stop) for span in spans}
            lacking = {span: Span(span.column, look.start, look.stop) for span, look in looks.items() if not look.whole}
            fetched = fetch(self._link, list(lacking.values()), self._about)
            pieces = dict(zip(lacking, fetched, strict=True))
            return {
                span: self._cache.merge(self._key(span), look, pieces.get(span), span.start, span.stop)
                for span, look in looks.items()
            }

    def _key(self, span: Span) -> ColumnKey:
        return self._owner, span.column.key
