"""The hand-over of documents from the callback to the publisher: in memory while there is room, else by the journal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TypeAlias

from ..journal import RunJournal, record_size

Batch: TypeAlias = dict["RunFeed", list[bytes]]

_BATCH_BYTES = 16 * 2**20
_BATCH_DOCUMENTS = 20_000


@dataclass(eq=False, slots=True)
class RunFeed:
    """One run's documents on their way. The callback counts up `given` and `queued`, the publisher the others."""

    uid: str
    publisher: str
    journal: RunJournal | None
    given: int = 0
    """Documents that are in memory or in the journal."""
    queued: int = 0
    """Documents that were put into memory…"""
    taken: int = 0
    """… and taken from it."""
    done: int = 0
    """Documents that Redis has acknowledged, or that were given up."""
    offset: int = 0
    """How far the publisher has read the journal, in bytes."""
    spilled: bool = False
    """Whether documents wait in the journal only."""
    reported: bool = False
    """Whether the log says that documents of this run are lost."""

    def __post_init__(self) -> None:
        if self.journal is not None:
            self.offset = self.journal.size


@dataclass(slots=True)
class Intake:
    """The queue between the two threads, bounded in bytes over all runs."""

    limit: int
    """Bytes of documents that may wait in memory."""
    _queue: SimpleQueue[tuple[RunFeed, bytes, float] | None] = field(default_factory=SimpleQueue)
    _lock: Lock = field(default_factory=Lock)
    _bytes_in: int = 0
    _bytes_out: int = 0
    _spilled: dict[RunFeed, float] = field(default_factory=dict)
    oldest: float | None = None
    """When the oldest document of the last batch was given (time.monotonic)."""

    def give(self, feed: RunFeed, packed: bytes) -> bool:
        """Hand one document over, never waiting. False when it is neither in memory nor in the journal."""
        # one lock for "written and queued", or the publisher might read from the file what then comes by the queue too
        with self._lock:
            journaled = feed.journal is not None and feed.journal.append(packed)
            if not feed.spilled and self.waiting_bytes + len(packed) <= self.limit:
                self._bytes_in += len(packed)
                feed.given += 1
                feed.queued += 1
                self._queue.put((feed, packed, time.monotonic()))
                return True
            if journaled:
                feed.given += 1
                self._spill(feed)
            return journaled

    @property
    def waiting_bytes(self) -> int:
        """Bytes of documents in memory that the publisher has not taken."""
        return self._bytes_in - self._bytes_out

    def wake(self) -> None:
        """Let `take` return."""
        self._queue.put(None)

    def take(self, timeout: float) -> Batch:
        """All that waits, up to a bound; waits up to `timeout` seconds for the first document."""
        batch: Batch = {}
        size = 0
        self.oldest = None
        for count, (feed, packed, given) in enumerate(self._waiting(0.0 if self._spilled else timeout), 1):
            self.oldest = self.oldest or given
            batch.setdefault(feed, []).append(packed)
            feed.taken += 1
            feed.offset += record_size(packed)
            size += len(packed)
            if size > _BATCH_BYTES or count >= _BATCH_DOCUMENTS:
                break
        self._bytes_out += size
        for feed in list(self._spilled):
            if feed.taken == feed.queued:
                self._read_on(feed, batch)
        return batch

    def _waiting(self, timeout: float) -> Iterator[tuple[RunFeed, bytes, float]]:
        try:
            item = self._queue.get(timeout=timeout) if timeout else self._queue.get_nowait()
            while True:
                if item is not None:
                    yield item
                item = self._queue.get_nowait()
        except Empty:
            return

    def _spill(self, feed: RunFeed) -> None:
        if not feed.spilled:
            feed.spilled = True
            self._spilled[feed] = time.monotonic()
            self.wake()

    def _read_on(self, feed: RunFeed, batch: Batch) -> None:
        """Take what only the journal has; when all of it is read, the run goes through memory again."""
        if feed.journal is None:
            return
        self.oldest = min(self.oldest or time.monotonic(), self._spilled[feed])
        size = 0
        for offset, packed in feed.journal.records(feed.offset):
            batch.setdefault(feed, []).append(packed)
            feed.offset = offset
            size += len(packed)
            if size > _BATCH_BYTES:
                return
        with self._lock:
            if feed.offset == feed.journal.size:
                feed.spilled = False
                del self._spilled[feed]
