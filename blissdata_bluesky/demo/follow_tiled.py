"""Following runs with a Tiled client: list what there is, and read whatever has grown."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from bluesky_tiled_plugins.queries import TimeRange
from tiled.client import from_uri

from .board import TILED
from .lag import Lag
from .tally import Report, View

POLL_SECONDS = 0.1


class TiledFollower:
    """Reads every run that started after `since` (seconds since the epoch), again and again until it has stopped."""

    def __init__(self, url: str, since: float) -> None:
        self._client = from_uri(url)
        self._runs = TimeRange(since=since)
        self._lags: dict[tuple[str, str], Lag] = defaultdict(Lag)

    def follow(self, tell: Callable[[Report], None]) -> None:
        """Report on runs for ever."""
        done: set[str] = set()
        while True:
            for uid, run in self._client.search(self._runs).items():
                if uid not in done:
                    view = self._look(uid, run)
                    tell(Report(TILED, uid, view))
                    done |= {uid} if view.done else set()
            time.sleep(POLL_SECONDS)

    def _look(self, uid: str, run: Any) -> View:
        # asked first: what is read after the stop is all there is
        stop = run.metadata.get("stop")
        view = View(stop["exit_status"] if stop else "running", done=stop is not None)
        for name in run:
            data, tally, lag = run[name].read(), view.stream(name), self._lags[uid, name]
            for key in data.variables:
                tally.add(key, data[key].values)
            lag.add(data["time"].values[len(lag) :])
            tally.lag = lag.median
        return view
