"""Looking at Redis again and again: which runs have started, stopped and gone."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import BlissdataBlueskyError, RunNotFoundError, RunUnavailableError
from ..protocol import ScanState
from ..runs import RedisRuns, Run, StoredRun

logger = logging.getLogger(__name__)

# the longest that a stop document waits until it is seen
LOOK_MS = 200
SWEEP_SECONDS = 1.0


@dataclass
class News:
    """What one look at Redis found."""

    started: list[Run] = field(default_factory=list)
    """Runs that were not seen before, some of which may have stopped meanwhile."""
    stopped: list[Run] = field(default_factory=list)
    """Runs of which the list does not have yet how they ended."""
    gone: dict[str, str] = field(default_factory=dict)
    """The uids of runs that Redis has no longer, each with the path of its file as far as it was ever told, or ""."""


class Watch:
    """What one reader has seen in Redis. Its methods wait for Redis; one thread at a time.

    `listed`: the runs that are on the list already, each with whether its stop document is.
    """

    def __init__(self, runs: RedisRuns, listed: Mapping[str, bool]) -> None:
        self._runs = runs
        self._listed = dict(listed)
        self._since: str | None = None
        self._open: dict[str, StoredRun] = {}
        self._paths: dict[str, str] = {}
        self._swept = 0.0

    def look(self) -> News:
        """What has changed since the last look, for which it waits a little. Raises RunUnavailableError."""
        news = News()
        self._look_at_history(news)
        self._look_at_open(news)
        if time.monotonic() - self._swept > SWEEP_SECONDS:
            self._swept = time.monotonic()
            states = self._runs.states(self._listed.keys() - self._open.keys())
            news.gone |= {uid: self._paths.get(uid, "") for uid, state in states.items() if state is None}
        for uid in news.gone:
            self._listed.pop(uid, None)
            self._open.pop(uid, None)
            self._paths.pop(uid, None)
        return news

    def start_again(self) -> None:
        """Read the whole history once more: another Redis may have come back, or the list was not brought up to date."""
        self._since = None

    def _look_at_history(self, news: News) -> None:
        self._since, keys = self._runs.history(self._since, None if self._since is None else LOOK_MS, self._open)
        for key in keys:
            try:
                self._list(self._runs.get_by_key(key), news)
            except RunNotFoundError:
                # not written by us, or deleted
                continue
            except RunUnavailableError:
                raise
            except BlissdataBlueskyError as error:
                logger.warning("left out of the list of runs: %s", error)
            except Exception:
                # one run must not hide all that come after it
                logger.exception("left out of the list of runs: %s", key)

    def _list(self, run: StoredRun, news: News) -> None:
        ended = run.stop is not None or bool(run.incomplete)
        if not self._listed.get(run.uid, True) and ended:
            news.stopped.append(run)
        news.started.append(run)
        self._listed[run.uid] = ended
        if run.path:
            self._paths[run.uid] = run.path
        if not run.closed:
            self._open[run.uid] = run

    def _look_at_open(self, news: News) -> None:
        for uid, state in self._runs.states(self._open).items():
            if state is None:
                news.gone[uid] = self._paths.get(uid, "")
            elif state == ScanState.CLOSED:
                self._close(self._open.pop(uid), news)

    def _close(self, run: StoredRun, news: News) -> None:
        try:
            run.refresh()
        except RunNotFoundError:
            news.gone[run.uid] = run.path
            return
        self._listed[run.uid] = True
        news.stopped.append(run)
