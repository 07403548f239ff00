"""Following runs with blissdata: wait for the next scan, then for what comes in all of its streams."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from blissdata.exceptions import EndOfStream
from blissdata.redis_engine.scan import ScanState
from blissdata.redis_engine.store import DataStore
from blissdata.streams import CursorGroup

from .board import BLISSDATA
from .lag import Lag
from .tally import Report, View

WAIT_SECONDS = 0.2
# what stands beside the data of a stream
COMPANIONS = frozenset({"seq_num", "timestamps", "irregular"})


class BlissdataFollower:
    """Reads every scan that comes after it was made, one after the other."""

    def __init__(self, url: str) -> None:
        self._store = DataStore(url)
        self._since = self._store.get_last_scan_timetag()

    def follow(self, tell: Callable[[Report], None]) -> None:
        """Report on scans for ever."""
        while True:
            self._since, key = self._store.get_next_scan(since=self._since)
            _follow(self._store.load_scan(key), tell)


def _follow(scan: Any, tell: Callable[[Report], None]) -> None:
    view, lags = View(scan.state.name), defaultdict[str, Lag](Lag)
    report = Report(BLISSDATA, scan.dataset, view)
    while scan.state < ScanState.PREPARED:
        tell(report)
        scan.update()
    cursors = CursorGroup(scan.streams)
    with suppress(EndOfStream):
        while True:
            _count(cursors.read(timeout=WAIT_SECONDS), view, lags)
            scan.update(block=False)
            view.state = scan.state.name
            tell(report)
    while scan.state < ScanState.CLOSED:
        scan.update()
    view.state, view.done = scan.state.name, True
    tell(report)


def _count(read: dict[Any, Any], view: View, lags: dict[str, Lag]) -> None:
    for stream, rows in read.items():
        name, _, key = stream.name.partition(":")
        if key in COMPANIONS:
            continue
        tally, values = view.stream(name), rows.get_data()
        tally.add(key, values)
        if key == "time":
            lags[name].add(values)
            tally.lag = lags[name].median
