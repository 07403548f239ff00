"""Documents of runs that were not heard from their start on, or come when their run is over."""

from __future__ import annotations

from pathlib import Path

import pytest
from blissdata import ScanState

from blissdata_bluesky.listening import Listener, Serializer
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .collected import load
from .emitted import NUMBER, EmittedRun, Named, scalar_run
from .published import levels
from .run_contract import assert_same_documents


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def listener(writer: BlissdataWriter, told: list[str]) -> Listener:
    return Listener(writer, Serializer.PICKLE, told.append)


def hear(listener: Listener, documents: list[Named]) -> None:
    for name, document in documents:
        listener.hear(name, document)


def test_the_start_alone_is_missing(
    redis_url: str,
    writer: BlissdataWriter,
    listener: Listener,
    told: list[str],
    runs: RedisRuns,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = scalar_run(5)
    run.stop()
    hear(listener, run.documents[1:])
    assert writer.flush(90)
    scan = load(redis_url, run.uid)
    assert scan.state == ScanState.CLOSED
    assert scan.info["end_reason"] == "FAILURE"
    reason = scan.info["bluesky"]["incomplete"]
    assert reason.startswith("joined in mid-run: its start, and what came before ")
    start, *others = runs.get(run.uid).documents()
    time = run.documents[1][1]["time"]
    stand_in = {"uid": run.uid, "time": time, "blissdata_bluesky": {"stand_in": True, "reason": reason}}
    assert start == ("start", stand_in)
    assert_same_documents(others, run.documents[1:])
    assert told == [
        f"{run.uid}  joined in mid-run  begins",
        f"{run.uid}  joined in mid-run  ends: success, 5 events  incomplete: {reason}",
    ]
    assert levels(caplog) == ["WARNING"]


def test_a_resource_tells_of_its_run_as_well(redis_url: str, writer: BlissdataWriter, listener: Listener) -> None:
    run = EmittedRun()
    resource = {"uid": "r", "spec": "AD_HDF5", "root": "/", "resource_path": "a.h5", "resource_kwargs": {}}
    run.other("resource", {**resource, "path_semantics": "posix", "run_start": run.uid})
    run.other("datum", {"datum_id": "r/0", "resource": "r", "datum_kwargs": {}})
    run.stop()
    hear(listener, run.documents[1:])
    assert writer.flush(90)
    assert "joined in mid-run" in load(redis_url, run.uid).info["bluesky"]["incomplete"]
    assert listener.open_runs == []


def test_what_comes_when_a_run_is_over_does_not_begin_it_again(
    redis_url: str,
    writer: BlissdataWriter,
    listener: Listener,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = scalar_run(2)
    run.stop()
    hear(listener, run.documents)
    assert writer.flush(90)
    # the same once more, as from a second Publisher of the same RunEngine that lags behind
    hear(listener, run.documents[1:])
    assert writer.flush(90)
    assert load(redis_url, run.uid).info["end_reason"] == "SUCCESS"
    assert len(told) == 2
    assert listener.open_runs == []
    assert "mid-run" not in caplog.text


def test_a_run_whose_beginning_is_in_a_journal_is_left_out_in_one_message(
    redis_url: str, tmp_path: Path, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    run = scalar_run(2)
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        hear(Listener(writer, Serializer.PICKLE, told.append), run.documents)
        assert writer.flush(90)
        # the other one is what is started again while the first one's journal is there
        with BlissdataWriter(redis_url, journal=tmp_path) as other:
            listener = Listener(other, Serializer.PICKLE, told.append)
            later = [*run.describe("dark", {"number": NUMBER}), *run.event({"number": 1.0}, "dark"), *run.stop()]
            hear(listener, later)
            assert other.statistics().open_runs == 0
        for name, document in later:
            writer(name, document)
        assert writer.flush(90)
    assert levels(caplog) == ["WARNING"]
    assert "a journal has its beginning" in caplog.text
    scan = load(redis_url, run.uid)
    assert scan.info["end_reason"] == "SUCCESS"
    assert len(scan.streams["primary:number"]) == 2


def test_what_cannot_be_printed_is_published(
    writer: BlissdataWriter, runs: RedisRuns, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(line: str) -> None:
        raise BrokenPipeError(line)

    run = scalar_run(5)
    run.stop()
    hear(Listener(writer, Serializer.PICKLE, broken), [*run.documents, ("stop", {"run_start": 10**5000})])
    assert writer.flush(90)
    assert list(runs.get(run.uid).streams["primary"].read("integer")) == list(range(5))
    assert "cannot be printed" in caplog.messages[0]
