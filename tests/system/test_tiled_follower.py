"""The list of runs follows Redis: what starts, stops, is deleted, and a Redis that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import dask
import httpx
import pytest
from blissdata.redis_engine.store import DataStore
from tiled.client import from_uri
from tiled.client.utils import ClientError

from blissdata_bluesky.connection import open_client
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.tiled.follower import Follower
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, eventually, publish, row, started, stopped


def test_starts_and_stops_are_listed(writer: BlissdataWriter, client: Any) -> None:
    run = Run(scan_id=1)
    publish(writer, [run.start, run.describe()])
    assert "stop" not in started(client, run.uid).metadata
    publish(writer, [run.event(row(0)), run.stop()])
    stopped(client, run.uid)


def test_runs_of_before_are_listed_in_order(writer: BlissdataWriter, redis_url: str) -> None:
    runs = [Run(began=1e9 + index, scan_id=index) for index in range(1, 6)]
    for run in runs:
        publish(writer, run.whole(1, ["number"]))
    with TiledServer(redis_url) as server, _client(server) as client:
        eventually(lambda: len(list(client)) == 5)
        assert list(client) == [run.uid for run in runs]


def test_deleted_runs_disappear(writer: BlissdataWriter, client: Any, redis_url: str) -> None:
    first, second = Run(scan_id=1), Run(scan_id=2)
    publish(writer, [*first.whole(1, ["number"]), *second.whole(1, ["number"])])
    held = stopped(client, second.uid)["primary"]
    store = DataStore(redis_url)
    store.delete_scan(scan_key(second.uid))
    with pytest.raises(ClientError, match="was it deleted"):
        held.read()
    eventually(lambda: list(client) == [first.uid])


def test_scans_of_others_are_left_out(writer: BlissdataWriter, client: Any, redis_url: str) -> None:
    store = DataStore(redis_url)
    identity = {"name": "bliss", "number": 1, "data_policy": "no_policy"}
    scan = store.create_scan(identity, {"name": "bliss"})
    run = Run(scan_id=1)
    publish(writer, run.whole(1, ["number"]))
    stopped(client, run.uid)
    assert list(client) == [run.uid]
    scan.prepare()
    scan.start()
    scan.stop()
    scan.close()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis that may be ended."""
    with RedisServer() as redis:
        yield redis


def test_redis_goes_away_and_comes_back(own_redis: RedisServer, tmp_path: Path) -> None:
    with TiledServer(own_redis.url) as server, _client(server) as client:
        first = Run(scan_id=1)
        with BlissdataWriter(own_redis.url, journal=tmp_path / "one") as writer:
            publish(writer, first.whole(2, ["number"]))
        stopped(client, first.uid)
        own_redis.stop()
        answer = _get(server, f"table/full/{first.uid}/primary/internal")
        assert answer.status_code == 503
        assert "does not answer" in answer.json()["detail"]
        assert list(client) == [first.uid]
        own_redis.start()
        # it kept nothing
        eventually(lambda: list(client) == [])
        assert _get(server, f"metadata/{first.uid}").status_code == 404
        second = Run(scan_id=2)
        with BlissdataWriter(own_redis.url, journal=tmp_path / "two") as writer:
            publish(writer, second.whole(2, ["number"]))
        assert stopped(client, second.uid)["primary"].read().sizes["time"] == 2


def test_an_emptied_redis_empties_the_list(writer: BlissdataWriter, client: Any, redis_url: str) -> None:
    run = Run(scan_id=1)
    publish(writer, run.whole(2, ["number"]))
    stopped(client, run.uid)
    with open_client(redis_url) as redis:
        redis.delete(scan_key(run.uid))
    eventually(lambda: list(client) == [])


def test_a_catalog_that_is_kept(writer: BlissdataWriter, redis_url: str, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.db"
    runs = [Run(scan_id=index) for index in range(3)]
    publish(writer, runs[0].whole(1, ["number"]))
    publish(writer, [runs[1].start, runs[1].describe(keys=["number"])])
    with TiledServer(redis_url, catalog=catalog) as server, _client(server) as client:
        stopped(client, runs[0].uid)
        started(client, runs[1].uid)
    publish(writer, [runs[1].event({"number": 1.0}), runs[1].stop(), *runs[2].whole(1, ["number"])])
    with open_client(redis_url) as redis:
        redis.delete(scan_key(runs[0].uid))
    with TiledServer(redis_url, catalog=catalog) as server, _client(server) as client:
        eventually(lambda: list(client) == [runs[1].uid, runs[2].uid])
        assert stopped(client, runs[1].uid).stop["num_events"] == {"primary": 1}
        stopped(client, runs[2].uid)


def test_runs_with_bad_times_hide_no_others(writer: BlissdataWriter, client: Any, redis_url: str) -> None:
    runs = [Run(scan_id=index) for index in range(6)]
    for run, bad in zip(runs[1:5], (None, "now", {"nested": [1]}, "nan"), strict=True):
        run.start[1]["time"] = bad
    for run in runs:
        publish(writer, run.whole(1, ["number"]))
    uids = {run.uid for run in runs}
    eventually(lambda: uids <= {*client})
    with TiledServer(redis_url) as server, _client(server) as fresh:
        eventually(lambda: uids <= {*fresh})


class _Poisoned:
    """A catalog that cannot register one uid, and stumbles once for no reason."""

    def __init__(self, poison: str) -> None:
        self.listed: list[str] = []
        self._poison = poison
        self._stumbled = False

    async def uids(self) -> dict[str, bool]:
        return {}

    async def remove(self, uids: list[str]) -> None:
        if not self._stumbled:
            self._stumbled = True
            raise ZeroDivisionError

    async def register_many(self, runs: list[Any]) -> None:
        for run in runs:
            await self.register(run.uid)

    async def register(self, uid: str, *_: Any) -> None:
        if uid == self._poison:
            raise ValueError("cannot be written")
        if uid not in self.listed:
            self.listed.append(uid)

    async def update(self, run: Any) -> None:
        pass


def test_a_run_that_cannot_be_registered_is_left_out(
    writer: BlissdataWriter, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    runs = [Run(scan_id=index) for index in range(3)]
    for run in runs:
        publish(writer, run.whole(1, ["number"]))
    catalog = _Poisoned(runs[1].uid)

    async def follow() -> None:
        with RedisRuns(redis_url) as source:
            follower = Follower(source, cast("Any", catalog))
            task = asyncio.create_task(follower.run())
            await asyncio.to_thread(eventually, lambda: {runs[0].uid, runs[2].uid} <= {*catalog.listed})
            assert not task.done()
            await follower.stop()

    asyncio.run(follow())
    assert [runs[1].uid in record.message for record in caplog.records if "left out" in record.message] == [True]
    assert any(record.exc_info and "trying again" in record.message for record in caplog.records)


class _client:
    """A client that leaves nothing behind."""

    def __init__(self, server: TiledServer) -> None:
        self._dask = dask.config.set(scheduler="synchronous")
        self._client = from_uri(server.url)

    def __enter__(self) -> Any:
        self._dask.__enter__()
        return self._client

    def __exit__(self, *details: object) -> None:
        self._client.context.http_client.close()
        self._dask.__exit__(*details)


def _get(server: TiledServer, path: str) -> httpx.Response:
    base = f"http://127.0.0.1:{server.port}/api/v1/"
    return httpx.get(base + path, headers={"Authorization": f"Apikey {server.api_key}"}, timeout=60)
