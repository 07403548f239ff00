"""One run in Redis."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..connection import REPLY_SECONDS
from ..errors import DamagedRunError, RunNotFoundError, StreamNotFoundError
from ..protocol import (
    DELETED_TTL,
    DocumentEntry,
    RawEntry,
    ScanState,
    documents_key,
    raw_entries,
    scan_key,
    state_pk,
    stream_key,
)
from .cache import ColumnCache
from .interface import Document
from .link import RedisLink
from .redis_stream import RedisRunStream
from .replay import replay, stream_of


@dataclass(frozen=True, slots=True)
class _View:
    """What was known of the run at one moment."""

    entries: tuple[DocumentEntry, ...]
    streams: Mapping[str, RedisRunStream]
    closed: bool
    incomplete: str
    last: RawEntry
    """The last of the documents as Redis had it: there, the run is still the same one."""

    def document(self, name: str) -> Document | None:
        """The last document called `name`."""
        return next((entry.document for entry in reversed(self.entries) if entry.name == name), None)


class _Streams(dict[str, RedisRunStream]):
    """Streams by name; a name that is not there gets an error that says so."""

    def __init__(self, about: str) -> None:
        super().__init__()
        self._about = about

    def __missing__(self, name: str) -> RedisRunStream:
        raise StreamNotFoundError(f"{self._about} has no stream {name!r}; it has {', '.join(self) or 'none yet'}")


class RedisRun:
    """One Bluesky run (`Run`). Thread-safe; all its users see the view that the last `refresh` brought."""

    def __init__(self, link: RedisLink, cache: ColumnCache, uid: str) -> None:
        self._link = link
        self._cache = cache
        self._uid = uid
        self._about = f"run {uid}"
        self._lock = threading.Lock()
        self._view = self._ask(None)

    @property
    def uid(self) -> str:
        return self._uid

    @property
    def start(self) -> Document:
        return self._view.entries[0].document

    @property
    def stop(self) -> Document | None:
        return self._view.document("stop")

    @property
    def closed(self) -> bool:
        return self._view.closed

    @property
    def incomplete(self) -> str:
        return self._view.incomplete

    @property
    def streams(self) -> Mapping[str, RedisRunStream]:
        return self._view.streams

    def refresh(self) -> None:
        with self._link.turn(self._lock, REPLY_SECONDS, self._about):
            try:
                self._view = self._ask(self._view)
            except RunNotFoundError:
                self.forget()
                raise

    def documents(self) -> Iterator[tuple[str, Document]]:
        view = self._view
        return replay(self._uid, view.entries, view.streams)

    def forget(self) -> None:
        """Drop what is cached of this run."""
        for stream in self._view.streams.values():
            stream.forget()

    def _ask(self, known: _View | None) -> _View:
        if known and any(stream.lost for stream in known.streams.values()):
            self.forget()
            known = None
        first = known.last[0].decode() if known else "-"
        ttl, states, marks, answer = self._link.ask(
            [
                ("TTL", scan_key(self._uid)),
                ("XREVRANGE", stream_key(state_pk(self._uid)), "+", "-", "COUNT", 1),
                ("JSON.GET", scan_key(self._uid), "$.info.bluesky.incomplete"),
                ("XRANGE", documents_key(self._uid), first, "+"),
            ],
            self._about,
        )
        if is_gone(ttl):
            raise RunNotFoundError(
                f"{self._about} is not in Redis at {self._link.place}, or no longer: was it deleted?"
            )
        raw = raw_entries(answer)
        if known and (not raw or raw[0] != known.last):
            # published again into an emptied Redis
            self.forget()
            return self._ask(None)
        if not raw:
            raise RunNotFoundError(
                f"{self._about}: the scan in Redis at {self._link.place} has no Bluesky documents; "
                "it was published by somebody else, read it with blissdata"
            )
        closed = last_state(states) == ScanState.CLOSED
        return self._next_view(known, raw, closed, _reason(marks) if closed else "")

    def _next_view(self, known: _View | None, raw: list[RawEntry], closed: bool, incomplete: str) -> _View:  # noqa: FBT001 - passed on
        old = known.entries if known else ()
        new = [DocumentEntry.parse(entry) for entry in (raw[1:] if known else raw)]
        if not old and (new[0].index != 0 or new[0].name != "start"):
            raise DamagedRunError(f"{self._about}: its documents in Redis do not begin with the start document")
        streams = _Streams(self._about)
        streams.update(known.streams if known else {})
        for entry in new:
            if entry.name == "descriptor":
                self._describe(streams, entry.document)
        return _View((*old, *new), MappingProxyType(streams), closed, incomplete, raw[-1])

    def _describe(self, streams: dict[str, RedisRunStream], descriptor: Document) -> None:
        name = stream_of(descriptor)
        if name in streams:
            streams[name].add_descriptor(descriptor)
        else:
            streams[name] = RedisRunStream(self._link, self._cache, self._uid, descriptor)


def _reason(answer: Any) -> str:
    found = json.loads(answer or "[]")
    return str(found[0]) if found else ""


def is_gone(lifetime: int) -> bool:
    """Whether a key with this answer to TTL is gone, or counts as deleted."""
    return lifetime == -2 or 0 <= lifetime <= DELETED_TTL


def last_state(answer: Any) -> ScanState:
    """The state that the last entry of a stream of states tells."""
    entries = raw_entries(answer)
    return ScanState(int(entries[0][1][b"state"])) if entries else ScanState.CREATED
