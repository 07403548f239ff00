"""P1: a scan takes no longer beside a Redis that is slow."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import bluesky.plans as bp
from blissdata import DataStore
from bluesky.run_engine import RunEngine
from ophyd.sim import det

from blissdata_bluesky import BlissdataWriter
from blissdata_bluesky.protocol import scan_key
from tests.proxy import Fault

from .bench import Bench, bench
from .figure import Figure

_CAUGHT_UP_SECONDS = 60.0


@contextmanager
def run_engine() -> Iterator[RunEngine]:
    """A RunEngine whose thread ends."""
    loop = asyncio.new_event_loop()
    engine = RunEngine({}, loop=loop)
    try:
        yield engine
    finally:
        loop.call_soon_threadsafe(loop.stop)
        engine._th.join()
        loop.close()


@dataclass(frozen=True)
class Slowdown:
    """The same scan beside a Redis that answers at once, and one that is slow."""

    prompt: float
    """Seconds, median."""
    delayed: float
    rows: int
    """Rows of the last delayed scan in Redis, afterwards."""


def slow_redis(events: int, delay: float, repeats: int) -> Slowdown:
    """Scans of a RunEngine, in turns straight to Redis and with each command delayed."""
    prompt, delayed, rows = [], [], 0
    with tempfile.TemporaryDirectory() as directory, bench(Path(directory) / "redis", delay) as there:
        for number in range(repeats):
            seconds, _ = _scan(there, there.server.url, Path(directory) / f"p{number}", events)
            prompt.append(seconds)
            with there.proxy.spoilt(Fault.DELAY):
                seconds, rows = _scan(there, there.proxy.url, Path(directory) / f"d{number}", events)
            delayed.append(seconds)
    return Slowdown(median(prompt), median(delayed), rows)


def _scan(there: Bench, url: str, journal: Path, events: int) -> tuple[float, int]:
    with run_engine() as engine, BlissdataWriter(url, journal=journal) as writer:
        engine.subscribe(writer)
        began = time.perf_counter()
        uid = engine(bp.count([det], num=events))[0]
        seconds = time.perf_counter() - began
        writer.flush(_CAUGHT_UP_SECONDS)
    return seconds, len(DataStore(there.server.url).load_scan(scan_key(uid)).streams["primary:det"])


def figures(short: bool) -> list[Figure]:
    events, repeats = (200, 3) if short else (1000, 7)
    slow = slow_redis(events, 0.5, repeats)
    percent = (slow.delayed / slow.prompt - 1) * 100
    return [
        Figure(
            "P1",
            f"a scan of {events} events, each Redis command delayed by 500 ms; {slow.prompt:.2f} s without delay",
            f"{percent:+.1f} %",
            "≤ 5 %",
            percent <= 5 and slow.rows == events,
        )
    ]
