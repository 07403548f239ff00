"""`blissdata-bluesky listen`: RunEngines in other processes, over bluesky's own Publisher and proxy."""

from __future__ import annotations

import pickle
import signal
from pathlib import Path
from typing import Any

import pytest

from blissdata_bluesky.runs import RedisRuns

from .archived import journaled
from .collected import Collector, assert_equal, columns, load
from .emitted import Named
from .fidelity import in_order
from .run_contract import assert_same_documents
from .tiled_runs import stopped
from .zmq_site import Proxy, closed, listening, running_engine, running_proxy


@pytest.fixture
def proxy() -> Any:
    with running_proxy() as proxy:
        yield proxy


def assert_published(url: str, runs: RedisRuns, documents: list[Named]) -> None:
    """blissdata has every row, and our reader every document, of a run that was heard whole."""
    collector = Collector()
    for name, document in documents:
        collector(name, document)
    uid = documents[0][1]["uid"]
    scan = closed(url, uid)
    assert_equal(columns(scan), collector.streams(uid))
    assert scan.info["end_reason"] == "SUCCESS"
    assert "incomplete" not in scan.info["bluesky"]
    assert_same_documents(runs.get(uid).documents(), in_order(journaled(documents)))


def test_runs_one_after_the_other(redis_url: str, tmp_path: Path, proxy: Proxy, runs: RedisRuns, client: Any) -> None:
    with running_engine(proxy, tmp_path) as engine, listening(proxy, redis_url, tmp_path / "journal") as listener:
        listener.hears(engine)
        for points in (3, 10, 1):
            engine.do(f"scan {points}")
        for documents in engine.runs().values():
            assert_published(redis_url, runs, documents)
            uid = documents[0][1]["uid"]
            run = stopped(client, uid)
            assert run["primary"].read().sizes["time"] == documents[0][1]["num_points"]
            listener.said(f"{uid}  scan  ends: success, {documents[0][1]['num_points'] + 2} events$")
        assert listener.end() == 0
        assert listener.out[0] == f"listening to tcp://{proxy.out}\n"
        assert listener.out[-1].endswith("Redis has all of it\n")
        assert listener.faults == []


def test_another_serializer(redis_url: str, tmp_path: Path, proxy: Proxy, runs: RedisRuns) -> None:
    with (
        running_engine(proxy, tmp_path, serializer="msgpack") as engine,
        listening(proxy, redis_url, tmp_path / "journal", "--serializer", "msgpack") as listener,
    ):
        listener.hears(engine)
        engine.do("scan 4")
        for documents in engine.runs().values():
            assert_published(redis_url, runs, documents)
        assert listener.end(signal.SIGINT) == 0
        assert listener.faults == []


def test_two_engines_at_once_and_a_third_one_with_another_prefix(
    redis_url: str, tmp_path: Path, proxy: Proxy, runs: RedisRuns
) -> None:
    with (
        running_engine(proxy, tmp_path, prefix="here") as first,
        running_engine(proxy, tmp_path, prefix="here") as second,
        running_engine(proxy, tmp_path, prefix="elsewhere") as third,
        listening(proxy, redis_url, tmp_path / "journal", "--prefix", "here") as listener,
    ):
        listener.hears(first)
        listener.hears(second)
        for engine in (first, second, third):
            engine.do("stepwise 3 dark")
        for _ in range(4):
            for engine in (second, first, third):
                engine.do()
        for engine in (first, second):
            for documents in engine.runs().values():
                assert_published(redis_url, runs, documents)
        (elsewhere,) = third.runs()
        assert listener.end() == 0
        assert elsewhere not in "".join(listener.out)
        assert listener.faults == []


class Evil:
    """Unpickled as Python does it, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


def test_what_is_no_document_does_no_harm(redis_url: str, tmp_path: Path, proxy: Proxy, runs: RedisRuns) -> None:
    evil = tmp_path / "evil"
    messages = [
        b"nonsense",
        b"\xff\xfe \xff \xff",
        b" nonsense " + pickle.dumps({}),
        b" start " + pickle.dumps({"uid": Evil(evil)}),
        b" start not a pickle",
        b" start " + pickle.dumps(["no mapping"]),
        b" start " + pickle.dumps({"no": "uid"}),
        b" event " + pickle.dumps({"descriptor": 5, "seq_num": "x", "data": None}),
        b" descriptor " + pickle.dumps({"run_start": [], "uid": {}, "name": None}),
        b" stop " + pickle.dumps({"run_start": None}),
        b" event_page " + pickle.dumps({}),
        b" bulk_events " + pickle.dumps({"x": [1]}),
        # a key whose hash overflows the stack, a list in itself
        b" event \x80\x02}N" + b"\x85" * 300_000 + b"Ns.",
        b" start \x80\x04}\x8c\x03uid]\x94h\x00as.",
    ]
    with running_engine(proxy, tmp_path) as engine, listening(proxy, redis_url, tmp_path / "journal") as listener:
        listener.hears(engine)
        for message in messages:
            engine.do(f"raw {message.hex()}")
        engine.do("scan 3")
        for documents in engine.runs().values():
            assert_published(redis_url, runs, documents)
        assert listener.end() == 0
    assert not evil.exists()
    log = "".join(listener.log)
    assert "Traceback" not in log
    assert "please report" not in log
    assert "type 'nonsense' is left out: documents of this type are not known" in log
    assert "it holds a pathlib.Path.touch, which is not made here" in log or "it holds a builtins.getattr" in log
    assert "messages left out: 8" in listener.out[-1]


def test_the_proxy_is_killed_and_comes_back(redis_url: str, tmp_path: Path, proxy: Proxy, runs: RedisRuns) -> None:
    with running_engine(proxy, tmp_path) as engine, listening(proxy, redis_url, tmp_path / "journal") as listener:
        listener.hears(engine)
        engine.do("scan 3")
        (first,) = engine.runs()
        listener.said(f"{first}  scan  ends")
        proxy.kill()
        listener.logged("the proxy at .* is gone")
        proxy.start()
        listener.hears(engine)
        engine.do("scan 4")
        for documents in engine.runs().values():
            assert_published(redis_url, runs, documents)
        assert listener.end() == 0
        assert sum("connected to" in line for line in listener.out) == 2
        assert len(listener.faults) == 1


def test_it_is_ended_in_mid_run(redis_url: str, tmp_path: Path, proxy: Proxy) -> None:
    journal = tmp_path / "journal"
    with running_engine(proxy, tmp_path) as engine:
        with listening(proxy, redis_url, journal) as listener:
            listener.hears(engine)
            engine.do("stepwise 5")
            engine.do()
            (uid,) = engine.runs()
            assert listener.end(signal.SIGTERM) == 0
            assert listener.faults == []
            assert (
                f"{uid}  stepwise  goes on, after 2 events; the next listener marks it as incomplete\n" in listener.out
            )
            assert len(load(redis_url, uid).streams["primary:det"]) == 2
        with listening(proxy, redis_url, journal) as listener:
            scan = closed(redis_url, uid)
            assert scan.info["end_reason"] == "FAILURE"
            assert "ended before the run did" in scan.info["bluesky"]["incomplete"]
            assert listener.end() == 0
