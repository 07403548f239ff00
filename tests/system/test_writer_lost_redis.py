"""Redis loses what it had acknowledged: the run is published again from its journal, with the same keys and entries."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import redis
from blissdata.redis_engine.store import DataStore as Store

from blissdata_bluesky.protocol import scan_key, stream_key
from blissdata_bluesky.publish import publisher as publisher_module
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .collected import load
from .published import SCALARS, Published, levels
from .tiled_runs import eventually


def entries(client: redis.Redis, uid: str) -> dict[str, list[Any]]:
    """Every data stream of the run."""
    models = client.json().get(scan_key(uid))["data_streams"].values()
    return {key: client.xrange(key) for model in models for key in [stream_key(model["pk"])]}


@pytest.mark.parametrize("moment", ["before rows", "in rows", "before stop"])
def test_an_emptied_redis_gets_the_run_again_entry_by_entry(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture, moment: str
) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        published = Published(writer)
        before: dict[str, list[Any]] = {}
        for batch in (1, 30, 1, 7):
            if moment != "before rows":
                published.events(batch)
            assert writer.flush(90)
            before = entries(redis_client, published.run.uid)
        redis_client.flushall()
        if moment != "before stop":
            published.events(10)
            assert writer.flush(90)
        published.stop()
        published.assert_whole(redis_url)
        after = entries(redis_client, published.run.uid)
        assert {key: after[key][: len(rows)] for key, rows in before.items()} == before
    assert levels(caplog) == ["WARNING", "WARNING"]
    assert "runs published again from their journals: 1" in caplog.text


def test_a_reader_in_mid_stream_goes_on(redis_url: str, redis_client: redis.Redis, tmp_path: Path) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        published = Published(writer, SCALARS)
        seen: list[float] = []
        for _ in range(5):
            published.events(3)
            assert writer.flush(90)
        cursor = load(redis_url, published.run.uid).streams["primary:number"].cursor()
        seen += list(cursor.read().get_data())
        redis_client.flushall()
        published.events(10)
        assert writer.flush(90)
        published.stop()
        while len(seen) < 25:
            seen += list(cursor.read(timeout=60).get_data())
        published.assert_whole(redis_url)
        assert seen == [index / 3 for index in range(25)]


def test_a_redis_that_is_emptied_in_a_pause_gets_the_run_without_a_further_document(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "_CHECK_SECONDS", 0.1)
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        published = Published(writer)
        published.events(10)
        assert writer.flush(90)
        redis_client.flushall()
        eventually(lambda: redis_client.exists(scan_key(published.run.uid)))
        published.stop()
        published.assert_whole(redis_url)


def test_a_restart_with_older_data_is_noticed_and_filled_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        RedisServer(directory=tmp_path / "redis") as server,
        BlissdataWriter(server.url, journal=tmp_path / "journal") as writer,
    ):
        published = Published(writer, ["number", "text"])
        published.events(10)
        assert writer.flush(90)
        with redis.Redis.from_url(server.url) as client:
            # from here on nothing reaches the disk
            client.config_set("appendonly", "no")
        published.events(20)
        assert writer.flush(90)
        os.kill(server.pid or 0, signal.SIGKILL)
        assert server.wait(60)
        server.start()
        published.events(1)
        published.stop()
        published.assert_whole(server.url)
    assert levels(caplog) == ["WARNING", "WARNING"]


def test_a_restart_without_any_data_in_mid_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = RedisServer()
    with server, BlissdataWriter(server.url, journal=tmp_path / "journal") as writer:
        runs = [Published(writer), Published(writer, SCALARS)]
        for run in runs:
            run.events(10)
        assert writer.flush(90)
        server.stop()
        server.start()
        for run in runs:
            run.events(10)
            run.stop()
        for run in runs:
            run.assert_whole(server.url)
        assert len(Store(server.url).search_existing_scans()[1]) == 2
    assert levels(caplog) == ["WARNING", "WARNING"]


def test_without_a_journal_the_run_is_given_up_and_said_once(
    redis_url: str, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    with BlissdataWriter(redis_url, journal=None) as writer:
        published = Published(writer, SCALARS)
        published.events(10)
        assert writer.flush(90)
        redis_client.flushall()
        published.events(10)
        published.stop()
        assert not writer.flush(60)
        assert not redis_client.exists(scan_key(published.run.uid))
    assert levels(caplog).count("ERROR") == 1
