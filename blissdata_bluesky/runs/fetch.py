"""Rows of many columns out of Redis, in few round trips and bounded portions."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter

import numpy as np

from ..errors import RowsTrimmedError, RunUnavailableError
from ..protocol import Entry, RawAnswer, Rows, decode, parse_entry, raw_entries
from .link import Command, RedisLink
from .store import Piece, Span

# Small portions are faster than large ones: their objects stay in the processor's cache.
ENTRIES_AT_ONCE = 10_000
BYTES_AT_ONCE = 16 * 2**20
COLUMNS_AT_ONCE = 64
_fields = itemgetter(1)
_payload = itemgetter(1)

# a guess for rows whose size is not known beforehand
_UNKNOWN_ROW_BYTES = 64 * 1024
_LIST_ROW_BYTES = 128


def fetch(link: RedisLink, spans: Sequence[Span], about: str) -> list[Piece]:
    """One piece of whole entries per span, each with all of the span's rows.

    Raises RowsTrimmedError when the first of them are no longer in Redis, RunUnavailableError when Redis does not
    answer or lacks the last of them; the messages begin with `about`.
    """
    downloads = [_Download(span) for span in spans]
    for first in range(0, len(downloads), COLUMNS_AT_ONCE):
        group = downloads[first : first + COLUMNS_AT_ONCE]
        while waiting := [download for download in group if download.at < download.span.stop]:
            _next_portion(link, waiting, about)
    return [download.piece() for download in downloads]


def _next_portion(link: RedisLink, downloads: Sequence[_Download], about: str) -> None:
    rows = max(1, BYTES_AT_ONCE // sum(download.row_bytes for download in downloads))
    count = max(1, ENTRIES_AT_ONCE // len(downloads))
    questions = [download.commands(rows, count) for download in downloads]
    with _no_collection():
        answers = iter(link.ask([command for commands in questions for command in commands], about))
        stuck = [
            download
            for download, commands in zip(downloads, questions, strict=True)
            if not download.take([entry for _ in commands for entry in next(answers)])
        ]
    if stuck:
        raise _why_missing(link, stuck[0], about)


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection for the fraction of a second that a portion takes.

    A portion is tens of thousands of small lists, which live for a moment: with it, parsing takes three times as long.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Download:
    """One span on its way."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.at = span.start
        """The next row that is wanted: where an entry begins, once the first one is here."""
        self._parts: list[Rows] = []
        self._payload_bytes = 0
        self._start = span.start

    @property
    def row_bytes(self) -> int:
        """Bytes of a row; where rows differ, the mean of those that are here."""
        if (size := self.span.column.row_bytes) is not None:
            return size
        return 1 + self._payload_bytes // (self.at - self._start) if self._parts else _UNKNOWN_ROW_BYTES

    def commands(self, rows: int, count: int) -> list[Command]:
        """What to ask next: at most `count` entries that begin within `rows` rows, and the one around the start."""
        last = min(self.at + rows, self.span.stop) - 1
        if self._parts or self.at == 0:
            return [("XRANGE", self.span.column.key, f"{self.at}-1", f"{last}-1", "COUNT", count)]
        around: Command = ("XREVRANGE", self.span.column.key, f"{self.at}-1", "-", "COUNT", 1)
        return [around, ("XRANGE", self.span.column.key, f"{self.at}-2", f"{last}-1", "COUNT", count)]

    def take(self, answer: RawAnswer) -> bool:
        """Add the rows of the answer; False when they do not go on where the last ones ended."""
        column = self.span.column
        whole = _single_rows(self.at, answer) if column.row_bytes is not None else None
        entries = [whole] if whole else list(_following(self.at, answer, inside=not self._parts))
        if not entries:
            return False
        if not self._parts:
            self._start = entries[0].index
        rows = decode(column.encoding, entries)
        self._parts.append(rows)
        self._payload_bytes += sum(len(entry.payload) for entry in entries)
        self.at = entries[0].index + len(rows)
        return True

    def piece(self) -> Piece:
        """All that was taken."""
        nbytes = self._payload_bytes
        if self.span.column.row_bytes is not None:
            return Piece(self._start, self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts), nbytes)
        rows = [row for part in self._parts for row in part]
        return Piece(self._start, rows, 4 * nbytes + _LIST_ROW_BYTES * len(rows))


def _single_rows(start: int, answer: RawAnswer) -> Entry | None:
    """Entries of one row each, the first of which is row `start`, as one entry; None when they are not that.

    This is how a run at 200 Hz arrives, and the case that takes long.
    """
    if not answer or max(map(len, map(_fields, answer))) != 2:
        return None
    first, last = (int(answer[i][0].split(b"-", 1)[0]) for i in (0, -1))
    # ids increase, so as many as lie between first and last are all of them
    if first != start or last - first + 1 != len(answer):
        return None
    return Entry(first, len(answer), b"".join(map(_payload, map(_fields, answer))))


def _following(at: int, answer: RawAnswer, *, inside: bool) -> Iterator[Entry]:
    """The entries of `answer` that follow each other from row `at`, which may lie `inside` the first one."""
    for raw in raw_entries(answer):
        entry = parse_entry(raw)
        if entry is None:
            return
        end = entry.index + entry.length
        if inside and end <= at:
            continue
        if entry.index != at and not (inside and entry.index < at):
            return
        yield entry
        at, inside = end, False


def _why_missing(link: RedisLink, download: _Download, about: str) -> RowsTrimmedError | RunUnavailableError:
    at, about = download.at, f"{about}, {download.span.column.name!r}"
    (answer,) = link.ask([("XRANGE", download.span.column.key, "-", "+", "COUNT", 1)], about)
    first = parse_entry(raw_entries(answer)[0]) if answer else None
    if answer and (first is None or first.index > at):
        left = "none is left" if first is None else f"the first that is left is {first.index}"
        return RowsTrimmedError(
            f"{about}: row {at} has been removed from Redis to save memory ({left}); "
            "read it from an archive, or give Redis more memory"
        )
    return RunUnavailableError(
        f"{about}: row {at} is not in Redis, which had it before: the run was deleted or is being published again; "
        "refresh the run and try again"
    )
