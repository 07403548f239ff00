"""The publishing thread: all runs and streams of a writer, on one connection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from ..connection import open_client, redact
from ..errors import RedisTargetError, RedisUnreachableError
from ..mapping import IdentityRule
from .database import require_ready
from .feed import Batch, Intake, RunFeed
from .left_over import LeftOverDocuments
from .run import RunPublisher
from .sending import RunAbandonedError

logger = logging.getLogger(__name__)

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_TICK = 0.5
# When documents come faster than they can be sent one by one, larger batches cost less each, and the callback's
# thread runs undisturbed while they gather.
_BUSY_DOCUMENTS = 50
_GATHER_SECONDS = 0.003
# what waiting may mend
OUTAGES = (redis.RedisError, OSError, RedisTargetError, RedisUnreachableError)


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """How runs are published."""

    prepare_after: float | None
    """Seconds after which a scan with rows passes to STARTED in any case; None: never."""
    identity: IdentityRule
    memory_limit: int
    """Bytes of documents that may wait in memory; past it they wait in the journal."""


class Publisher:
    """Publishes what it is given. Its thread is a daemon, starts with the first document and ends with `stop`."""

    def __init__(self, url: str, options: PublisherOptions, finished: Callable[[RunFeed], None]) -> None:
        """`finished` is called in the thread when Redis has acknowledged that a run is closed.

        Raises RedisURLError.
        """
        self.intake = Intake(options.memory_limit)
        self._url = url
        self._client = open_client(url)
        self._options = options
        self._finished = finished
        self._runs: dict[RunFeed, RunPublisher] = {}
        self._thread: threading.Thread | None = None
        self._ready = False
        self._stopping = threading.Event()
        self._progress = threading.Condition()
        self._outage_since: float | None = None
        self._rows_of_closed_runs = 0
        self._left_over = LeftOverDocuments()
        self._feeds: dict[str, RunFeed] = {}
        self._given = self._done = self._given_up = self._reported = 0
        self.peak = 0

    @property
    def published_rows(self) -> int:
        """Rows that Redis has acknowledged, over all runs and streams."""
        return self._rows_of_closed_runs + sum(run.rows for run in list(self._runs.values()))

    @property
    def queued(self) -> int:
        """Documents that were given and are not acknowledged."""
        return self._given - self._done

    @property
    def lag(self) -> float:
        """Seconds since the oldest document of those that are being sent was given; 0 when none is."""
        oldest = self.intake.oldest
        return time.monotonic() - oldest if oldest is not None else 0.0

    def knows(self, uid: str) -> bool:
        """Whether a run is on its way."""
        return uid in self._feeds

    def require_ready(self) -> None:
        """Connect and check the database now. Raises the errors of `database.require_ready`."""
        require_ready(self._client, self._url, write=True)
        self._ready = True

    def expect_outage(self) -> None:
        """The log says already that the server does not answer."""
        self._outage_since = time.monotonic()

    def open(self, feed: RunFeed) -> None:
        """A run begins."""
        self._feeds[feed.uid] = feed
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="blissdata-bluesky-publisher", daemon=True)
            self._thread.start()

    def drop(self, feed: RunFeed) -> None:
        """Forget a run that has not even begun."""
        del self._feeds[feed.uid]
        if feed.journal is not None:
            feed.journal.close()

    def give(self, feed: RunFeed, name: str, document: Mapping[str, Any]) -> bool:
        """Hand over one document of an open run; see `Intake.give`. Calls must not overlap."""
        if not self.intake.give(feed, name, document):
            self._given_up += 1
            return False
        self._given += 1
        queued = self._given - self._done
        self.peak = max(self.peak, queued)
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
        given_up, self._reported = self._given_up - self._reported, self._given_up
        return reached() and not given_up

    def stop(self, timeout: float | None) -> bool:
        """End the thread after the step it is at; whether it did so within `timeout` seconds."""
        self._stopping.set()
        self.intake.wake()
        if self._thread is None:
            self._client.close()
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                batch = self.intake.take(self._pause())
                self._publish(batch)
                if sum(map(len, batch.values())) > _BUSY_DOCUMENTS:
                    self._stopping.wait(_GATHER_SECONDS)
        except Exception:
            logger.exception("publishing to %s has ended; the journals have the rest. Report this", redact(self._url))
        finally:
            self._release()

    def _release(self) -> None:
        """Let go of the connection and of the journals of unfinished runs, and of those who wait for progress."""
        self._stopping.set()
        self._client.close()
        for feed in list(self._feeds.values()):
            if feed.journal is not None:
                feed.journal.close()
        with self._progress:
            self._progress.notify_all()

    def _pause(self) -> float:
        """Seconds that `take` may wait: less than a tick only matters while a scan waits to be prepared."""
        return _TICK if any(run.waits_to_prepare for run in self._runs.values()) else 3600.0

    def _publish(self, batch: Batch) -> None:
        for feed, documents in batch.items():
            run = self._runs.get(feed)
            if run is None:
                run = self._runs[feed] = RunPublisher(feed, self._options.identity, self._options.prepare_after)
            with _abandoning(run):
                run.take(documents)
            if feed.broken:
                run.abandon(feed.broken)
        for run in self._runs.values():
            with _abandoning(run):
                run.prepare_if_due(time.monotonic())
            self._send_all(run)
        ended = any(self._runs[feed].closed for feed in batch)
        self._acknowledge(batch)
        if ended:
            self._left_over.remove(self._client)

    def _send_all(self, run: RunPublisher) -> None:
        """Send what is pending; an outage is waited out here, while the intake fills."""
        pause = _SHORTEST_PAUSE
        while run.pending and not self._stopping.is_set():
            try:
                if not self._ready:
                    self.require_ready()
                with _abandoning(run):
                    run.send(self._client)
                self._end_outage()
            except OUTAGES as error:
                if _is_race(error):
                    continue
                self._begin_outage(error)
                self._stopping.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _begin_outage(self, error: Exception) -> None:
        self._ready = False
        self._client.connection_pool.disconnect()
        if self._outage_since is None:
            self._outage_since = time.monotonic()
            logger.warning(
                "publishing to %s is interrupted: %s. Scans go on; what they give waits in the journal and is "
                "published when the server answers again.",
                redact(self._url),
                error,
            )

    def _end_outage(self) -> None:
        if self._outage_since is not None:
            logger.warning(
                "publishing to %s goes on after %.1f s", redact(self._url), time.monotonic() - self._outage_since
            )
            self._outage_since = None

    def _acknowledge(self, batch: Batch) -> None:
        """Count what is done, forget the runs that are closed, and tell those who wait for progress."""
        with self._progress:
            for feed, documents in batch.items():
                run = self._runs[feed]
                if run.pending:  # stopped in mid-outage
                    continue
                done = feed.given - feed.done if feed.broken else len(documents)
                feed.done += done
                self._done += done
                self._given_up += done if run.abandoned else 0
                if run.closed or feed.broken:
                    self._forget(feed, run)
            self.intake.oldest = None
            self._progress.notify_all()

    def _forget(self, feed: RunFeed, run: RunPublisher) -> None:
        self._rows_of_closed_runs += run.rows
        del self._runs[feed], self._feeds[feed.uid]
        if not run.abandoned:
            self._finished(feed)
            self._left_over.add(feed.uid)
        elif feed.journal is not None:
            feed.journal.close()


@contextmanager
def _abandoning(run: RunPublisher) -> Iterator[None]:
    """What is wrong with one run ends the publishing of that run only."""
    try:
        yield
    except OUTAGES:
        raise
    except RunAbandonedError as error:
        run.abandon(str(error))
    except Exception:
        logger.exception("publishing failed unexpectedly; please report this")
        run.abandon("an unexpected error, see above")


def _is_race(error: Exception) -> bool:
    """Whether another process has just created the same scan; the next look tells whose it is."""
    # redis-py has the same exception for a connection that was lost meanwhile
    return isinstance(error, redis.WatchError) and "variable changed" in str(error)
