"""P3: exactly once per run, stream and row, against a plain list; see benchmarks/faults/once.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from blissdata import ScanState

from benchmarks.faults.history import Outcome
from benchmarks.faults.once import once
from benchmarks.faults.torn import sample
from blissdata_bluesky.protocol import PROTOCOL_KEY
from blissdata_bluesky.publish import recover
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter
from tests.proxy import Fault, Proxy

from .collected import load
from .published import SCALARS, Published
from .tiled_runs import Run, publish, row


@pytest.mark.parametrize("after", [None, 300], ids=["reply lost", "request cut"])
def test_a_doubtful_reply_from_a_database_that_has_just_been_emptied(tmp_path: Path, after: int | None) -> None:
    with (
        RedisServer() as server,
        Proxy(server.port) as proxy,
        redis.Redis.from_url(server.url) as client,
        BlissdataWriter(proxy.url, journal=tmp_path) as writer,
    ):
        published = Published(writer, SCALARS)
        published.events(3)
        assert writer.flush(90)
        client.flushall()
        if after is None:
            proxy.lose_reply(b"payload")
        else:
            proxy.cut_request(b"payload", after)
        published.events(3)
        flushed = writer.flush(60)
        published.stop()
        writer.close(0.1)
        assert proxy.faults == 1
        assert flushed and client.exists(PROTOCOL_KEY)


def test_a_run_of_a_dead_writer_that_redis_loses_while_it_is_ended(tmp_path: Path) -> None:
    with RedisServer() as server, Proxy(server.port) as proxy, redis.Redis.from_url(server.url) as client:
        whole = sample(tmp_path, proxy.url)
        (tmp_path / whole.name).write_bytes(whole.content[: whole.ends[-2]])
        proxy.lose_reply(b"seal_stream", meanwhile=client.flushall)
        recover(tmp_path, proxy.url, 60)
        assert proxy.faults == 1
        scan = load(server.url, whole.uid)
        assert (scan.state, scan.info.get("end_reason")) == (ScanState.CLOSED, "FAILURE")


def test_two_writers_of_one_run_when_the_other_one_publishes_it_to_an_emptied_redis(tmp_path: Path) -> None:
    with (
        RedisServer() as server,
        Proxy(server.port) as proxy,
        BlissdataWriter(proxy.url, journal=tmp_path / "one") as one,
        BlissdataWriter(server.url, journal=tmp_path / "other") as other,
    ):
        run = Run()
        begun = [run.start, run.describe(keys=SCALARS), run.event(row(0, SCALARS))]
        publish(one, begun)
        with proxy.spoilt(Fault.REFUSE), redis.Redis.from_url(server.url) as client:
            client.flushall()
            publish(other, begun)
        one(*run.event(row(1, SCALARS)))
        one.flush(60)
        assert len(load(server.url, run.uid).streams["primary:number"]) == 1, "the scan belongs to the other one"


def assert_kept(outcome: Outcome, examples: int) -> None:
    assert not outcome.difference, outcome.difference
    assert outcome.examples >= examples
    assert outcome.rows > 0
    assert all(outcome.faults[what] for what in ("writer killed", "FLUSHALL", "restart", "maxmemory"))


def test_redis_has_every_row_once_whatever_happens() -> None:
    assert_kept(once(15, 30), 15)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_redis_has_every_row_once_whatever_happens_and_however_often() -> None:
    outcome = once(150, 40)
    assert_kept(outcome, 150)
    # in a few histories it depends on time whether they meet anything
    assert outcome.faults["connection"] and outcome.faults["replay"]
