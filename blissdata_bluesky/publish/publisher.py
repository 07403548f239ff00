"""The publishing thread: all runs and streams of a writer, on one connection."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from ..connection import NoticingPool, open_client, redact, target
from ..errors import RedisTargetError, RedisUnreachableError
from ..journal import JournalDirectory, RunJournal
from .database import require_ready
from .feed import Batch, Intake, RunFeed
from .left_behind import LeftBehind
from .left_over import LeftOverDocuments
from .orphans import Orphans
from .outage import Outage
from .presence import RunLostError
from .run import RunPublisher
from .run_publishers import RunPublishers
from .tally import Tally

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_TICK = 0.5
# When documents come faster than they can be sent one by one, larger batches cost less each, and the callback's
# thread runs undisturbed while they gather.
_BUSY_DOCUMENTS = 50
_GATHER_SECONDS = 0.003
# what waiting may mend
OUTAGES = (redis.RedisError, OSError, RedisTargetError, RedisUnreachableError, RunLostError)
# so often it is asked between two documents whether Redis still has the runs that are open
_CHECK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """How runs are published."""

    prepare_after: float | None = None
    """Seconds after which a scan with rows passes to STARTED in any case; None: never."""
    memory_limit: int = 0
    """Bytes of documents that may wait in memory; past it they wait in the journal."""
    look_seconds: float | None = None
    """How often it is looked for journals that were left behind; None: only when `recover` is called."""


class Publisher:
    """Publishes what it is given. Its thread is a daemon, starts with the first document and ends with `stop`."""

    def __init__(self, url: str, options: PublisherOptions, journals: JournalDirectory | None) -> None:
        """`journals`: where those of its runs lie. They are set aside there, and faults noted, by the thread.

        Raises RedisURLError.
        """
        self.intake = Intake(options.memory_limit)
        self.tally = Tally()
        self._url = url
        self._client = open_client(url, NoticingPool)
        self._options = options
        self._journals = journals
        self._runs = RunPublishers(options.prepare_after, journals, self.tally)
        self._orphans = Orphans(options.look_seconds)
        self._thread: threading.Thread | None = None
        self._ready = False
        self._stopping = threading.Event()
        self._progress = threading.Condition()
        self._outage = Outage(redact(url), journals, self.tally)
        self._left_over = LeftOverDocuments()
        self._checked = 0.0
        self._feeds: dict[str, RunFeed] = {}

    @property
    def published_rows(self) -> int:
        """Rows that Redis has acknowledged, over all runs and streams."""
        return self._runs.rows

    @property
    def lag(self) -> float:
        """Seconds since the oldest document of those that are being sent was given; 0 when none is."""
        oldest = self.intake.oldest
        return time.monotonic() - oldest if oldest is not None else 0.0

    @property
    def recovered(self) -> list[str]:
        """One sentence for each run that was published for a process that is gone."""
        return self._orphans.done

    def knows(self, uid: str) -> bool:
        """Whether a run is on its way."""
        return uid in self._feeds

    def require_ready(self) -> None:
        """Connect and check the database now. Raises the errors of `database.require_ready`."""
        require_ready(self._client, self._url, write=True)
        self._ready = True

    def expect_outage(self, error: Exception) -> None:
        """The log says already that the server does not answer."""
        self._outage.expect(error)

    def recover(self) -> None:
        """Publish, in the thread, the runs that processes which are gone left in the directory for this Redis."""
        if self._journals is not None and self._orphans.watch(LeftBehind(self._journals, target(self._url))):
            self._start()

    def adopt(self, journal: RunJournal, *, raises_deleted: bool = False) -> None:
        """Publish, in the thread, one journal that was taken over."""
        self._orphans.adopt(journal, raises_deleted=raises_deleted)
        self._start()
        self.intake.wake()

    def wait_recovered(self, timeout: float | None = None) -> bool:
        """Wait until there is nothing left to recover; whether that came within `timeout` seconds."""
        with self._progress:
            self._progress.wait_for(lambda: not self._orphans.busy or self._stopping.is_set(), timeout)
        return not self._orphans.busy

    def open(self, feed: RunFeed) -> None:
        """A run begins."""
        self._feeds[feed.uid] = feed
        self._start()

    def drop(self, feed: RunFeed) -> None:
        """Forget a run that has not even begun."""
        del self._feeds[feed.uid]
        if feed.journal is not None:
            feed.journal.close()

    def forget(self) -> None:
        """In a forked child: runs, thread and connection are its parent's."""
        for feed in self._feeds.values():
            if feed.journal is not None:
                feed.journal.close()

    def give(self, feed: RunFeed, name: str, document: Mapping[str, Any]) -> bool:
        """Hand over one document of an open run; see `Intake.give`. Calls must not overlap."""
        if not self.intake.give(feed, name, document):
            self.tally.refuse()
            return False
        self.tally.add()
        return True

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was given so far is acknowledged. False after `timeout` s, or when some was given up.

        False, too, when the publisher was stopped before.
        """
        wanted = [(feed, feed.given) for feed in list(self._feeds.values())]

        def reached() -> bool:
            return all(feed.done >= given for feed, given in wanted)

        with self._progress:
            self._progress.wait_for(lambda: reached() or self._stopping.is_set(), timeout)
        lost = self.tally.has_new_losses()
        return reached() and not lost

    def stop(self, timeout: float | None) -> bool:
        """End the thread after the step it is at; whether it did so within `timeout` seconds."""
        self._stopping.set()
        self.intake.wake()
        if self._thread is None:
            self._client.close()
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="blissdata-bluesky-publisher", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._step()
        finally:
            self._release()

    def _step(self) -> None:
        try:
            batch = self.intake.take(self._pause())
            self._adopt_next()
            self._publish(batch)
            if sum(map(len, batch.values())) > _BUSY_DOCUMENTS:
                self._stopping.wait(_GATHER_SECONDS)
        except Exception:
            # whatever it was: the other runs, and those to come, have to go on
            logger.exception("publishing to %s failed unexpectedly and goes on; report this", redact(self._url))
            self._stopping.wait(_LONGEST_PAUSE)

    def _release(self) -> None:
        """Let go of the connection and of the journals of unfinished runs, and of those who wait for progress."""
        self._stopping.set()
        self._client.close()
        self._runs.set_abandoned_aside()
        for feed in list(self._feeds.values()):
            if feed.journal is not None:
                feed.journal.close()
        with self._progress:
            self._progress.notify_all()

    def _pause(self) -> float:
        """Seconds that `take` may wait for a document: there may be other things to do."""
        if self._runs.replaying or self._orphans.waiting:
            return 0.0
        if self._runs.waits_to_prepare:
            return _TICK
        pauses = [_CHECK_SECONDS] if self._runs else []
        return min([*pauses, self._options.look_seconds or 3600.0])

    def _adopt_next(self) -> None:
        if found := self._orphans.next(self.knows):
            feed, orphan = found
            self._feeds[feed.uid] = feed
            self._runs.adopt(feed, orphan)

    def _publish(self, batch: Batch) -> None:
        self._runs.take(batch)
        for run in self._runs:
            with self._runs.abandoning(run):
                run.prepare_if_due(time.monotonic())
            self._send_all(run)
        if not batch:
            self._check()
        self._acknowledge()

    def _check(self) -> None:
        """See in quiet times whether Redis still has the runs, and whether it is back."""
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        for run in self._runs:
            try:
                self._with_redis(run, run.check)
            except RunLostError as error:
                self._begin_outage(error, run)
            except OUTAGES as error:
                self._begin_outage(error, run)
                return

    def _send_all(self, run: RunPublisher) -> None:
        """Send what is pending, of a replay one part; an outage is waited out here, while the intake fills."""
        pause = _SHORTEST_PAUSE
        while run.pending and not self._stopping.is_set():
            try:
                self._with_redis(run, run.send)
                if run.replaying:
                    return
            except OUTAGES as error:
                if _is_race(error):
                    continue
                self._begin_outage(error, run)
                self._stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _with_redis(self, run: RunPublisher, action: Callable[[redis.Redis], None]) -> None:
        """Do something for a run with the server. Raises one of `OUTAGES` when that cannot be done now."""
        if not self._ready:
            self.require_ready()
        with self._runs.abandoning(run, OUTAGES):
            action(self._client)
        self._outage.answered()

    def _begin_outage(self, error: Exception, run: RunPublisher) -> None:
        self._ready = False
        self._client.connection_pool.disconnect()
        if isinstance(error, RunLostError):
            self._outage.publish_again(run.uid)
        self._outage.begin(error)

    def _acknowledge(self) -> None:
        """Count what is done, forget the runs that are closed, and tell those who wait for progress."""
        closed = False
        with self._progress:
            for feed, run in self._runs.acknowledge():
                closed = True
                self._forget(feed, run)
            self.intake.oldest = None
            self._progress.notify_all()
        if self._outage.caught_up:
            # runs that rest may have been lost as well
            self._checked = -math.inf
            self._check()
            if not self._runs.replaying:
                self._outage.end()
        if closed:
            self._left_over.remove(self._client)

    def _forget(self, feed: RunFeed, run: RunPublisher) -> None:
        del self._feeds[feed.uid]
        self._runs.set_aside(feed, run)
        if not run.abandoned:
            self._left_over.add(feed.uid)
        self._orphans.forget(feed, run)


def _is_race(error: Exception) -> bool:
    """Whether another process has just created the same scan; the next look tells whose it is."""
    # redis-py has the same exception for a connection that was lost meanwhile
    return isinstance(error, redis.WatchError) and "variable changed" in str(error)
