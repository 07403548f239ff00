"""The hand-over of documents from the callback to the publisher: in memory while there is room, else by the journal."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any, TypeAlias

from ..errors import JournalError
from ..foreign import as_text
from ..journal import BatchMarks, RunJournal, record_size
from ..packing import pack_and_copy, unpack_document

Document: TypeAlias = tuple[str, Mapping[str, Any]]
Batch: TypeAlias = dict["RunFeed", list[Document]]

# No document of event-model, and none that readers get: it stands among a run's documents in the journal and tells
# RunMapper, wherever it reads them, why the run is not whole (`run_start`, `reason`). The last one counts.
INCOMPLETE = "incomplete"

BATCH_BYTES = 16 * 2**20
# larger batches are no cheaper: what they touch no longer fits the processor caches
BATCH_DOCUMENTS = 4000
# A copied document takes several times the memory of a packed one, which counts as soon as many wait.
_COPIES_BYTES = 8 * 2**20


@dataclass(eq=False, slots=True)
class RunFeed:
    """One run's documents on their way. The callback counts up `given` and `queued`, the publisher the others."""

    uid: str
    publisher: str
    identity: Mapping[str, Any]
    """Of the scan (blissdata's ESRFIdentityModel)."""
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
    last_document: bytes | None = None
    """The stop document, packed, when it is neither in memory nor in the journal."""
    broken: str = ""
    """Why the journal cannot be read any further, while documents wait in it."""

    start_hash: int = 0
    """Of the packed start document."""
    repeated: bool = False
    """Whether every document comes twice."""
    last: tuple[str, str] = ("", "")
    """Type and uid of the last document of a run that is `repeated`."""

    @property
    def marks(self) -> BatchMarks | None:
        """How the run was cut into batches; None when that is not kept."""
        return None if self.journal is None else self.journal.marks

    def __post_init__(self) -> None:
        if self.journal is not None:
            self.offset = self.journal.size

    def repeats(self, name: str, document: Mapping[str, Any]) -> bool:
        """Whether it is the last document once more, of a run that is `repeated`."""
        this = (name, as_text(document.get("uid", document.get("datum_id"))))
        repeats, self.last = this == self.last, this
        return repeats


# run, bytes in the journal's record, the document as it is or still packed, when it was given
_Item: TypeAlias = tuple[RunFeed, int, bytes | Document, float]


@dataclass(slots=True)
class Intake:
    """The queue between the two threads, bounded in bytes over all runs."""

    limit: int
    """Bytes of documents that may wait in memory."""
    _items: deque[_Item] = field(default_factory=deque)
    _idle: bool = False
    _wake: SimpleQueue[None] = field(default_factory=SimpleQueue)
    _lock: Lock = field(default_factory=Lock)
    _bytes_in: int = 0
    _bytes_out: int = 0
    _spilled: dict[RunFeed, float] = field(default_factory=dict)
    oldest: float | None = None
    """When the oldest document of the last batch was given (time.monotonic)."""

    def give(self, feed: RunFeed, name: str, document: Mapping[str, Any]) -> bool:
        """Hand one document over, never waiting. False when it is neither in memory nor in the journal.

        The caller may change the document as soon as this has returned.
        """
        packed, copy = pack_and_copy(name, document)
        # one lock for "written and queued", or the publisher might read from the file what then comes by the queue too
        with self._lock:
            if feed.broken:
                return False
            journaled = feed.journal is not None and feed.journal.append(packed)
            # a stop document always finds room: without it the run would never end
            room = self.waiting_bytes + len(packed) <= self.limit or name == "stop"
            if not feed.spilled and room:
                self._bytes_in += len(packed)
                feed.given += 1
                feed.queued += 1
                item = packed if copy is None or self.waiting_bytes > _COPIES_BYTES else (name, copy)
                self._items.append((feed, len(packed), item, time.monotonic()))
                if self._idle:
                    self.wake()
                return True
            if journaled or name == "stop":
                feed.given += 1
                feed.last_document = None if journaled else packed
                self._spill(feed)
                return True
            return False

    @property
    def waiting_bytes(self) -> int:
        """Bytes of documents in memory that the publisher has not taken."""
        return self._bytes_in - self._bytes_out

    def wake(self) -> None:
        """Let `take` return."""
        self._idle = False
        self._wake.put(None)

    def take(self, timeout: float) -> Batch:
        """All that waits, up to a bound; waits up to `timeout` seconds for the first document."""
        if not self._items and not self._spilled:
            self._wait(timeout)
        batch: Batch = {}
        size = 0
        self.oldest = self._items[0][3] if self._items else None
        for _ in range(min(len(self._items), BATCH_DOCUMENTS)):
            feed, length, document, _given = self._items.popleft()
            batch.setdefault(feed, []).append(unpack_document(document) if isinstance(document, bytes) else document)
            feed.taken += 1
            feed.offset += record_size(length)
            size += length
            if size > BATCH_BYTES:
                break
        self._bytes_out += size
        for feed in list(self._spilled):
            if feed.taken == feed.queued:
                self._read_on(feed, batch)
        return batch

    def _wait(self, timeout: float) -> None:
        self._idle = True
        # what was given before `_idle` was set has woken nobody
        if not self._items and not self._spilled:
            with suppress(Empty):
                self._wake.get(timeout=timeout)
        self._idle = False

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
        written = feed.journal.size
        reason = f"its journal is damaged at byte {feed.offset}"
        try:
            for count, (offset, packed) in enumerate(feed.journal.records(feed.offset), 1):
                batch.setdefault(feed, []).append(unpack_document(packed))
                feed.offset = offset
                size += len(packed)
                if size > BATCH_BYTES or count >= BATCH_DOCUMENTS:
                    return
        except JournalError as error:
            reason = str(error)
        with self._lock:
            if feed.offset < written:
                # nothing that comes after the gap may be published as if there were none
                feed.broken, feed.reported = reason, True
                batch.setdefault(feed, [])
                del self._spilled[feed]
                return
            if feed.offset == feed.journal.size:
                feed.spilled = False
                del self._spilled[feed]
                if feed.last_document is not None:
                    batch.setdefault(feed, []).append(unpack_document(feed.last_document))
