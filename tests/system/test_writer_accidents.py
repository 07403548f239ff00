"""Accidents that a fresh pair of eyes thought of: keys deleted under a run, a directory that goes away, full at EXEC."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
import redis
from blissdata import ScanState

from blissdata_bluesky import writer as writer_module
from blissdata_bluesky.journal import Fate, JournalDirectory
from blissdata_bluesky.protocol import documents_key, scan_key, state_pk, stream_key, stream_pk
from blissdata_bluesky.publish.sending import _may_be_mended
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter
from tests.proxy import Fault, Proxy

from .collected import load
from .published import SCALARS, Published, levels
from .test_recovery import killed
from .tiled_runs import eventually

KEYS = {
    "a data stream": lambda uid: stream_key(stream_pk(uid, "primary:number")),
    "the states": lambda uid: stream_key(state_pk(uid)),
    "the documents": documents_key,
}


@pytest.mark.parametrize("what", KEYS)
@pytest.mark.parametrize("then", ["events", "stop"])
def test_a_key_that_is_deleted_under_a_run_comes_again(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path, what: str, then: str
) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        published = Published(writer, SCALARS)
        published.events(20)
        assert writer.flush(90)
        assert redis_client.delete(KEYS[what](published.run.uid))
        if then == "events":
            published.events(20)
        else:
            writer(*published.run.describe("dark"))
            published.collector(*published.run.describe("darker"))
        assert writer.flush(90)
        published.stop()
        assert writer.flush(90)
        scan = load(redis_url, published.run.uid)
        assert scan.state == ScanState.CLOSED
        if then == "events":
            assert list(scan.streams["primary:integer"][:]) == list(range(40))


def test_an_error_at_exec_is_waited_for(any_redis_url: str) -> None:
    with redis.Redis.from_url(any_redis_url) as client, redis.Redis.from_url(any_redis_url) as other:
        connection = client.connection_pool.get_connection()
        replies: list[object] = []
        try:
            for command in (("MULTI",), ("XADD", "some", "1-1", "payload", "x"), ("EXEC",)):
                if command[0] == "EXEC":
                    other.config_set("maxmemory", 1)
                connection.send_command(*command)
                try:
                    replies.append(connection.read_response())
                except redis.ResponseError as error:
                    replies.append(error)
        finally:
            other.config_set("maxmemory", 0)
            client.connection_pool.release(connection)
    assert isinstance(replies[-1], redis.ResponseError)
    assert _may_be_mended(replies[-1]), replies


def test_a_stream_that_somebody_seals_ends_that_run_with_one_sentence(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        published = Published(writer, SCALARS)
        published.events(5)
        assert writer.flush(90)
        redis_client.execute_command("FCALL", "seal_stream", 1, KEYS["a data stream"](published.run.uid))
        published.events(5)
        published.stop()
        assert not writer.flush(60)
        redis_client.delete(scan_key(published.run.uid))
    assert levels(caplog) == ["ERROR"]
    assert "has been sealed in Redis" in caplog.text


def test_a_journal_directory_that_goes_away_ends_nothing(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = tmp_path / "journal"
    with BlissdataWriter(redis_url, journal=journal) as writer:
        published = Published(writer, SCALARS)
        published.events(5)
        assert writer.flush(90)
        journal.rename(tmp_path / "elsewhere")
        published.events(5)
        published.stop()
        published.assert_whole(redis_url)
        later = Published(writer, SCALARS)
        later.events(5)
        later.stop()
        later.assert_whole(redis_url)
    assert levels(caplog) == ["ERROR", "ERROR"]


def test_many_short_runs_on_one_directory(redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as one, BlissdataWriter(redis_url, journal=tmp_path) as two:
        runs = [Published(writer, SCALARS) for _ in range(60) for writer in (one, two)]
        for run in runs:
            run.events(1)
            run.stop()
        assert one.flush(90) and two.flush(90)
        assert all(load(redis_url, run.run.uid).state == ScanState.CLOSED for run in runs)
    assert caplog.records == []
    assert len(JournalDirectory(tmp_path).paths(Fate.FINISHED)) == len(runs)


@pytest.mark.parametrize("journal", [True, False])
def test_a_stop_document_always_finds_room(
    redis_url: str, redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: bool
) -> None:
    monkeypatch.setattr(writer_module, "_MEMORY_LIMIT", 3000)
    with (
        Proxy(redis_server.port) as proxy,
        BlissdataWriter(proxy.url, journal=tmp_path if journal else None) as writer,
    ):
        published = Published(writer, SCALARS)
        assert writer.flush(90)
        proxy.begin(Fault.REFUSE)
        published.events(30)
        if journal:
            # from here on as on a full disk; what the journal has is read on
            [feed] = writer._publisher._feeds.values()
            feed.journal.failed = "no space"
        published.events(200)
        published.stop()
        proxy.end()
        assert not writer.flush(60), "documents were given up"
        scan = load(redis_url, published.run.uid)
        assert (scan.state, scan.info["end_reason"]) == (ScanState.CLOSED, "FAILURE")
        assert "documents are lost" in scan.info["bluesky"]["incomplete"]
        rows = list(scan.streams["primary:integer"][:])
        assert rows == sorted(set(rows)) and 0 < len(rows) < 230
        assert list(scan.streams["primary:seq_num"][:]) == [row + 1 for row in rows], "the gap can be seen"


def test_one_outage_is_told_of_once_although_idle_runs_are_lost_as_well(
    redis_url: str, redis_client: redis.Redis, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        runs = [Published(writer, SCALARS) for _ in range(4)]
        for run in runs:
            run.events(3)
        assert writer.flush(90)
        redis_client.flushall()
        runs[0].events(3)
        assert writer.flush(90)
        eventually(lambda: len(caplog.records) > 1)
        assert all(redis_client.exists(scan_key(run.run.uid)) for run in runs)
        for run in runs:
            run.stop()
            run.assert_whole(redis_url)
    assert levels(caplog) == ["WARNING", "WARNING"]
    assert caplog.messages[1].endswith("again from their journals: 4")


def test_a_second_close_waits_for_the_first(tmp_path: Path) -> None:
    writer = BlissdataWriter(RedisServer().url, journal=tmp_path)
    Published(writer, SCALARS)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(writer.close(0.3))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [False, False, False]
    assert not writer.close(0.1)


def test_many_runs_that_were_left_behind_are_one_message(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed(redis_url, tmp_path, 1, 0, stopped=False)
    with BlissdataWriter(RedisServer().url, journal=None):
        caplog.clear()
    [first] = JournalDirectory(tmp_path).paths(Fate.UNFINISHED)
    closed = BlissdataWriter(redis_url, journal=tmp_path / "other")
    for _ in range(3):
        Published(closed, SCALARS)
    closed._publisher.stop(60)
    closed.close(0.1)
    for path in JournalDirectory(tmp_path / "other").paths(Fate.UNFINISHED):
        path.rename(first.parent / path.name)
    caplog.clear()
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        eventually(lambda: len(writer.statistics().recovered) == 4)
        assert writer.flush(90)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "and 3 more runs" in warnings[0].getMessage()
