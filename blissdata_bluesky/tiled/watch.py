"""Looking at Redis again and again: which runs have started, stopped and gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import BlissdataBlueskyError, RunNotFoundError, RunUnavailableError
from ..protocol import DELETED_TTL, ScanState, scan_key, state_pk, stream_key
from ..runs import RedisRuns, Run
from ..runs.link import Command, RedisLink, raw_entries

logger = logging.getLogger(__name__)

# the longest that a stop document waits until it is seen
LOOK_MS = 200
SWEEP_SECONDS = 1.0
# A scan is in the history before its documents are there. Of the old ones, only the last can be so young.
_DOCUMENTS_SECONDS = 5.0
_MAY_BE_YOUNG = 8
_ABOUT = "the list of runs"


@dataclass
class News:
    """What one look at Redis found."""

    started: list[Run] = field(default_factory=list)
    """Runs that were not seen before, some of which may have stopped meanwhile."""
    stopped: list[Run] = field(default_factory=list)
    """Runs whose stop document the list does not have yet."""
    gone: list[str] = field(default_factory=list)


class Watch:
    """What one reader has seen in Redis. Its methods wait for Redis; one thread at a time.

    `listed`: the runs that are on the list already, each with whether its stop document is.
    """

    def __init__(self, runs: RedisRuns, link: RedisLink, listed: Mapping[str, bool]) -> None:
        self._runs = runs
        self._link = link
        self._listed = dict(listed)
        self._since: str | None = None
        self._unresolved: dict[str, float] = {}
        self._open: dict[str, Run] = {}
        self._swept = 0.0

    def look(self) -> News:
        """What has changed since the last look, for which it waits a little. Raises RunUnavailableError."""
        news = News()
        self._look_at_history(news)
        self._look_at_open(news)
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            news.gone += self._gone(self._listed.keys() - self._open.keys())
        for uid in news.gone:
            self._listed.pop(uid, None)
            self._open.pop(uid, None)
        return news

    def start_again(self) -> None:
        """Read the whole history once more: another Redis may have come back, or the list was not brought up to date."""
        self._since = None

    def _look_at_history(self, news: News) -> None:
        wait = None if self._since is None or self._unresolved else LOOK_MS
        self._since, keys = self._runs.history(self._since, wait)
        now = time.monotonic()
        self._unresolved |= dict.fromkeys(keys, now) | dict.fromkeys(keys[-_MAY_BE_YOUNG:], now + _DOCUMENTS_SECONDS)
        for run in self._resolved(now):
            if not self._listed.get(run.uid, True) and run.stop is not None:
                news.stopped.append(run)
            news.started.append(run)
            self._listed[run.uid] = run.stop is not None
            if not run.closed:
                self._open[run.uid] = run

    def _resolved(self, now: float) -> list[Run]:
        found: list[Run] = []
        for key, deadline in list(self._unresolved.items()):
            try:
                found.append(self._runs.get_by_key(key))
            except RunNotFoundError:
                # not written by us, or deleted, or not here yet
                if now < deadline:
                    continue
            except RunUnavailableError:
                raise
            except BlissdataBlueskyError as error:
                logger.warning("left out of %s: %s", _ABOUT, error)
            del self._unresolved[key]
        return found

    def _look_at_open(self, news: News) -> None:
        uids = list(self._open)
        gone = self._gone(uids)
        states: list[Command] = [("XREVRANGE", stream_key(state_pk(uid)), "+", "-", "COUNT", 1) for uid in uids]
        for uid, answer in zip(uids, self._link.ask(states, _ABOUT), strict=True):
            if uid not in gone and answer and int(raw_entries(answer)[0][1][b"state"]) == ScanState.CLOSED:
                self._close(self._open.pop(uid), news)
        news.gone += gone

    def _close(self, run: Run, news: News) -> None:
        try:
            run.refresh()
        except RunNotFoundError:
            news.gone.append(run.uid)
            return
        if run.stop is not None:
            self._listed[run.uid] = True
            news.stopped.append(run)

    def _gone(self, uids: Iterable[str]) -> list[str]:
        uids = list(uids)
        lifetimes = self._link.ask([("TTL", scan_key(uid)) for uid in uids], _ABOUT)
        return [uid for uid, ttl in zip(uids, lifetimes, strict=True) if ttl == -2 or 0 <= ttl <= DELETED_TTL]
