"""One run in Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DamagedRunError, RunNotFoundError
from ..protocol import (
    DocumentEntry,
    RawEntry,
    ScanState,
    StreamEnd,
    documents_key,
    is_gone,
    parse_entry,
    raw_entries,
    scan_key,
    state_pk,
    stream_key,
    stream_pk,
)
from .fetch import fetch
from .layout import StoredColumn, time_column
from .link import Command, RedisLink
from .store import Extent, Piece, Seen, Span

# The last entry of a column of images is not fetched again just to learn that it is still the last.
_HEAVY_ROW_BYTES = 4096


@dataclass(frozen=True, slots=True)
class SeenInRedis(Seen):
    """The documents as Redis had them."""

    last: RawEntry = (b"", {})
    """The last of them as Redis had it: as long as it is there, the run is the same one."""


class RedisStore:
    """A run in Redis (`RunStore`)."""

    origin = "Redis"

    def __init__(self, link: RedisLink, uid: str) -> None:
        self._link = link
        self._uid = uid
        self._about = f"run {uid}"

    @property
    def place(self) -> str:
        return f"Redis at {self._link.place}"

    def look(self, known: Seen | None) -> SeenInRedis:
        seen = known if isinstance(known, SeenInRedis) else None
        lifetime, states, marks, answer = self._link.ask(
            [
                ("PTTL", scan_key(self._uid)),
                ("XREVRANGE", stream_key(state_pk(self._uid)), "+", "-", "COUNT", 1),
                ("JSON.GET", scan_key(self._uid), "$.info.bluesky.incomplete", "$.id.path"),
                ("XRANGE", documents_key(self._uid), seen.last[0].decode() if seen else "-", "+"),
            ],
            self._about,
        )
        if is_gone(lifetime):
            raise RunNotFoundError(f"{self._about} is not in {self.place}, or no longer: was it deleted?")
        raw = raw_entries(answer)
        if seen and (not raw or raw[0] != seen.last):
            # published again into an emptied Redis
            return self.look(None)
        if not raw:
            raise RunNotFoundError(
                f"{self._about}: the scan in {self.place} has no Bluesky documents; "
                "it was published by somebody else, read it with blissdata"
            )
        entries = (*seen.entries, *_parsed(raw[1:])) if seen else _parsed(raw)
        if entries[0].index != 0 or entries[0].name != "start":
            raise DamagedRunError(f"{self._about}: its documents in Redis do not begin with the start document")
        closed = last_state(states) == ScanState.CLOSED
        incomplete, path = _marks(marks)
        return SeenInRedis(entries, closed, incomplete if closed else "", path, raw[-1])

    def exists(self) -> bool:
        """Whether the run is there at all."""
        (lifetime,) = self._link.ask([("PTTL", scan_key(self._uid))], self._about)
        return not is_gone(lifetime)

    def spans(self) -> dict[str, tuple[int, int]]:
        """Of each data stream the first row that is there, and one more than the last; the ends of images come along."""
        (models,) = self._link.ask([("JSON.GET", scan_key(self._uid), ".data_streams")], self._about)
        names = list(json.loads(models)) if models else []
        keys = [stream_key(stream_pk(self._uid, name)) for name in names]
        questions: list[Command] = [("XRANGE", key, "-", "+", "COUNT", 1) for key in keys]
        questions += [("XREVRANGE", key, "+", "-", "COUNT", 1) for key in keys]
        answers = [raw_entries(answer) for answer in self._link.ask(questions, self._about)] if keys else []
        return {
            name: (_first_row(first), StreamEnd.from_last(last).rows)
            for name, first, last in zip(names, answers[: len(keys)], answers[len(keys) :], strict=True)
        }

    def declared(self, stream: str) -> Mapping[str, Any] | None:
        last: Command = ("XREVRANGE", time_column(self._uid, stream).key, "+", "-", "COUNT", 1)
        (answer,) = self._link.ask([last], self._about)
        if not answer:
            return None
        (data_streams,) = self._link.ask([("JSON.GET", scan_key(self._uid), ".data_streams")], self._about)
        return None if data_streams is None else dict(json.loads(data_streams))

    def extent(self, columns: Sequence[StoredColumn], irregular: StoredColumn, known: Extent, about: str) -> Extent:
        # in one round trip; the irregular values come last: they were sent before the rows that they belong to
        stored = (*columns, irregular)
        ends = known.ends or (StreamEnd(),) * len(stored)
        answers = self._link.ask([_last_entry(column, end) for column, end in zip(stored, ends, strict=True)], about)
        return Extent.of(
            [
                StreamEnd.from_last(raw_entries(answer)) if answer or not _is_heavy(column) else end
                for column, end, answer in zip(stored, ends, answers, strict=True)
            ]
        )

    def fetch(self, spans: Sequence[Span], about: str) -> list[Piece]:
        return fetch(self._link, spans, about)


def _parsed(raw: Sequence[RawEntry]) -> tuple[DocumentEntry, ...]:
    return tuple(DocumentEntry.parse(entry) for entry in raw)


def _last_entry(column: StoredColumn, known: StreamEnd) -> Command:
    after = f"{known.rows}-1" if _is_heavy(column) and known.rows else "-"
    return ("XREVRANGE", column.key, "+", after, "COUNT", 1)


def _first_row(raw: Sequence[RawEntry]) -> int:
    entry = parse_entry(raw[0]) if raw else None
    return StreamEnd.from_last(raw).rows if entry is None else entry.index


def _is_heavy(column: StoredColumn) -> bool:
    return (column.row_bytes or 0) > _HEAVY_ROW_BYTES


def _marks(answer: Any) -> tuple[str, str]:
    """Why the run is not whole, and the path of its file."""
    found = json.loads(answer) if answer else {}
    (incomplete, *_), (path, *_) = (found.get(member) or [""] for member in ("$.info.bluesky.incomplete", "$.id.path"))
    return str(incomplete), str(path or "")


def last_state(answer: Any) -> ScanState:
    """The state that the last entry of a stream of states tells."""
    entries = raw_entries(answer)
    return ScanState(int(entries[0][1][b"state"])) if entries else ScanState.CREATED
