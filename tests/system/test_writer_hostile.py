"""Documents that are none: the callback never raises, the run and all others go on, the log says it once."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from blissdata import ScanState
from blissdata.redis_engine.store import DataStore
from bluesky.plans import count
from bluesky.run_engine import RunEngine
from ophyd.sim import det

from blissdata_bluesky.journal import JournalReader
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.writer import BlissdataWriter

from .collected import columns, load
from .tiled_runs import Document, Run, row


class Unprintable:
    """Raises whatever is asked of it."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def event(run: Run, **members: Any) -> Document:
    """An event with other members; ... leaves one out."""
    name, document = run.event(row(0, ["number"]))
    return name, {key: value for key, value in {**document, **members}.items() if value is not ...}


def page(run: Run, **members: Any) -> Document:
    _, document = event(run)
    columns = {member: {"number": [0.5]} for member in ("data", "timestamps")}
    return "event_page", {**document, **columns, "seq_num": [1], "time": [1.0], **members}


def another_run(uid: str) -> list[Document]:
    run = Run(uid=uid, scan_id=2)
    return [run.start, run.describe(keys=["number"]), run.event(row(0, ["number"])), run.stop()]


# what is given to the writer, and words that the one record in the log must have
HOSTILE: dict[str, tuple[Callable[[Run], list[Document]], str]] = {
    "no document": (lambda run: [("event", None)], "mapping"),  # type: ignore[list-item]
    "a list": (lambda run: [("event", [1])], "mapping"),  # type: ignore[list-item]
    "an unknown type": (lambda run: [("novelty", {"uid": "u"})] * 3, "novelty"),
    "no type": (lambda run: [(None, {"uid": "u"})] * 3, "None"),  # type: ignore[list-item]
    "a start without uid": (lambda run: [("start", {"time": 1.0})], "uid"),
    "a start with a number": (lambda run: [("start", {"uid": 5})], "uid"),
    "the start again": (lambda run: [run.start], "subscribe the writer once"),
    "another run": (lambda run: another_run(run.uid), "uid of its own"),
    "a descriptor of nobody": (lambda run: [*Run().whole(3, ["number"])][1:], "run_start"),
    "an event of nobody": (lambda run: [event(run, descriptor="unheard of")] * 3, "unheard of"),
    "an event of a number too long to print": (lambda run: [event(run, descriptor=10**5000)] * 3, "descriptor"),
    "an event of a list": (lambda run: [event(run, descriptor=["x"])] * 3, "descriptor"),
    "an event without descriptor": (lambda run: [event(run, descriptor=...)] * 3, "descriptor"),
    "no data": (lambda run: [event(run, data=...)] * 3, "'primary'"),
    "data of None": (lambda run: [event(run, data=None)] * 3, "'primary'"),
    "no seq_num": (lambda run: [event(run, seq_num=...)] * 3, "seq_num"),
    "seq_num of NaN": (lambda run: [event(run, seq_num=float("nan"))] * 3, "seq_num"),
    "a huge seq_num": (lambda run: [event(run, seq_num=2**70)] * 3, "seq_num"),
    "a text as time": (lambda run: [event(run, time="now")] * 3, "time"),
    "a huge time": (lambda run: [event(run, time=10**400)] * 3, "time"),
    "no timestamps": (lambda run: [event(run, timestamps=...)] * 3, "timestamps"),
    "a page of unequal columns": (lambda run: [page(run, seq_num=[1, 2])] * 3, "differ in length"),
    "a page of no columns": (lambda run: [page(run, data={"number": 5})] * 3, "differ in length"),
    "a page with fractions": (lambda run: [page(run, seq_num=[1.5])] * 3, "seq_num"),
    "a page of texts as times": (lambda run: [page(run, time=["now"])] * 3, "time"),
    "a descriptor without data_keys": (
        lambda run: [
            ("descriptor", {"uid": "d", "name": "bad", "run_start": run.uid, "time": 1.0}),
            *[event(run, descriptor="d")] * 3,
        ],
        "data_keys",
    ),
    "a descriptor of odd data_keys": (
        lambda run: [("descriptor", {"uid": "d", "name": "bad", "run_start": run.uid, "data_keys": {"x": 5}})],
        "data_keys",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_document_disturbs_nothing_and_is_said_once(
    redis_url: str, writer: BlissdataWriter, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    make, words = HOSTILE[case]
    run, other = Run(), Run()
    for document in (run.start, other.start, run.describe(keys=["number"]), other.describe(keys=["number"])):
        writer(*document)
    for document in make(run):
        writer(*document)
    for each in (run, other):
        writer(*each.event(row(7, ["number"])))
        writer(*each.stop())
    assert writer.flush(90)
    for each in (run, other):
        scan = load(redis_url, each.uid)
        assert scan.state == ScanState.CLOSED
        assert list(columns(scan)["primary:number"]) == [7 / 3]
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is None
    assert words in record.getMessage()


@pytest.mark.parametrize(
    "metadata",
    [
        {"x": Unprintable()},
        {"x": 10**400, "num_points": 10**30},
        {"x": float("nan"), "\ud800": "\udfff"},
        {"x": {1: {(2, 3): {4}}}},
        {"scan_id": None, "plan_name": ["x"], "proposal": 7, "sample_name": {}, "motors": 5},
        {"plan_name": "p" * 2_000_000, "x": "y" * 5_000_000},
    ],
    ids=["unprintable", "large integers", "surrogates", "keys", "identity", "megabytes"],
)
def test_a_start_of_any_content_is_published(
    redis_url: str, writer: BlissdataWriter, caplog: pytest.LogCaptureFixture, metadata: dict[str, Any]
) -> None:
    run = Run()
    run.start[1].update(metadata)
    for document in run.whole(3, ["number"]):
        writer(*document)
    assert writer.flush(90)
    assert len(load(redis_url, run.uid).streams["primary:number"]) == 3
    assert caplog.records == []


def test_a_deeply_nested_start_is_published(redis_url: str, writer: BlissdataWriter) -> None:
    run = Run()
    nested: Any = 1
    for _ in range(180):
        nested = {"x": nested}
    run.start[1]["nested"] = nested
    for document in run.whole(3, ["number"]):
        writer(*document)
    assert writer.flush(90)
    assert load(redis_url, run.uid).state == ScanState.CLOSED


def test_what_comes_after_the_stop_is_left_out(
    redis_url: str, writer: BlissdataWriter, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run()
    documents = list(run.whole(3, ["number"]))
    for document in documents:
        writer(*document)
    for document in (documents[-1], run.event(row(0, ["number"])), run.event(row(1, ["number"])), documents[-1]):
        writer(*document)
    assert writer.flush(90)
    assert len(load(redis_url, run.uid).streams["primary:number"]) == 3
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


def test_a_uid_that_is_published_already_is_refused(
    redis_url: str, writer: BlissdataWriter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run()
    first, again = list(run.whole(3, ["number"])), list(Run(run.uid).whole(5, ["number"]))
    for document in first:
        writer(*document)
    assert writer.flush(90)
    with BlissdataWriter(redis_url, journal=tmp_path / "other") as other:
        for each in (writer, other):
            for document in again:
                each(*document)
            assert not each.flush(60), "it is given up"
    assert len(load(redis_url, run.uid).streams["primary:number"]) == 3
    with redis.Redis.from_url(redis_url) as client:
        assert client.xlen("_SCAN_HISTORY_") == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert all(run.uid in record.getMessage() for record in caplog.records)


def test_a_run_is_published_by_one_writer_while_another_is_given_it_too(
    redis_url: str, writer: BlissdataWriter, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run()
    with BlissdataWriter(redis_url, journal=tmp_path / "other") as other:
        for document in run.whole(50, ["number"]):
            writer(*document)
            other(*document)
        assert [writer.flush(60), other.flush(60)].count(True) == 1
    assert list(columns(load(redis_url, run.uid))["primary:number"]) == [n / 3 for n in range(50)]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_plan_is_not_disturbed_by_a_writer_that_was_subscribed_too_late(
    RE: RunEngine, redis_url: str, writer: BlissdataWriter, caplog: pytest.LogCaptureFixture
) -> None:
    import bluesky.plan_stubs as bps
    import bluesky.preprocessors as bpp

    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([det])
        yield from bps.subscribe("all", writer)
        for _ in range(20):
            yield from bps.trigger_and_read([det])

    RE(plan())
    assert writer.statistics().queued == 0
    errors = [record for record in caplog.records if record.name.startswith("blissdata_bluesky")]
    assert len(errors) <= 2
    assert "subscribed after its start" in errors[0].getMessage()
    with redis.Redis.from_url(redis_url) as client:
        assert not client.exists(scan_key(RE.md.get("uid", "")))


def test_a_writer_that_is_subscribed_twice_takes_each_document_once(
    RE: RunEngine, redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        RE.subscribe(writer)
        RE.subscribe(lambda name, doc: writer(name, doc))
        (uid,) = RE(count([det], 3))
        assert writer.flush(90)
    scan = DataStore(redis_url).load_scan(scan_key(uid))
    assert scan.streams["primary:seq_num"][:].tolist() == [1, 2, 3]
    assert scan.info["end_reason"] == "SUCCESS"
    assert [r.levelname for r in caplog.records if r.name.startswith("blissdata_bluesky")] == ["ERROR"]


def test_a_second_run_with_the_uid_of_an_open_one_leaves_it_as_it_is(redis_url: str, tmp_path: Path) -> None:
    first = Run(scan_id=1)
    second = Run(uid=first.uid, scan_id=2)
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        mine, other = (
            [run.start, run.describe(keys=["number"]), *(run.event({"number": x}) for x in values), run.stop()]
            for run, values in ((first, [1.0, 2.0]), (second, [100.0, 200.0]))
        )
        for name, document in [*mine[:3], *other, *mine[3:]]:
            writer(name, document)
        assert writer.flush(90)
    scan = DataStore(redis_url).load_scan(scan_key(first.uid))
    assert (scan.number, scan.streams["primary:number"][:].tolist()) == (1, [1.0, 2.0])


def test_a_forked_child_leaves_the_run_to_its_parent(redis_url: str, tmp_path: Path) -> None:
    run = Run(scan_id=1)
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        for name, document in [run.start, run.describe(keys=["number"])]:
            writer(name, document)
        event = run.event({"number": 1.0})
        if (child := os.fork()) == 0:
            try:
                writer(*event)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        for name, document in (event, run.stop()):
            writer(name, document)
        assert writer.flush(90)
    [path] = tmp_path.glob("*journal")
    with JournalReader(path) as reader:
        assert len(list(reader.records())) == 5


def test_a_database_that_was_emptied_is_initialised_for_the_next_run(redis_url: str, tmp_path: Path) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer, redis.Redis.from_url(redis_url) as client:
        for _ in range(2):
            run = Run(scan_id=1)
            for name, document in [run.start, run.describe(keys=["number"]), run.event({"number": 1.0}), run.stop()]:
                writer(name, document)
            assert writer.flush(90)
            assert DataStore(redis_url).search_existing_scans(dataset=run.uid)[1] == [scan_key(run.uid)]
            client.flushall()


def test_a_deleted_run_may_be_published_again(redis_url: str, tmp_path: Path) -> None:
    run = Run(scan_id=1)
    documents = [run.start, run.describe(keys=["number"]), run.event({"number": 1.0}), run.stop()]
    with BlissdataWriter(redis_url, journal=tmp_path) as writer, redis.Redis.from_url(redis_url) as client:
        for _ in range(2):
            for name, document in documents:
                writer(name, document)
            assert writer.flush(90)
            client.delete(scan_key(run.uid), *client.scan_iter("esrf:stream:*"))
