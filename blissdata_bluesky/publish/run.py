"""One run on its way to Redis: packed documents in, acknowledged rows out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import redis

from ..errors import JournalError
from ..mapping import Operation, RunMapper
from .feed import Document, RunFeed
from .presence import Claim, RunAbandonedError, RunLostError
from .replay import Replay
from .sending import RunSender
from .steps import StepMaker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Orphan:
    """What is to be done with a run whose owner is gone."""

    reason: str
    """Why it is incomplete, when it has no stop document."""
    heard_of: float
    """When its journal was written last, in seconds since the epoch."""
    raises_deleted: bool = False
    """Whether its scan is to come again when it was deleted, because somebody asked for it."""


class RunPublisher:
    """Maps, encodes and sends the documents of one run."""

    def __init__(self, feed: RunFeed, prepare_after: float | None, orphan: Orphan | None = None) -> None:
        self._feed = feed
        self._prepare_after = prepare_after
        self._orphan = orphan
        self._since = time.time() if feed.journal is None else feed.journal.header.created
        self._waiting = 0
        self.abandoned = ""
        """Why nothing more of this run is published."""
        self.rows = 0
        """Rows that Redis has acknowledged, over all streams."""
        self._begin()
        if orphan is not None:
            self.start_again()

    def _begin(self) -> None:
        self._mapper: RunMapper | None = None
        self._maker = StepMaker(self._feed.uid, self._feed.publisher)
        self._sender = RunSender(Claim(self._feed.uid, self._feed.publisher, self._since))
        self._replay: Replay | None = None
        self._prepare_at: float | None = None
        self._ended = False

    @property
    def uid(self) -> str:
        """The run's uid."""
        return self._feed.uid

    @property
    def orphaned(self) -> bool:
        """Whether the run was begun by a process that is gone."""
        return self._orphan is not None

    @property
    def pending(self) -> bool:
        """Whether something is not acknowledged."""
        return not self.abandoned and (self._sender.pending or self.replaying)

    @property
    def replaying(self) -> bool:
        """Whether the journal is being published from its beginning."""
        return self._replay is not None and not self.abandoned

    @property
    def closed(self) -> bool:
        """Whether nothing will follow."""
        return self._ended

    @property
    def sent(self) -> bool:
        """Whether Redis lacked something of it."""
        return self._sender.sent

    @property
    def begun(self) -> bool:
        """Whether its start document has come."""
        return self._mapper is not None

    @property
    def incomplete(self) -> str:
        """Why the run is not whole; "" while it may be."""
        return self._mapper.incomplete if self._mapper is not None else ""

    @property
    def left_out(self) -> str:
        """Of which documents Redis has nothing, as they are none that event-model knows; "" for none."""
        return self._mapper.complaints.left_out if self._mapper is not None else ""

    @property
    def _inline(self) -> bool:
        """Whether the file's writer follows the streams in Redis, and not the journal."""
        return self._feed.journal is not None and not self._feed.journal.header.archive

    @property
    def _ordered(self) -> bool:
        return self._feed.journal is None or self._feed.journal.header.ordered

    @property
    def waits_to_prepare(self) -> bool:
        """Whether `prepare_if_due` has to be called from time to time."""
        return self._prepare_at is not None and not self.abandoned

    def take(self, documents: Sequence[Document]) -> None:
        """Turn documents into steps; nothing is sent. The first one ever must be the start."""
        self._waiting += len(documents)
        self._ended = self._ended or any(name == "stop" for name, _ in documents)
        if (marks := self._feed.marks) is not None:
            marks.add(self._feed.offset)
        # what comes while the journal is read from its beginning is found there
        if documents and self._replay is None and not self.abandoned:
            self._map(documents)

    def acknowledge(self) -> int:
        """How many documents are done that were not before."""
        done, self._waiting = self._waiting, 0
        if done and not self.abandoned and (marks := self._feed.marks) is not None:
            marks.acknowledged()
        return done

    def prepare_if_due(self, now: float) -> None:
        """Pass to STARTED when rows have waited for `prepare_after` seconds (time.monotonic)."""
        if self._mapper is None or self._prepare_at is None or self._replay is not None or now < self._prepare_at:
            return
        self._prepare_at = None
        self._add(self._mapper.prepare())
        if (marks := self._feed.marks) is not None:
            marks.prepared()

    def send(self, client: redis.Redis) -> None:
        """Send what is pending, or a part of it when the journal is read from its beginning.

        Raises what `RunSender.send` raises; after RunLostError all of the run is pending again.
        """
        try:
            if self._replay is not None and not self._sender.pending:
                self._read_on(self._replay)
            self._sender.send(client)
        except JournalError as error:
            raise RunAbandonedError(str(error)) from error
        except RunLostError as error:
            self.start_again(str(error))
            raise
        if self._mapper is not None:
            self.rows = self._mapper.rows

    def check(self, client: redis.Redis) -> None:
        """Ask whether Redis still has the run. Raises what `send` raises."""
        if self._mapper is None or self.abandoned:
            return
        try:
            self._sender.check(client)
        except RunLostError as error:
            self.start_again(str(error))
            raise

    def start_again(self, reason: str = "") -> None:
        """Map and send the whole journal once more. Raises RunAbandonedError when there is none, or not a whole one."""
        journal = self._feed.journal
        if journal is None or (journal.failed and self._orphan is None):
            without = "it has no journal" if journal is None else f"its journal is not whole ({journal.failed})"
            raise RunAbandonedError(f"{reason}, and {without}")
        self._begin()
        self._replay = Replay(journal)
        self._sender.may_be_deleted = self._orphan is not None and not self._orphan.raises_deleted

    def abandon(self, reason: str) -> None:
        """Publish nothing more of this run, and say so once."""
        if not self.abandoned:
            self.abandoned = reason
            kept = f"its journal {self._feed.journal.path} is kept" if self._feed.journal else "it has no journal"
            logger.error("run %s is not published any further (%s): %s", self._feed.uid, kept, reason)

    def _map(self, documents: Sequence[Document]) -> None:
        if self._mapper is None:
            (name, start), *documents = documents
            if name != "start":
                raise RunAbandonedError("its start document is lost")
            self._mapper = RunMapper(start, self._feed.identity, inline=self._inline, ordered=self._ordered)
            self._mapper.complaints.quiet = self._replay is not None
            self._add(self._mapper.create())
        if self._feed.reported:
            self._mapper.lost = "documents are lost: neither journal nor memory had room for them"
        self._add(self._mapper.take(documents))
        self._schedule(self._mapper)

    def _read_on(self, replay: Replay) -> None:
        for documents, prepared in replay.batches(self._feed.offset):
            self._ended = self._ended or any(name == "stop" for name, _ in documents)
            self._map(documents)
            if prepared and self._mapper is not None:
                self._add(self._mapper.prepare())
        if replay.offset >= self._feed.offset:
            self._replay = None
            if self._mapper is not None:
                self._mapper.complaints.quiet = False
            if self._orphan is not None:
                self._end_orphan(self._orphan)

    def _end_orphan(self, orphan: Orphan) -> None:
        if self._mapper is not None and not self._ended:
            self._add(self._mapper.end_incomplete(orphan.reason, orphan.heard_of), again=True)
        self._ended = True

    def _add(self, operations: Iterable[Operation], *, again: bool = False) -> None:
        self._sender.add(self._maker.steps(operations), doubtful=again or self._replay is not None)

    def _schedule(self, mapper: RunMapper) -> None:
        if not mapper.waits_to_prepare:
            self._prepare_at = None
        elif self._prepare_at is None and self._prepare_after is not None:
            self._prepare_at = time.monotonic() + self._prepare_after
