"""One run on its way to Redis: packed documents in, acknowledged rows out."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence

import redis

from ..mapping import IdentityRule, Operation, RunMapper
from .feed import Document, RunFeed
from .sending import RunAbandonedError, RunSender
from .steps import StepMaker

logger = logging.getLogger(__name__)


class RunPublisher:
    """Maps, encodes and sends the documents of one run."""

    def __init__(self, feed: RunFeed, identity: IdentityRule, prepare_after: float | None) -> None:
        self._feed = feed
        self._identity = identity
        self._prepare_after = prepare_after
        self._prepare_at: float | None = None
        self._mapper: RunMapper | None = None
        self._maker = StepMaker(feed.uid, feed.publisher)
        self._sender = RunSender(feed.uid, feed.publisher)
        self._ended = False
        self.abandoned = False
        self.rows = 0
        """Rows that Redis has acknowledged, over all streams."""

    @property
    def pending(self) -> bool:
        """Whether something is not acknowledged."""
        return self._sender.pending and not self.abandoned

    @property
    def closed(self) -> bool:
        """Whether the stop document has been taken."""
        return self._ended

    @property
    def waits_to_prepare(self) -> bool:
        """Whether `prepare_if_due` has to be called from time to time."""
        return self._prepare_at is not None and not self.abandoned

    def take(self, documents: Sequence[Document]) -> None:
        """Turn documents into steps; nothing is sent. The first one ever must be the start."""
        self._ended = self._ended or any(name == "stop" for name, _ in documents)
        if self.abandoned or not documents:
            return
        if self._mapper is None:
            (name, start), *documents = documents
            if name != "start":
                raise RunAbandonedError("its start document is lost")
            self._mapper = RunMapper(start, self._identity)
            self._add(self._mapper.create())
        self._mapper.incomplete = self._feed.reported
        self._add(self._mapper.take(documents))
        self._schedule(self._mapper)

    def prepare_if_due(self, now: float) -> None:
        """Pass to STARTED when rows have waited for `prepare_after` seconds (time.monotonic)."""
        if self._mapper is not None and self._prepare_at is not None and now >= self._prepare_at:
            self._prepare_at = None
            self._add(self._mapper.prepare())

    def send(self, client: redis.Redis) -> None:
        """Send what is pending. Raises what `RunSender.send` raises."""
        self._sender.send(client)
        if self._mapper is not None:
            self.rows = self._mapper.rows

    def abandon(self, reason: str) -> None:
        """Publish nothing more of this run, and say so once."""
        if not self.abandoned:
            self.abandoned = True
            kept = f" ({self._feed.journal.path})" if self._feed.journal else ""
            logger.error("run %s is not published any further%s: %s", self._feed.uid, kept, reason)

    def _add(self, operations: Iterable[Operation]) -> None:
        self._sender.add(self._maker.steps(operations))

    def _schedule(self, mapper: RunMapper) -> None:
        if not mapper.waits_to_prepare:
            self._prepare_at = None
        elif self._prepare_at is None and self._prepare_after is not None:
            self._prepare_at = time.monotonic() + self._prepare_after
