"""P1: whatever Redis does, a scan goes on as if nobody published it, and nobody waits longer than he wanted to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.run_engine import RunEngine, RunEngineInterrupted
from ophyd.sim import det

from benchmarks.faults import endings, slow, stalls
from benchmarks.faults.bench import FAULTS, IMPATIENT, bench
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter
from tests.proxy import Fault, Proxy

from .collected import Collector, assert_equal, columns, load
from .published import SCALARS, Published

EVENTS = 20


@pytest.mark.parametrize("fault", FAULTS)
def test_documents_of_every_type_survive_a_fault_that_begins_just_before_them(fault: str) -> None:
    survived = stalls.matrix([fault], firsts=1)
    assert survived.total == len(stalls.TYPES) == 11
    assert survived.failed == []
    assert survived.slowest < 30


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_type_may_be_the_first_that_meets_the_fault(fault: str) -> None:
    survived = stalls.matrix([fault], firsts=len(stalls.TYPES))
    assert survived.failed == []
    assert survived.slowest < 30


def test_a_scan_does_not_wait_for_a_slow_redis() -> None:
    found = slow.slow_redis(400, delay=0.1, repeats=1)
    assert found.rows == 400
    # the events alone would take 40 s longer if each waited for one command
    assert found.delayed < found.prompt + 30


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_scan_of_a_thousand_events_takes_no_longer_beside_a_slow_redis() -> None:
    found = slow.slow_redis(1000, delay=0.5, repeats=5)
    assert found.rows == 1000
    assert found.delayed < 1.5 * found.prompt


@pytest.mark.leaves("thread", reason="it waits for a reply of the Redis that does not answer, and is a daemon")
@pytest.mark.parametrize("kind", endings.ENDINGS)
def test_flush_close_and_the_end_of_the_interpreter_take_the_time_they_are_given(kind: str) -> None:
    ending = endings.ending(kind, timeout=0.5)
    # without a time-out they would wait for the server; the interpreter itself takes some time to end
    assert 0.5 <= ending.flush < 30
    assert ending.close < 30
    assert ending.exit < 40
    assert ending.left, "what was not published is in the journal"


LATE = [
    pytest.param(b"UNLINK", False, id="the new streams"),
    pytest.param(b"UNLINK", True, id="the new streams, of a run that is closed"),
    pytest.param(b"payload", False, id="rows"),
    pytest.param(b"payload", True, id="rows, of a run that is closed"),
    pytest.param(b"EXPIRE", True, id="the last state"),
    pytest.param(b"seal_stream", True, id="the seals"),
]


@pytest.mark.parametrize(("held", "stopped"), LATE)
def test_a_command_that_arrives_after_it_was_given_up_changes_nothing(
    redis_server: RedisServer, redis_url: str, tmp_path: Path, held: bytes, stopped: bool
) -> None:
    with Proxy(redis_server.port) as proxy, BlissdataWriter(proxy.url + IMPATIENT, journal=tmp_path) as writer:
        published = Published(writer, SCALARS)
        assert writer.flush(90)
        proxy.hold_request(held)
        published.events(10)
        if stopped:
            published.stop()
        assert writer.flush(90)
        assert proxy.faults == 1
        proxy.release()
        if not stopped:
            published.events(10)
            published.stop()
        published.assert_whole(redis_url)


def plan(ends: str, spoil: Any) -> Iterator[Any]:
    """A scan during which something happens to Redis, and which ends well or not."""

    @bpp.run_decorator()
    def scan() -> Iterator[Any]:
        for number in range(EVENTS):
            if number == EVENTS // 2:
                spoil()
            yield from bps.trigger_and_read([det])
        if ends == "raises":
            raise ZeroDivisionError("of the plan")
        if ends == "aborted":
            yield from bps.pause()

    return (yield from scan())


def outcome(RE: RunEngine, ends: str, spoil: Any) -> tuple[Any, ...]:
    """What a user sees of it."""
    stops: list[dict[str, Any]] = []
    token = RE.subscribe(lambda _, stop: stops.append(stop), "stop")
    raised = ""
    try:
        RE(plan(ends, spoil))
    except ZeroDivisionError as error:
        raised = repr(error)
    except RunEngineInterrupted:
        raised = repr(RE.abort("enough")[0] == stops[0]["run_start"])
    RE.unsubscribe(token)
    return raised, RE.state, [(stop["exit_status"], stop["reason"], stop["num_events"]) for stop in stops]


@pytest.mark.parametrize("fault", ["SIGKILL", f"connections: {Fault.HANG}"])
@pytest.mark.parametrize("ends", ["well", "raises", "aborted"])
def test_a_plan_ends_as_without_a_writer(RE: RunEngine, tmp_path: Path, fault: str, ends: str) -> None:
    expected = outcome(RE, ends, lambda: None)
    collector = Collector()
    RE.subscribe(collector)
    with (
        bench(tmp_path / "redis") as there,
        BlissdataWriter(there.proxy.url + IMPATIENT, journal=tmp_path / "journal") as writer,
    ):
        RE.subscribe(writer)
        spoilt = FAULTS[fault](there)
        assert outcome(RE, ends, spoilt.__enter__) == expected
        assert writer.statistics().queued
        spoilt.__exit__(None, None, None)
        assert writer.flush(90)
        [uid] = collector.uids
        assert_equal(columns(load(there.server.url, uid)), collector.streams(uid))
