"""One run, wherever it is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ..connection import REPLY_SECONDS
from ..errors import RunNotFoundError, StreamNotFoundError
from ..external import Roots
from ..protocol import DocumentEntry
from .cache import ColumnCache
from .external import FileDocuments
from .interface import Document
from .replay import replay, stream_of
from .store import RunStore, Seen
from .stream import StoredStream
from .turn import turn


@dataclass(frozen=True, slots=True)
class _View:
    """What was known of the run at one moment."""

    seen: Seen
    streams: Mapping[str, StoredStream]
    resources: FileDocuments


class _Streams(dict[str, StoredStream]):
    """Streams by name; a name that is not there gets an error that says so."""

    def __init__(self, about: str) -> None:
        super().__init__()
        self._about = about

    def __missing__(self, name: str) -> StoredStream:
        raise StreamNotFoundError(f"{self._about} has no stream {name!r}; it has {', '.join(self) or 'none yet'}")


class StoredRun:
    """One Bluesky run (`Run`). Thread-safe; all its users see the view that the last `refresh` brought."""

    def __init__(self, store: RunStore, cache: ColumnCache, uid: str, roots: Roots) -> None:
        """`roots`: where files of detectors may be. Raises what `refresh` raises."""
        self._store = store
        self._cache = cache
        self._uid = uid
        self._roots = roots
        self._about = f"run {uid}"
        self._lock = threading.Lock()
        self._view = self._look(None)

    @property
    def uid(self) -> str:
        return self._uid

    @property
    def start(self) -> Document:
        return self._view.seen.entries[0].document

    @property
    def stop(self) -> Document | None:
        return self._view.seen.document("stop")

    @property
    def closed(self) -> bool:
        return self._view.seen.closed

    @property
    def incomplete(self) -> str:
        return self._view.seen.incomplete

    @property
    def path(self) -> str:
        """Where the run's file is or will be, as its writer says; "" when it has none, or the source is the file."""
        return self._view.seen.path

    @property
    def streams(self) -> Mapping[str, StoredStream]:
        return self._view.streams

    def refresh(self) -> None:
        with turn(self._lock, REPLY_SECONDS, self._about, self._store.place):
            try:
                self._view = self._look(self._view)
            except RunNotFoundError:
                self.forget()
                raise

    def documents(self) -> Iterator[tuple[str, Document]]:
        rows = {name: stream.rows() for name, stream in self.streams.items()}
        if not self.closed:
            self.refresh()
        view = self._view
        yield from replay(self._uid, view.seen.entries, view.streams, rows)

    def forget(self) -> None:
        """Drop what is cached of this run."""
        for stream in self._view.streams.values():
            stream.forget()

    def _look(self, known: _View | None) -> _View:
        if known and any(stream.lost for stream in known.streams.values()):
            self.forget()
            known = None
        seen = self._store.look(known.seen if known else None)
        if known and not seen.continues(known.seen):
            self.forget()
            known = None
        new = seen.entries[len(known.seen.entries) :] if known else seen.entries
        resources = known.resources if known else FileDocuments(self._roots, self.refresh)
        resources.add(new)
        return _View(seen, self._streams_of(new, known, resources), resources)

    def _streams_of(
        self, new: Sequence[DocumentEntry], known: _View | None, resources: FileDocuments
    ) -> Mapping[str, StoredStream]:
        """The streams with those that the `new` documents begin."""
        descriptors = [entry.document for entry in new if entry.name == "descriptor"]
        if known and not descriptors:
            return known.streams
        streams = _Streams(self._about)
        streams.update(known.streams if known else {})
        for descriptor in descriptors:
            name = stream_of(descriptor)
            if name in streams:
                streams[name].add_descriptor(descriptor)
            else:
                streams[name] = StoredStream(self._store, self._cache, self._uid, descriptor, resources)
        return MappingProxyType(streams)
