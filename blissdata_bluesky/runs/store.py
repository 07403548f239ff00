"""What a run is read from: the seam between `StoredRun` and Redis, a file, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ..protocol import DocumentEntry, Rows, StreamEnd
from .interface import Document
from .layout import StoredColumn


@dataclass(frozen=True, slots=True)
class Seen:
    """What a store had of a run's documents at one moment."""

    entries: tuple[DocumentEntry, ...]
    """All documents but events, the start document first."""
    closed: bool
    """Whether nothing will follow."""
    incomplete: str = ""
    """Why a closed run is not whole."""
    path: str = ""
    """Where the run's file is or will be, as its writer says; "" when it has none, or that is not told here."""

    def document(self, name: str) -> Document | None:
        """The last document called `name`."""
        return next((entry.document for entry in reversed(self.entries) if entry.name == name), None)

    def continues(self, known: Seen) -> bool:
        """Whether this is what became of `known`: it has the same documents, and perhaps more."""
        return len(self.entries) >= len(known.entries) and self.entries[0] is known.entries[0]


@dataclass(frozen=True, slots=True)
class Extent:
    """What was whole at one moment. What is whole once stays so."""

    rows: int = 0
    irregular: int = 0
    """Values in the irregular stream, among them all that belong to `rows`."""
    sealed: bool = False
    """Whether nothing will follow."""
    ends: tuple[StreamEnd, ...] = ()
    """Of each column, the irregular values last."""

    @classmethod
    def of(cls, ends: Sequence[StreamEnd]) -> Extent:
        """The extent of columns that reach so far, the irregular values last."""
        *columns, irregular = ends
        return cls(min(end.rows for end in columns), irregular.rows, all(end.sealed for end in columns), tuple(ends))


@dataclass(frozen=True, slots=True)
class Span:
    """Rows `start` to `stop` of a column."""

    column: StoredColumn
    start: int
    stop: int

    def cut(self, row: int) -> tuple[Span | None, Span | None]:
        """What lies before `row` and what from it on; None for nothing."""
        row = max(self.start, min(self.stop, row))
        head, tail = replace(self, stop=row), replace(self, start=row)
        return head if head.start < head.stop else None, tail if tail.start < tail.stop else None


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows, the first of which is row `start`. It may hold more than was asked for."""

    start: int
    rows: Rows
    nbytes: int

    @property
    def stop(self) -> int:
        """One more than the last row."""
        return self.start + len(self.rows)


def joined(head: Piece | None, tail: Piece | None) -> Piece:
    """Two pieces, one of which may be missing, as one; where they overlap they are the same."""
    if head is None or tail is None:
        piece = head or tail
        if piece is None:
            raise ValueError("there is nothing to join")
        return piece
    rest = tail.rows[head.stop - tail.start :]
    if isinstance(head.rows, np.ndarray) and isinstance(rest, np.ndarray):
        # where their dtypes differ, it is what holds both
        rows: Rows = np.concatenate([head.rows, rest])
    else:
        rows = [*head.rows, *rest]
    return Piece(head.start, rows, head.nbytes + tail.nbytes)


class RunStore(Protocol):
    """One run where it is stored. Thread-safe, but for `look`: one thread at a time.

    Every method may raise RunUnavailableError, when the store does not answer. Messages begin with `about`.
    """

    @property
    def place(self) -> str:
        """Where that is, for messages."""

    @property
    def origin(self) -> str:
        """Which of several sources the declarations come from now; they may change with it, slightly."""

    def look(self, known: Seen | None) -> Seen:
        """The documents now; their entries begin with those of `known`, unless the run is another one.

        Raises RunNotFoundError, DamagedRunError.
        """

    def declared(self, stream: str) -> Mapping[str, Any] | None:
        """The run's data streams, as the scan's JSON document has them; None before the Bluesky stream has rows."""

    def extent(self, columns: Sequence[StoredColumn], irregular: StoredColumn, known: Extent, about: str) -> Extent:
        """How far the columns of a stream reach. Its rows are fewer than `known` only if they were lost."""

    def fetch(self, spans: Sequence[Span], about: str) -> list[Piece]:
        """One piece per span, each with all of the span's rows, of which there is at least one.

        Raises RowsTrimmedError when the first of them are no longer there.
        """


def furthest(known: Seen | None, now: Seen) -> Seen:
    """What is known after `now` was seen: never less than before, unless it is another run."""
    if known is None or now.continues(known):
        return now
    if not all(_is_same(one, other) for one, other in zip(known.entries, now.entries, strict=False)):
        return now
    if len(now.entries) < len(known.entries):
        return known
    return replace(now, entries=(*known.entries, *now.entries[len(known.entries) :]))


def _is_same(one: DocumentEntry, other: DocumentEntry) -> bool:
    """Whether two entries are one document, read from two sources."""
    return (one.name, one.rows) == (other.name, other.rows) and all(
        one.document.get(member) == other.document.get(member) for member in ("uid", "time", "datum_id")
    )
