"""How long an event takes to a blocking reader in another process."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from blissdata.exceptions import EndOfStream
from blissdata.redis_engine.store import DataStore

from . import documents


def measure(url: str, publish: Callable[[str, dict[str, Any]], None], stream: str, rate: float, seconds: float) -> Any:
    """Seconds from the callback's call to the reader's return, one per event, at `rate` events/s.

    The reader is an unmodified blissdata cursor on one stream. Both clocks are the system's monotonic one.
    """
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    timetag = DataStore(url).get_last_scan_timetag()
    reader = multiprocessing.get_context("spawn").Process(target=_read, args=(url, stream, timetag, theirs))
    reader.start()
    if not ours.poll(60):
        raise RuntimeError("the reader did not start")
    ours.recv()
    _publish(publish, rate, round(rate * seconds))
    if not ours.poll(60):
        raise RuntimeError("the reader did not end")
    received: np.ndarray = ours.recv()
    reader.join(10)
    return received


def _publish(publish: Callable[[str, dict[str, Any]], None], rate: float, events: int) -> None:
    next_time = time.monotonic() + 0.5
    for name, document in documents.scalar_run(5, events):
        if name == "event":
            # a sleep may be late by a millisecond under load; the event bears the moment of its call
            time.sleep(max(0.0, next_time - time.monotonic()))
            next_time += 1 / rate
            document["data"]["key0"] = time.monotonic()
        publish(name, document)


def _read(url: str, stream: str, timetag: str, results: Connection) -> None:
    store = DataStore(url)
    results.send("ready")
    _, key = store.get_next_scan(since=timetag)
    scan = store.load_scan(key)
    while stream not in scan.streams:
        scan.update()
    cursor = scan.streams[stream].cursor()
    latencies: list[np.ndarray] = []
    try:
        while True:
            view = cursor.read()
            latencies.append(time.monotonic() - view.get_data())
    except EndOfStream:
        results.send(np.concatenate(latencies))
