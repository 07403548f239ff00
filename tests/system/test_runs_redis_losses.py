"""Runs in Redis that were trimmed, deleted, lost or published again, and a Redis that is away."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from blissdata_bluesky import protocol
from blissdata_bluesky.errors import DamagedRunError, RowsTrimmedError, RunNotFoundError, RunUnavailableError
from blissdata_bluesky.publish.database import connect, data_store
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter
from tests.proxy import Fault, Proxy

from .emitted import EmittedRun, give, give_one_by_one, scalar_events, scalar_run


@pytest.fixture
def emitted(writer: BlissdataWriter) -> EmittedRun:
    """A finished run of 20 rows, one row an entry."""
    run = scalar_run(20)
    run.stop()
    give_one_by_one(writer, run.documents)
    return run


def column_key(uid: str, name: str) -> str:
    return protocol.stream_key(protocol.stream_pk(uid, name))


def trim(redis_client: redis.Redis, uid: str, name: str, first: int) -> None:
    redis_client.xtrim(column_key(uid, name), minid=f"{first}-0", approximate=False)


def emptied(redis_client: redis.Redis, url: str) -> None:
    redis_client.flushall()
    connect(url).close()


@contextmanager
def waiting(runs: RedisRuns, seconds: float) -> Iterator[None]:
    """Meanwhile it waits so long for a reply; else as long as a busy machine may need."""
    pool = runs._link._pool
    usual = pool.connection_kwargs["socket_timeout"]

    def begin_anew(timeout: float) -> None:
        pool.disconnect()
        pool.reset()
        pool.connection_kwargs["socket_timeout"] = timeout

    begin_anew(seconds)
    yield
    begin_anew(usual)


def test_trimmed_rows_are_an_error_and_never_shift(
    runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun
) -> None:
    trim(redis_client, emitted.uid, "primary:integer", 8)
    stream = runs.get(emitted.uid).streams["primary"]
    assert stream.rows() == 20
    with pytest.raises(RowsTrimmedError, match="primary:integer.*row 0 .*first that is left is 8"):
        stream.read("integer")
    with pytest.raises(RowsTrimmedError, match="row 7 "):
        stream.read("integer", 7, 9)
    with pytest.raises(RowsTrimmedError, match="row 2 "):
        stream.read("integer", 2, 4)
    assert stream.read("integer", 8).tolist() == list(range(8, 20))
    assert stream.read("integer", 10, 12).tolist() == [10, 11]
    assert stream.read("number", 0, 2).tolist() == [0, 1 / 3]
    with pytest.raises(RowsTrimmedError):
        list(runs.get(emitted.uid).documents())


def test_trimmed_rows_that_are_cached_are_still_read(
    runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun
) -> None:
    stream = runs.get(emitted.uid).streams["primary"]
    assert stream.read("integer", 0, 10).tolist() == list(range(10))
    trim(redis_client, emitted.uid, "primary:integer", 8)
    assert stream.read("integer").tolist() == list(range(20))


def test_a_gap_behind_what_is_cached(runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun) -> None:
    stream = runs.get(emitted.uid).streams["primary"]
    stream.read("integer", 0, 5)
    trim(redis_client, emitted.uid, "primary:integer", 8)
    assert stream.read("integer", 2, 5).tolist() == [2, 3, 4]
    with pytest.raises(RowsTrimmedError, match="row 5 "):
        stream.read("integer")
    assert stream.read("integer", 9, 11).tolist() == [9, 10]
    assert stream.read("integer", 2, 5).tolist() == [2, 3, 4]


def test_a_column_trimmed_to_its_seal(runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun) -> None:
    trim(redis_client, emitted.uid, "primary:integer", 20)
    stream = runs.get(emitted.uid).streams["primary"]
    assert stream.rows() == 20
    with pytest.raises(RowsTrimmedError, match="none is left"):
        stream.read("integer", 19)


def test_an_entry_that_lost_its_neighbour(runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun) -> None:
    redis_client.xdel(column_key(emitted.uid, "primary:integer"), "5-1")
    stream = runs.get(emitted.uid).streams["primary"]
    with pytest.raises(RunUnavailableError, match="row 5 is not in Redis"):
        stream.read("integer")
    assert stream.read("integer", 6).tolist() == list(range(6, 20))


def test_a_run_that_blissdata_deleted(
    redis_url: str, runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun
) -> None:
    run = runs.get(emitted.uid)
    data_store(redis_url).delete_scan(protocol.scan_key(emitted.uid))
    assert redis_client.ttl(protocol.scan_key(emitted.uid)) > 0
    with pytest.raises(RunNotFoundError, match=emitted.uid):
        run.refresh()
    with pytest.raises(RunNotFoundError, match="deleted"):
        runs.get(emitted.uid)
    with pytest.raises(RunNotFoundError):
        runs.get_by_key(protocol.scan_key(emitted.uid))
    assert runs.states([emitted.uid]) == {emitted.uid: None}


def test_a_run_that_will_expire_is_still_there(runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun) -> None:
    redis_client.expire(protocol.scan_key(emitted.uid), protocol.DELETED_TTL + 60)
    assert runs.get(emitted.uid).streams["primary"].rows() == 20


def test_a_run_of_an_emptied_redis(
    redis_url: str, runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun
) -> None:
    run = runs.get(emitted.uid)
    run.streams["primary"].table()
    emptied(redis_client, redis_url)
    with pytest.raises(RunNotFoundError):
        run.refresh()
    with pytest.raises(RunNotFoundError):
        runs.get(emitted.uid)
    assert runs._cache.nbytes == 0


def test_another_run_with_the_same_uid(
    redis_url: str, runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun, tmp_path: Path
) -> None:
    runs.get(emitted.uid).streams["primary"].table()
    emptied(redis_client, redis_url)
    other = EmittedRun(emitted.uid)
    other.describe()
    other.events(range(3))
    other.stop()
    with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
        give(writer, other.documents)
    run = runs.get(emitted.uid)
    assert run.stop == other.documents[-1][1]
    assert run.streams["primary"].rows() == 3
    assert run.streams["primary"].read("number").tolist() == [0, 1 / 3, 2 / 3]


@pytest.mark.leaves("scan", reason="the first publisher is not told that its scan is gone")
def test_a_growing_run_that_is_published_again(
    redis_url: str,
    runs: RedisRuns,
    redis_client: redis.Redis,
    writer: BlissdataWriter,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    emitted = scalar_run(10)
    give(writer, emitted.documents)
    stream = runs.get(emitted.uid).streams["primary"]
    stream.table()
    emptied(redis_client, redis_url)
    with BlissdataWriter(redis_url, journal=tmp_path / "other") as second:
        give(second, emitted.documents[:6])
        with caplog.at_level(logging.WARNING):
            assert stream.rows() == 10
        assert "10 rows became 4" in caplog.text
        assert runs._cache.nbytes == 0
        with pytest.raises(RunUnavailableError, match="row 4 is not in Redis.*published again"):
            stream.read("integer")
        again = runs.get(emitted.uid).streams["primary"]
        assert again.rows() == 4
        give(second, [*emitted.documents[6:], *scalar_events(emitted, range(10, 12)), *emitted.stop()])
        assert again.read("integer").tolist() == list(range(12))
        assert stream.read("integer").tolist() == list(range(12))


def test_a_scan_of_somebody_else(redis_url: str, runs: RedisRuns) -> None:
    identity = {"name": "ascan", "number": 1, "data_policy": "no_policy", "session": "s", "dataset": "d"}
    scan = data_store(redis_url).create_scan(identity)
    scan.prepare()
    scan.start()
    scan.stop()
    scan.close()
    _, (key,) = runs.history()
    with pytest.raises(RunNotFoundError, match="not published from Bluesky"):
        runs.get_by_key(key)


def test_a_scan_without_its_documents(runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun) -> None:
    redis_client.delete(protocol.documents_key(emitted.uid))
    with pytest.raises(RunNotFoundError, match="no Bluesky documents"):
        runs.get(emitted.uid)


def test_documents_of_a_newer_format(runs: RedisRuns, redis_client: redis.Redis, emitted: EmittedRun) -> None:
    key = protocol.documents_key(emitted.uid)
    _, fields = redis_client.xrange(key, count=1)[0]
    redis_client.delete(key)
    redis_client.xadd(key, fields | {b"format": b"99"}, id="0-1")
    with pytest.raises(DamagedRunError, match="newer"):
        runs.get(emitted.uid)


def test_a_redis_that_stops_and_comes_back(tmp_path: Path) -> None:
    with RedisServer(directory=tmp_path / "redis") as server, RedisRuns(server.url) as runs:
        emitted = scalar_run(5)
        emitted.stop()
        with BlissdataWriter(server.url, journal=tmp_path / "journal") as writer:
            give(writer, emitted.documents)
        run = runs.get(emitted.uid)
        stream = run.streams["primary"]
        server.stop()
        for ask in (run.refresh, stream.rows, lambda: runs.get(emitted.uid)):
            with pytest.raises(RunUnavailableError, match=emitted.uid):
                ask()
        with pytest.raises(RunUnavailableError, match=str(server.port)):
            runs.history()
        server.start()
        assert stream.read("integer").tolist() == list(range(5))
        run.refresh()
        assert runs.get(emitted.uid) is run


def test_a_redis_that_hangs(redis_server: RedisServer, emitted: EmittedRun) -> None:
    """Reading ends while it still hangs."""
    with Proxy(redis_server.port) as proxy, RedisRuns(proxy.url) as runs:
        stream = runs.get(emitted.uid).streams["primary"]
        assert stream.rows() == 20
        with (
            proxy.spoilt(Fault.HANG),
            waiting(runs, 0.3),
            pytest.raises(RunUnavailableError, match="'primary'"),
        ):
            stream.read("integer")
        assert stream.read("integer").tolist() == list(range(20))
