"""P4: Redis loses everything in the middle of a run, and gets it again with the same keys and entries."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import redis

from blissdata_bluesky.protocol import scan_key, stream_key
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter
from tests.proxy import Proxy
from tests.system.collected import load
from tests.system.published import Published
from tests.system.tiled_runs import eventually

from .figure import Figure

MOMENTS = ("before the first row", "between rows", "before CLOSED is acknowledged")
WAYS = ("FLUSHALL", "restarted empty")
ROWS = 30


@dataclass(frozen=True)
class Outcome:
    """What was found after one loss."""

    whole: bool
    """All columns are equal to what was given, and the scan is closed."""
    same_entries: bool
    """Every entry that was there before came again, as it was."""
    readers_went_on: bool
    """A blissdata cursor and a `Run` that were in mid-stream gave each row once, in order."""


def flushall(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.flushall()


def restart(server: RedisServer) -> None:
    os.kill(server.pid or 0, signal.SIGKILL)
    if not server.wait(60):
        raise TimeoutError("the server has not ended")
    server.start()


LOSSES: dict[str, Callable[[RedisServer], None]] = {"FLUSHALL": flushall, "restarted empty": restart}


def lose(moment: str, way: str) -> Outcome:
    """Publish one run with every kind of column, and lose Redis at this moment in this way."""
    with _parts() as (server, proxy, writer):
        published = Published(writer)
        if moment != MOMENTS[0]:
            for batch in (1, ROWS - 3, 2):
                published.events(batch)
                _flush(writer)
        _flush(writer)
        before = _entries(server, published.run.uid)
        with _readers(server, published.run.uid, has_rows=moment != MOMENTS[0]) as finish:
            if moment == MOMENTS[2]:
                # else the writer might have come again before
                proxy.cut_request(b"end_time", 0, meanwhile=lambda: LOSSES[way](server))
                published.stop()
                eventually(lambda: proxy.faults)
            else:
                LOSSES[way](server)
                published.events(ROWS)
                published.stop()
            whole = _is_whole(published, server.url)
            after = _entries(server, published.run.uid)
            same = all(after[key][: len(rows)] == rows for key, rows in before.items())
            return Outcome(whole, same, finish(published))


@contextmanager
def _parts() -> Iterator[tuple[RedisServer, Proxy, BlissdataWriter]]:
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer() as server,
        Proxy(server.port) as proxy,
        BlissdataWriter(proxy.url, journal=Path(directory)) as writer,
    ):
        yield server, proxy, writer


@contextmanager
def _readers(server: RedisServer, uid: str, *, has_rows: bool) -> Iterator[Callable[[Published], bool]]:
    """An unmodified blissdata cursor and a `Run`, which have read the first rows; the rest is read when all is over."""
    with RedisRuns(server.url) as runs:
        run = runs.get(uid)
        cursor = load(server.url, uid).streams["primary:integer"].cursor() if has_rows else None
        seen = list(cursor.read().get_data()) if cursor else []
        early = list(run.streams["primary"].read("integer"))

        def finish(published: Published) -> bool:
            expected = published.collector.streams(uid).get("primary:integer", [])
            while cursor and len(seen) < len(expected):
                seen.extend(cursor.read(timeout=60).get_data())
            run.refresh()
            late = list(run.streams["primary"].read("integer"))
            return (not cursor or seen == expected) and early == expected[: len(early)] and late == expected

        yield finish


def _flush(writer: BlissdataWriter) -> None:
    if not writer.flush(90):
        raise TimeoutError("Redis has not acknowledged what it was given")


def _is_whole(published: Published, url: str) -> bool:
    try:
        published.assert_whole(url)
    except AssertionError:
        return False
    return True


def _entries(server: RedisServer, uid: str) -> dict[str, list[Any]]:
    with redis.Redis.from_url(server.url) as client:
        models = client.json().get(scan_key(uid))["data_streams"].values()
        return {key: client.xrange(key) for model in models for key in [stream_key(model["pk"])]}


def figures(short: bool) -> list[Figure]:
    outcomes = [lose(moment, way) for moment, way in product(MOMENTS, WAYS) for _ in range(1 if short else 10)]
    counted = {
        "runs whole after Redis lost them": sum(outcome.whole for outcome in outcomes),
        "every earlier entry came again as it was": sum(outcome.same_entries for outcome in outcomes),
        "readers in mid-stream went on": sum(outcome.readers_went_on for outcome in outcomes),
    }
    total = len(outcomes)
    return [Figure("P4", what, f"{found} of {total}", "all", found == total) for what, found in counted.items()]
