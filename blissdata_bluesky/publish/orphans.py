"""Runs that were begun by processes that are gone, on their way to a publisher: one after the other."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from ..journal import RunJournal
from .feed import RunFeed
from .left_behind import LeftBehind
from .run import Orphan, RunPublisher

logger = logging.getLogger(__name__)


class Orphans:
    """The queue of such runs. Filled by any thread, emptied by the publisher's."""

    def __init__(self, look_seconds: float | None) -> None:
        """`look_seconds`: how often it is looked for more; None: when `watch` is called, and not again."""
        self.done: list[str] = []
        """One sentence for each run that needs nothing more."""
        self._told_later: list[str] = []
        self._look_seconds = look_seconds
        self._looked = 0.0
        self._left_behind: LeftBehind | None = None
        self._adopted: deque[tuple[RunJournal, bool]] = deque()
        self._current: RunFeed | None = None
        self._choosing = False

    def watch(self, left_behind: LeftBehind) -> bool:
        """Take what is left behind in a directory. Whether there is, or may be, something to do."""
        left_behind.look()
        self._left_behind, self._looked = left_behind, time.monotonic()
        return bool(left_behind) or self._look_seconds is not None

    def adopt(self, journal: RunJournal, *, raises_deleted: bool) -> None:
        """Take one journal; `raises_deleted`: also when its scan was deleted."""
        self._adopted.append((journal, raises_deleted))

    @property
    def waiting(self) -> bool:
        """Whether one can be begun."""
        return self._current is None and bool(self._adopted or self._left_behind)

    @property
    def busy(self) -> bool:
        """Whether something is waiting or on its way."""
        # in the order in which a run passes them
        return bool(self._adopted or self._left_behind) or self._choosing or self._current is not None

    def next(self, is_known: Callable[[str], bool]) -> tuple[RunFeed, Orphan] | None:
        """The next run, unless one is on its way or none is left. Runs that are known already are left alone."""
        self._look()
        if not self.waiting:
            return None
        # whoever waits for `busy` must not find a gap here
        self._choosing = True
        try:
            return self._choose(is_known)
        finally:
            self._choosing = False

    def forget(self, feed: RunFeed, run: RunPublisher) -> None:
        """A run needs nothing more."""
        if feed is not self._current:
            return
        self._current = None
        self.done.append(_sentence(feed, run))
        logger.info(self.done[-1])
        # why a run was abandoned has been said
        self._told_later += [] if run.abandoned else self.done[-1:]
        if not self.busy:
            self._tell()

    def _tell(self) -> None:
        """One message, however many runs there were."""
        if not self._told_later:
            return
        first, *others = self._told_later
        more = f"; and {len(others)} more runs, see the log at level INFO or `statistics()`" if others else ""
        logger.warning("%s%s", first, more)
        self._told_later.clear()

    def _look(self) -> None:
        if self._left_behind is None or self._look_seconds is None:
            return
        if time.monotonic() - self._looked > self._look_seconds:
            self._looked = time.monotonic()
            self._left_behind.look()

    def _choose(self, is_known: Callable[[str], bool]) -> tuple[RunFeed, Orphan] | None:
        journal, raises_deleted = self._adopted.popleft() if self._adopted else (self._take(), False)
        if journal is None:
            # what was left could not be taken
            self._tell()
            return None
        if is_known(journal.header.uid):
            journal.close()
            return None
        self._current, orphan = _orphan(journal, raises_deleted=raises_deleted)
        return self._current, orphan

    def _take(self) -> RunJournal | None:
        return self._left_behind.take() if self._left_behind is not None else None


def _orphan(journal: RunJournal, *, raises_deleted: bool) -> tuple[RunFeed, Orphan]:
    header = journal.header
    if journal.excess:
        logger.warning(
            "run %s: journal %s is whole up to byte %d; the %d bytes after it are torn or damaged and are left out",
            header.uid,
            journal.path,
            journal.size,
            journal.excess,
        )
    feed = RunFeed(header.uid, header.publisher, header.identity, journal)
    feed.offset = journal.size
    reason = journal.damage.reason if journal.damage else header.owner_died
    return feed, Orphan(reason, journal.path.stat().st_mtime, raises_deleted)


def _sentence(feed: RunFeed, run: RunPublisher) -> str:
    if run.abandoned:
        return f"run {feed.uid}, left behind by a process that is gone, could not be published: {run.abandoned}"
    if not run.begun:
        return f"the journal of run {feed.uid} holds no whole document: there is nothing to publish"
    if not run.sent:
        return f"run {feed.uid}: Redis has all of it already"
    end = f"it is marked as incomplete, for {run.incomplete}" if run.incomplete else "it is whole"
    return (
        f"run {feed.uid}, left behind by a process that is gone, has been published from its journal: {run.rows} rows, "
        f"{end}"
    )
