"""Whatever a RunEngine does, an unmodified blissdata reads what a second callback collected."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
import redis
from blissdata import ScanState
from bluesky.run_engine import RunEngine, RunEngineInterrupted
from bluesky.utils import FailedStatus
from ophyd import Signal
from ophyd.sim import SynAxis, SynGauss, SynSignal
from ophyd_async.core import Array1D, init_devices, soft_signal_rw
from ophyd_async.sim import SimMotor

from blissdata_bluesky.protocol import documents_key, scan_key
from blissdata_bluesky.writer import BlissdataWriter

from .collected import Collector, assert_equal, columns, load
from .tiled_runs import ALL_KINDS, Run, row

MOTOR = SynAxis(name="motor")
DETECTOR = SynGauss("det", MOTOR, "motor", center=0, Imax=1, sigma=1)


def signal(name: str, value: Callable[[], Any]) -> SynSignal:
    return SynSignal(func=value, name=name)


class Ragged(SynSignal):
    """Says that its length differs."""

    def describe(self) -> dict[str, Any]:
        """A shape that is not known."""
        return {self.name: {**super().describe()[self.name], "shape": [None]}}


COUNTER = iter(range(10**6))
KINDS = [
    signal("integer", lambda: next(COUNTER)),
    signal("boolean", lambda: next(COUNTER) % 2 == 0),
    signal("text", lambda: f"n° {next(COUNTER)}"),
    signal("image", lambda: np.full((4, 3), next(COUNTER), "<u2")),
    Ragged(name="ragged", func=lambda: list(range(next(COUNTER) % 4))),
    signal("numpy_scalar", lambda: np.float32(next(COUNTER) / 3)),
    signal("texts", lambda: ["a", str(next(COUNTER))]),
]


@pytest.fixture
def collector(RE: RunEngine, writer: BlissdataWriter) -> Collector:
    collector = Collector()
    RE.subscribe(collector)
    RE.subscribe(writer)
    return collector


def assert_published(url: str, writer: BlissdataWriter, collector: Collector, reason: str = "SUCCESS") -> None:
    """Every run is closed and whole."""
    assert writer.flush(90)
    for uid in collector.uids:
        scan = load(url, uid)
        assert scan.state == ScanState.CLOSED and scan.info["end_reason"] == reason
        assert_equal(columns(scan), collector.streams(uid))
    assert writer.statistics().queued == writer.statistics().open_runs == 0


@bpp.run_decorator()
def all_streams(monitored: Signal) -> Iterator[Any]:
    for position in range(3):
        yield from bps.mv(MOTOR, position)
        monitored.put(position)
        yield from bps.trigger_and_read([MOTOR, DETECTOR])
    yield from bps.trigger_and_read([DETECTOR], name="dark")
    yield from bps.trigger_and_read([MOTOR, DETECTOR])
    yield from bps.declare_stream(MOTOR, name="late")
    yield from bps.trigger_and_read([MOTOR], name="late")


def test_baseline_monitor_and_late_streams(
    RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector
) -> None:
    monitored = Signal(name="ring", value=0)
    RE(bpp.baseline_wrapper(bpp.monitor_during_wrapper(all_streams(monitored), [monitored]), [MOTOR]))
    assert_published(redis_url, writer, collector)
    scan = load(redis_url, collector.uids[0])
    assert len(scan.streams["baseline:motor"]) == 2 and len(scan.streams["late:motor"]) == 1
    assert len(scan.streams["ring_monitor:ring"]) >= 3 and len(scan.streams["dark:det"]) == 1


def test_every_kind_of_value(RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector) -> None:
    RE(bp.count(KINDS, num=7))
    assert_published(redis_url, writer, collector)


def test_async_devices(RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector) -> None:
    with init_devices(mock=True):
        axis = SimMotor(name="axis", instant=True)
    numbers = soft_signal_rw(Array1D[np.int32], np.arange(4, dtype=np.int32), name="numbers")
    RE(bp.scan([numbers], axis, 0, 1, 4))
    assert_published(redis_url, writer, collector)


def test_interleaved_runs(RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector) -> None:
    def plan() -> Iterator[Any]:
        for key in "ab":
            yield from bpp.set_run_key_wrapper(bps.open_run(), key)
        for key in "abba":
            yield from bpp.set_run_key_wrapper(bps.trigger_and_read([DETECTOR]), key)
        for key in "ab":
            yield from bpp.set_run_key_wrapper(bps.close_run(), key)

    RE(plan())
    assert len(collector.uids) == 2
    assert_published(redis_url, writer, collector)


def test_pause_and_rewind_keep_every_row(
    RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector
) -> None:
    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        yield from bps.checkpoint()
        for point in range(4):
            yield from bps.trigger_and_read([DETECTOR])
            if point == 2:
                yield from bps.pause()

    with pytest.raises(RunEngineInterrupted):
        RE(plan())
    RE.resume()
    assert_published(redis_url, writer, collector)
    assert list(load(redis_url, collector.uids[0]).streams["primary:seq_num"][:]) == [1, 2, 3, 1, 2, 3, 4]


def test_abort(RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector) -> None:
    with pytest.raises(RunEngineInterrupted):
        RE(bpp.run_wrapper(bps.pause()))
    RE.abort("enough")
    assert_published(redis_url, writer, collector, "USER_ABORT")


def test_a_plan_that_fails(RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector) -> None:
    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([DETECTOR])
        raise ValueError("the plan is wrong")

    with pytest.raises((ValueError, FailedStatus)):
        RE(plan())
    assert_published(redis_url, writer, collector, "FAILURE")


def test_pages(redis_url: str, writer: BlissdataWriter) -> None:
    run, collector = Run(), Collector()
    run.whole(0)
    documents = [run.start, run.describe()]
    data = {key: [row(index)[key] for index in range(5)] for key in ALL_KINDS}
    page = {"uid": list("abcde"), "descriptor": documents[1][1]["uid"], "seq_num": [1, 2, 3, 4, 5], "time": [2.5] * 5}
    documents += [("event_page", page | {"data": data, "timestamps": dict.fromkeys(data, [2.0] * 5), "filled": {}})]
    for name, document in [*documents, run.stop()]:
        collector(name, document)
        writer(name, document)
    assert_published(redis_url, writer, collector)


def test_a_later_subscriber_may_change_documents(
    RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector
) -> None:
    def vandal(name: str, document: dict[str, Any]) -> None:
        if name == "event":
            for value in document["data"].values():
                if isinstance(value, np.ndarray):
                    value[...] = 0
            for member in (document["data"], document["timestamps"], document):
                member.clear()

    RE.subscribe(vandal)
    RE(bp.count([DETECTOR, *KINDS], num=5))
    RE(bp.count([DETECTOR], num=20))
    assert_published(redis_url, writer, collector)


def test_two_writers_on_two_engines(
    RE: RunEngine, redis_url: str, writer: BlissdataWriter, collector: Collector, tmp_path: Path
) -> None:
    second = Collector()
    with BlissdataWriter(redis_url, journal=tmp_path / "second") as other:
        runs = [Run() for _ in range(3)]

        def work() -> None:
            for run in runs:
                for name, document in run.whole(20):
                    second(name, document)
                    other(name, document)

        thread = threading.Thread(target=work)
        thread.start()
        RE(bp.count([DETECTOR], num=10))
        thread.join()
        assert_published(redis_url, other, second)
    assert_published(redis_url, writer, collector)


def test_one_publishing_thread_and_one_connection_for_all_runs_and_streams(
    redis_url: str, writer: BlissdataWriter
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        before, others = set(threading.enumerate()), {entry["id"] for entry in client.client_list()}
        runs = [Run() for _ in range(10)]
        for run in runs:
            writer(*run.start)
            for stream in ("primary", "dark"):
                writer(*run.describe(stream))
                writer(*run.event(row(0), stream))
        assert writer.flush(90)
        ours = sorted(thread.name for thread in set(threading.enumerate()) - before if "bluesky" in thread.name)
        assert ours == ["blissdata-bluesky-fsync", "blissdata-bluesky-publisher"]
        assert len({entry["id"] for entry in client.client_list()} - others) <= 1
        for run in runs:
            writer(*run.stop())
        assert writer.flush(90)
        assert 0 < client.ttl(documents_key(runs[0].uid)) <= 30 * 86400


def test_statistics_and_the_end_of_a_writer(redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = BlissdataWriter(redis_url, journal=tmp_path)
    run = Run()
    for name, document in run.whole(5):
        if name == "stop":
            assert writer.flush(90)
            assert writer.statistics().open_runs == 1
        writer(name, document)
    assert writer.flush(90)
    statistics = writer.statistics()
    assert (statistics.queued, statistics.published_rows, statistics.lag, statistics.open_runs) == (0, 5, 0.0, 0)
    assert statistics.peak >= 1
    assert writer.close() and writer.close()
    for name, document in Run().whole(3):
        writer(name, document)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert writer.flush(0.1)


def test_documents_of_a_deleted_run_are_removed_when_the_next_one_ends(
    RE: RunEngine, redis_url: str, tmp_path: Path
) -> None:
    detector = SynGauss("det", SynAxis(name="m"), "m", 0, 1)
    with redis.Redis.from_url(redis_url) as client:
        with BlissdataWriter(redis_url, journal=tmp_path) as writer:
            RE.subscribe(writer)
            (first,) = RE(bp.count([detector], 1))
            assert writer.flush(90)
            assert client.exists(documents_key(first))
            client.delete(scan_key(first))
            (second,) = RE(bp.count([detector], 1))
        assert client.exists(documents_key(second))
        assert not client.exists(documents_key(first))
