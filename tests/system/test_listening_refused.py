"""Documents that were heard, and cannot be read here: their run tells so, and why."""

from __future__ import annotations

import enum
import pickle
from typing import Any

import pytest

from blissdata_bluesky.listening import Listener, Message, Serializer
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .collected import load
from .emitted import EmittedRun, Named, scalar_run
from .published import levels


class Pair(enum.Enum):
    """One that cannot be told from any other call."""

    ONE = (1, 2)


WHY = "it cannot be read as pickle (it holds a tests.system.test_listening_refused.Pair, which is not made here"


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def listener(writer: BlissdataWriter, told: list[str]) -> Listener:
    return Listener(writer, Serializer.PICKLE, told.append)


def receive(listener: Listener, documents: list[Named], spoilt: str = "", most: int = 1) -> None:
    """All of them as messages; `most` of a type cannot be read."""
    for name, document in documents:
        if name == spoilt and most:
            most -= 1
            document = {**document, "spoilt": Pair.ONE}
        listener.receive(Message(name, pickle.dumps(document)))


def whole_run() -> EmittedRun:
    run = scalar_run(3)
    run.stop()
    return run


def test_the_reason_is_told_of_each_run(
    redis_url: str, writer: BlissdataWriter, listener: Listener, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    for most in (1, 3):
        run = whole_run()
        receive(listener, run.documents, "event", most)
        assert writer.flush(90)
        scan = load(redis_url, run.uid)
        assert scan.info["end_reason"] == "FAILURE"
        incomplete = scan.info["bluesky"]["incomplete"]
        assert incomplete.startswith(f"documents were left out by the listener (type 'event': {WHY}")
        assert incomplete.endswith(f"; heard: stream 'primary': {3 - most} of 3 events")
        assert incomplete in told[-1]
        assert f"run {run.uid}: a document of type 'event' is left out: {WHY}" in caplog.text
    assert "0MQ" not in caplog.text
    assert "did not arrive" not in caplog.text
    whole = whole_run()
    receive(listener, whole.documents)
    assert writer.flush(90)
    assert load(redis_url, whole.uid).info["end_reason"] == "SUCCESS"


def test_a_start_that_cannot_be_read(
    redis_url: str, writer: BlissdataWriter, listener: Listener, runs: RedisRuns, caplog: pytest.LogCaptureFixture
) -> None:
    run = whole_run()
    receive(listener, run.documents, "start")
    assert writer.flush(90)
    scan = load(redis_url, run.uid)
    assert scan.info["end_reason"] == "FAILURE"
    incomplete = scan.info["bluesky"]["incomplete"]
    assert incomplete.startswith(f"begun without its start, which was left out by the listener: {WHY}")
    assert len(scan.streams["primary:number"]) == 3
    start = dict(runs.get(run.uid).documents())["start"]
    assert start["blissdata_bluesky"] == {"stand_in": True, "reason": incomplete}
    assert "mid-run" not in caplog.text


def test_a_descriptor_that_cannot_be_read(
    redis_url: str, writer: BlissdataWriter, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    run = whole_run()
    receive(listener, run.documents, "descriptor")
    assert writer.flush(90)
    incomplete = load(redis_url, run.uid).info["bluesky"]["incomplete"]
    assert incomplete.startswith(f"documents were left out by the listener (type 'descriptor': {WHY}")
    assert "none of 3 events" in incomplete
    # of its events nothing more is said
    assert levels(caplog) == ["ERROR", "WARNING", "WARNING"]


def test_a_stop_that_cannot_be_read(redis_url: str, writer: BlissdataWriter, listener: Listener) -> None:
    run = whole_run()
    receive(listener, run.documents, "stop")
    (heard,) = listener.open_runs
    assert heard.lacks.startswith(f"documents were left out by the listener (type 'stop': {WHY}")
    receive(listener, run.documents[-1:])
    assert writer.flush(90)
    assert load(redis_url, run.uid).info["bluesky"]["incomplete"] == heard.lacks


def test_what_the_writer_leaves_out_is_told(redis_url: str, writer: BlissdataWriter, listener: Listener) -> None:
    run = whole_run()
    run.documents.insert(2, ("bulk_datum", {"resource": run.documents[1][1]["uid"]}))
    receive(listener, run.documents)
    assert writer.flush(90)
    incomplete = load(redis_url, run.uid).info["bluesky"]["incomplete"]
    assert "type 'bulk_datum' (seq_num None) is left out: 'datum_ids' and 'datum_kwarg_list'" in incomplete


def test_many_reasons_are_as_many_as_can_be_read(writer: BlissdataWriter, listener: Listener) -> None:
    run = scalar_run(0)
    receive(listener, run.documents)
    uid = run.uid.encode()
    for number in range(1000):
        message: Any = b"\x80\x04\x8c" + bytes([len(uid)]) + uid + b"cmine\n" + b"x%d" % number * 500 + b"\n]\x85R."
        listener.receive(Message("event", message))
    (heard,) = listener.open_runs
    assert len(heard.lacks) < 3000
    assert heard.lacks.endswith("type 'any': other reasons)")
    receive(listener, run.stop())
    assert writer.flush(90)


def test_numbers_that_are_too_long_to_print(
    writer: BlissdataWriter, listener: Listener, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    long = 10**5000
    uid = "00000000-0000-4000-8000-00000000000a"
    descriptor = {"uid": "x", "run_start": uid, "time": long, "name": "primary", "data_keys": {}}
    receive(listener, [("descriptor", descriptor), ("stop", {"run_start": uid, "exit_status": long})])
    assert writer.flush(90)
    assert listener.open_runs == []
    assert len(told) == 2
    looked_at = [message for message in caplog.messages if "looked at" in message or "could not be told" in message]
    assert looked_at == []
