"""The runs that a publisher has at hand, and what becomes of those that end or cannot go on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..journal import JournalDirectory
from .feed import Batch, RunFeed
from .presence import RunAbandonedError
from .run import Orphan, RunPublisher
from .tally import Tally

logger = logging.getLogger(__name__)


class RunPublishers:
    """One `RunPublisher` for each run that has begun and still needs something."""

    def __init__(self, prepare_after: float | None, journals: JournalDirectory | None, tally: Tally) -> None:
        """`journals`: where those of the runs are set aside, and faults noted."""
        self._prepare_after = prepare_after
        self._journals = journals
        self._tally = tally
        self._runs: dict[RunFeed, RunPublisher] = {}
        self._rows_of_closed_runs = 0

    def __iter__(self) -> Iterator[RunPublisher]:
        return iter(self._runs.values())

    def __bool__(self) -> bool:
        return bool(self._runs)

    @property
    def rows(self) -> int:
        """Rows that Redis has acknowledged, over all runs and streams, closed runs included."""
        return self._rows_of_closed_runs + sum(run.rows for run in list(self._runs.values()))

    @property
    def replaying(self) -> bool:
        """Whether one of them is being published from its journal."""
        return any(run.replaying for run in self)

    @property
    def waits_to_prepare(self) -> bool:
        """Whether `prepare_if_due` of one of them has to be called from time to time."""
        return any(run.waits_to_prepare for run in self)

    def adopt(self, feed: RunFeed, orphan: Orphan) -> None:
        """Take a run whose owner is gone."""
        self._runs[feed] = RunPublisher(feed, self._prepare_after, orphan)

    def take(self, batch: Batch) -> None:
        """Hand their documents to the runs; a run begins with its first ones."""
        for feed, documents in batch.items():
            run = self._runs.get(feed)
            if run is None:
                run = self._runs[feed] = RunPublisher(feed, self._prepare_after)
            with self.abandoning(run):
                run.take(documents)
            if feed.broken:
                self._abandon(run, feed.broken)

    @contextmanager
    def abandoning(self, run: RunPublisher, passed: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """What is wrong with one run ends the publishing of that run only; `passed` errors are not about the run."""
        try:
            yield
        except passed:
            raise
        except RunAbandonedError as error:
            self._abandon(run, str(error))
        except Exception:
            logger.exception("publishing failed unexpectedly; please report this")
            self._abandon(run, "an unexpected error, see the log")

    def acknowledge(self) -> Iterator[tuple[RunFeed, RunPublisher]]:
        """Count what is done. Gives the runs that need nothing more, and has forgotten them."""
        for feed, run in list(self._runs.items()):
            if run.pending:  # stopped in mid-outage, or published again part by part
                continue
            done = run.acknowledge()
            self._tally.finish(feed, feed.given - feed.done if feed.broken else done, acknowledged=not run.abandoned)
            if run.closed or feed.broken or (run.abandoned and run.orphaned):
                self._rows_of_closed_runs += run.rows
                del self._runs[feed]
                yield feed, run

    def set_aside(self, feed: RunFeed, run: RunPublisher) -> None:
        """Put the journal where it belongs, of a run that is done or was abandoned."""
        try:
            if self._journals is not None and feed.journal is not None:
                if run.abandoned:
                    self._journals.abandon(feed.journal)
                else:
                    self._journals.finish(feed.journal, needed=bool(run.left_out))
        except Exception:
            logger.exception("run %s: its journal could not be set aside; report this", feed.uid)

    def set_abandoned_aside(self) -> None:
        """The same for those that were abandoned, when nobody will go on."""
        for feed, run in list(self._runs.items()):
            if run.abandoned:
                self.set_aside(feed, run)

    def _abandon(self, run: RunPublisher, reason: str) -> None:
        if not run.abandoned:
            run.abandon(reason)
            if self._journals is not None:
                self._journals.note(f"run {run.uid} is not published any further: {reason}")
