"""Redis goes away, loses replies, comes back: every row is published exactly once, in order, and the log is short."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from blissdata import DataStore

from blissdata_bluesky import writer as writer_module
from blissdata_bluesky.protocol import documents_key, scan_key
from blissdata_bluesky.publish import feed as feed_module
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter
from tests.proxy import Proxy

from .collected import keys_left, load
from .published import SCALARS, Published, levels
from .tiled_runs import eventually


@pytest.fixture
def proxy(redis_server: RedisServer, redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


REPLIES = {
    "creation": b"_SCAN_HISTORY_",
    "the second document": b"descriptor",
    "rows": b"payload",
    "a state": b"JSON.SET",
    "the seals": b"seal_stream",
}


@pytest.mark.parametrize("request_with", REPLIES.values(), ids=REPLIES)
def test_a_reply_that_is_lost_after_execution_neither_doubles_nor_loses_rows(
    redis_url: str, proxy: Proxy, tmp_path: Path, request_with: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with BlissdataWriter(proxy.url, journal=tmp_path) as writer:
        proxy.lose_reply(request_with)
        published = Published(writer)
        for _ in range(5):
            published.events(10)
            time.sleep(0.01)
        published.stop()
        published.assert_whole(redis_url)
    assert proxy.faults == 1
    assert levels(caplog) == ["WARNING", "WARNING"]


@pytest.mark.parametrize("after", [40, 300, 1200, 3000, 8000])
def test_a_pipeline_that_is_cut_in_the_middle_is_continued_there(
    redis_url: str, proxy: Proxy, tmp_path: Path, after: int
) -> None:
    with BlissdataWriter(proxy.url, journal=tmp_path) as writer:
        published = Published(writer)
        assert writer.flush(90)
        proxy.cut_request(b"payload", after)
        published.events(50)
        proxy.cut_request(b"payload", after + 7)
        published.events(20)
        published.stop()
        published.assert_whole(redis_url)
    assert proxy.faults >= 1


def test_a_server_that_comes_back_with_its_data_gets_the_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        RedisServer(directory=tmp_path / "redis") as server,
        BlissdataWriter(server.url, journal=tmp_path / "journal") as writer,
    ):
        published, other = Published(writer), Published(writer, SCALARS)
        published.events(30)
        other.events(5)
        assert writer.flush(90)
        server.stop()
        published.events(30)
        other.events(5)
        other.stop()
        later = Published(writer, SCALARS)
        later.events(3)
        assert not writer.flush(0.3)
        assert writer.statistics().queued > 0
        assert writer.statistics().lag > 0
        server.start()
        published.events(10)
        for run in (published, later):
            run.stop()
        for run in (published, other, later):
            run.assert_whole(server.url)
    assert levels(caplog) == ["WARNING", "WARNING"]


def test_runs_are_taken_before_the_server_is_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = RedisServer()
    with BlissdataWriter(server.url, journal=tmp_path) as writer:
        published = Published(writer)
        published.events(20)
        published.stop()
        assert not writer.flush(0.3)
        assert levels(caplog) == ["WARNING"]
        assert str(tmp_path) in caplog.text
        with server:
            published.assert_whole(server.url)
    assert levels(caplog) == ["WARNING", "WARNING"]


@pytest.mark.parametrize("limit", [1, 500, 5000])
def test_documents_beyond_the_memory_limit_wait_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(writer_module, "_MEMORY_LIMIT", limit)
    monkeypatch.setattr(feed_module, "BATCH_BYTES", 2000)
    server = RedisServer()
    with BlissdataWriter(server.url, journal=tmp_path) as writer:
        runs = [Published(writer, SCALARS) for _ in range(3)]
        for _ in range(10):
            for run in runs:
                run.events(10)
        assert writer._publisher.intake.waiting_bytes <= limit
        with server:
            for run in runs:
                run.events(10)
            for run in runs:
                run.stop()
            for run in runs:
                run.assert_whole(server.url)


def test_rows_keep_their_order_while_a_run_leaves_and_enters_the_journal(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "_MEMORY_LIMIT", 2000)
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        published = Published(writer, SCALARS)
        for _ in range(200):
            published.events(20)
        published.stop()
        published.assert_whole(redis_url)


def test_without_a_journal_runs_are_published(redis_url: str) -> None:
    with BlissdataWriter(redis_url, journal=None) as writer:
        published = Published(writer)
        published.events(10)
        published.stop()
        published.assert_whole(redis_url)


def test_without_a_journal_what_finds_no_room_is_lost_and_said_once_a_run(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer_module, "_MEMORY_LIMIT", 3000)
    server = RedisServer()
    with BlissdataWriter(server.url, journal=None) as writer:
        first = Published(writer, SCALARS)
        first.events(100)
        left_out = Published(writer, SCALARS, note="x" * 3000)
        left_out.events(10)
        assert levels(caplog) == ["WARNING", "ERROR", "ERROR"]
        with server:
            assert not writer.flush(60), "documents were given up"
            first.stop()
            left_out.stop()
            assert writer.flush(90)
            scan = load(server.url, first.run.uid)
            assert 0 < len(scan.streams["primary:number"]) < 100
            assert scan.info["end_reason"] == "FAILURE", "a run that lacks rows must not look whole"
            with redis.Redis.from_url(server.url) as client:
                assert not client.exists(scan_key(left_out.run.uid), documents_key(left_out.run.uid))
    assert levels(caplog) == ["WARNING", "ERROR", "ERROR", "WARNING"]


@pytest.mark.parametrize("damage", ["removed", "cut"])
def test_a_journal_that_is_damaged_under_the_writer_ends_at_most_that_run(
    redis_url: str,
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    monkeypatch.setattr(writer_module, "_MEMORY_LIMIT", 3000)
    monkeypatch.setattr(feed_module, "BATCH_BYTES", 500)
    redis_server.stop()
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        broken = Published(writer, SCALARS)
        broken.events(100)
        [path] = tmp_path.glob("*.journal")
        if damage == "removed":
            path.unlink()
        else:
            with path.open("r+b") as file:
                file.truncate(5000)
        redis_server.start()
        eventually(lambda: writer.statistics().queued == 0)
        broken.events(5)
        broken.stop()
        if damage == "removed":
            # its owner has it open
            broken.assert_whole(redis_url)
        else:
            assert not writer.flush(1)
            DataStore(redis_url).delete_scan(scan_key(broken.run.uid), force=True)
        good = Published(writer, SCALARS)
        good.events(5)
        good.stop()
        good.assert_whole(redis_url)
    assert levels(caplog).count("ERROR") == 1


@pytest.mark.parametrize("then", ["events", "descriptor", "stop"])
def test_a_scan_that_is_deleted_stays_deleted_and_other_runs_go_on(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, then: str
) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        deleted = Published(writer, SCALARS)
        deleted.events(10)
        assert writer.flush(90)
        DataStore(redis_url).delete_scan(scan_key(deleted.run.uid), force=True)
        if then == "events":
            deleted.events(10)
        if then == "descriptor":
            writer(*deleted.run.describe("dark"))
        writer.flush(60)
        deleted.stop()
        writer.flush(60)
        assert keys_left(redis_url, deleted.run.uid) == []
        good = Published(writer)
        good.events(3)
        good.stop()
        good.assert_whole(redis_url)
    assert levels(caplog) == ["ERROR"]
    assert deleted.run.uid in caplog.text
    assert len(list(tmp_path.glob("*.abandoned-journal"))) == 1


def test_a_run_that_redis_refuses_for_good_does_not_hold_up_the_others(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        refused = Published(writer, SCALARS)
        assert writer.flush(90)
        with redis.Redis.from_url(redis_url) as client:
            client.delete(documents_key(refused.run.uid))
            client.set(documents_key(refused.run.uid), "not ours")
        writer(*refused.run.describe("dark"))
        good = Published(writer, SCALARS)
        good.events(3)
        good.stop()
        refused.stop()
        assert not writer.flush(60), "the refused run is given up"
        good.assert_whole(redis_url)
        DataStore(redis_url).delete_scan(scan_key(refused.run.uid), force=True)
    assert levels(caplog) == ["ERROR"]


def test_a_full_server_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer() as server, BlissdataWriter(server.url, journal=tmp_path) as writer:
        published = Published(writer, SCALARS)
        published.events(10)
        assert writer.flush(90)
        with redis.Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1mb")
            published.events(10)
            published.stop()
            assert not writer.flush(0.3)
            client.config_set("maxmemory", "0")
        published.assert_whole(server.url)
    assert levels(caplog) == ["WARNING", "WARNING"]


def test_closing_during_an_outage_returns_in_time_and_keeps_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = BlissdataWriter(RedisServer().url, journal=tmp_path)
    published = Published(writer, SCALARS)
    published.events(10)
    flushed: list[bool] = []
    waiting = threading.Thread(target=lambda: flushed.append(writer.flush()))
    waiting.start()
    assert not writer.close(0.2)
    waiting.join(60)
    assert flushed == [False]
    assert len(list(tmp_path.glob("*.journal"))) == 1
    assert levels(caplog) == ["WARNING", "WARNING"]
    assert "12 documents" in caplog.records[-1].getMessage()
    assert caplog.records[-1].levelno == logging.WARNING
