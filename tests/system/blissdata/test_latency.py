"""A blissdata reader in another process sees each event soon after it was emitted, and all of them in order."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import bluesky.plans as bp
import numpy as np
from blissdata import DataStore
from bluesky.run_engine import RunEngine

from blissdata_bluesky.writer import BlissdataWriter

from .blissdata_runs import Beamline, follow, wait_until_blocked

EVENTS, HERTZ = 200, 200


def test_another_process_gets_every_event_of_a_fast_run(RE: RunEngine, any_redis_url: str, tmp_path: Path) -> None:
    """The printed figures are for `pytest -s`: on a busy machine they say nothing."""
    with (
        BlissdataWriter(any_redis_url, journal=tmp_path) as writer,
        multiprocessing.get_context("spawn").Pool(1) as pool,
    ):
        following = pool.apply_async(follow, (any_redis_url, "primary:time"))
        wait_until_blocked(DataStore(any_redis_url))
        RE(bp.count([Beamline().scalar], EVENTS, delay=1 / HERTZ), writer)
        indices, emitted, arrived = zip(*following.get(timeout=60), strict=True)
    assert indices == tuple(range(EVENTS))
    latencies = np.subtract(arrived, emitted)
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3
    print(f"latency from event time to blissdata reader: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
