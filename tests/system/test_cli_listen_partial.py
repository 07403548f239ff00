"""`blissdata-bluesky listen` where it does not hear all of a run: the log says so, and the run never looks whole."""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blissdata_bluesky.archive import ArchivedFile
from blissdata_bluesky.journal import Fate, JournalDirectory
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .collected import columns
from .emitted import Named
from .tiled_runs import eventually
from .zmq_site import Engine, Proxy, closed, found, listening, running_engine, running_proxy


@pytest.fixture
def proxy() -> Any:
    with running_proxy() as proxy:
        yield proxy


@pytest.fixture
def engine(proxy: Proxy, tmp_path: Path) -> Any:
    with running_engine(proxy, tmp_path) as engine:
        yield engine


def events(documents: list[Named], stream: str) -> list[dict[str, Any]]:
    (descriptor,) = (doc["uid"] for name, doc in documents if name == "descriptor" and doc["name"] == stream)
    return [doc for name, doc in documents if name == "event" and doc["descriptor"] == descriptor]


def rows_of(url: str, uid: str) -> int:
    """Rows of `primary` that Redis has."""
    scan = found(url, uid)
    return len(scan.streams["primary:seq_num"]) if scan and "primary:seq_num" in scan.streams else 0


def test_a_run_that_is_joined_has_the_streams_that_are_heard_from_their_descriptor_on(
    redis_url: str, tmp_path: Path, proxy: Proxy, engine: Engine, runs: RedisRuns, client: Any
) -> None:
    archive = tmp_path / "archive"
    engine.do("stepwise 3 dark")
    with listening(proxy, redis_url, tmp_path / "journal", "--archive", archive) as listener:
        listener.hears(engine)
        # no document of `primary` tells which run it is of
        for _ in range(3):
            engine.do()
        ((uid, _),) = engine.runs().items()
        joined = listener.logged(f"run {uid} was joined in mid-run")
        assert "its start, and what came before" in joined
        engine.do()
        (documents,) = engine.runs().values()
        listener.said(f"{uid}  joined in mid-run  ends: success, 2 events  incomplete: joined in mid-run")
        scan = closed(redis_url, uid)
        assert_partial(scan, events(documents, "dark"))
        incomplete = scan.info["bluesky"]["incomplete"]
        assert incomplete.endswith("heard: stream 'primary': none of 3 events, for its descriptor was not heard")
        # Tiled
        shown = eventually(lambda: told if "incomplete" in (told := client[uid].metadata) else None)
        assert shown["incomplete"] == incomplete
        assert shown["start"]["blissdata_bluesky"]["stand_in"] is True
        assert shown["stop"]["exit_status"] == "success"
        assert client[uid]["dark"].read().sizes["time"] == 2
        # our reader: nothing but what was heard, and what stands in for the start
        run = runs.get(uid)
        assert run.incomplete == incomplete
        (start, *others) = run.documents()
        assert start == ("start", shown["start"])
        assert [name for name, _ in others] == ["descriptor", "event", "event", "stop"]
        assert others[-1] == documents[-1]
        # the archive
        view = eventually(lambda: archived(archive, uid), 60)
        assert view.incomplete == incomplete
        assert [entry.name for entry in view.entries] == ["start", "descriptor", "stop"]
        assert listener.end() == 0


def assert_partial(scan: Any, heard: list[dict[str, Any]]) -> None:
    assert scan.info["end_reason"] == "FAILURE"
    assert scan.info["bluesky"]["incomplete"].startswith("joined in mid-run: its start, and what came before")
    rows = columns(scan)
    assert list(rows["dark:seq_num"]) == [event["seq_num"] for event in heard]
    assert list(rows["dark:det"]) == [event["data"]["det"] for event in heard]
    assert {name.split(":")[0] for name in rows} == {"dark"}


def archived(root: Path, uid: str) -> Any:
    """The run's file, when it is finished."""
    paths = list(root.rglob(f"{uid}.h5"))
    view = ArchivedFile(paths[0]).look() if paths else None
    return view if view is not None and view.complete else None


def test_a_run_of_which_the_stop_alone_is_heard(
    redis_url: str, tmp_path: Path, proxy: Proxy, engine: Engine, client: Any
) -> None:
    engine.do("stepwise 4")
    with listening(proxy, redis_url, tmp_path / "journal") as listener:
        listener.hears(engine)
        for _ in range(4):
            engine.do()
        (uid,) = engine.runs()
        scan = closed(redis_url, uid)
        assert scan.info["end_reason"] == "FAILURE"
        assert "joined in mid-run" in scan.info["bluesky"]["incomplete"]
        assert "stream 'primary': none of 4 events" in scan.info["bluesky"]["incomplete"]
        assert columns(scan) == {}
        assert eventually(lambda: client[uid].metadata.get("incomplete")) == scan.info["bluesky"]["incomplete"]
        # of events whose run is not known, it says so once
        assert sum("descriptor=" in line for line in listener.log) == 1
        assert listener.end() == 0


def test_a_run_that_is_published_properly_elsewhere_stays_as_it_is(
    redis_url: str, tmp_path: Path, proxy: Proxy, engine: Engine
) -> None:
    """The documents go to a writer as well, as they would in the RunEngine's process."""
    given = 0
    with BlissdataWriter(redis_url, journal=tmp_path / "own") as writer:

        def give() -> None:
            nonlocal given
            for name, document in engine.emitted()[given:]:
                writer(name, document)
                given += 1
            assert writer.flush(90)

        engine.do("stepwise 2 dark")
        give()
        with listening(proxy, redis_url, tmp_path / "journal") as listener:
            listener.hears(engine)
            engine.do()
            give()
            engine.do()
            (uid,) = engine.runs()
            listener.logged(f"run {uid} was joined in mid-run")
            listener.logged(f"run {uid} is not published any further .*belongs to another publisher")
            engine.do()
            give()
            assert listener.end() == 0
        scan = closed(redis_url, uid)
    assert scan.info["end_reason"] == "SUCCESS"
    assert "incomplete" not in scan.info["bluesky"]
    assert len(scan.streams["primary:det"]) == 2
    assert len(scan.streams["dark:det"]) == 2
    # the partial one waits for somebody to decide
    assert len(JournalDirectory(tmp_path / "journal").paths(Fate.ABANDONED)) == 1


def test_a_listener_that_is_killed_and_started_again_in_the_same_run(
    redis_url: str, tmp_path: Path, proxy: Proxy, engine: Engine
) -> None:
    journal = tmp_path / "journal"
    with listening(proxy, redis_url, journal) as listener:
        listener.hears(engine)
        engine.do("stepwise 3 dark")
        engine.do()
        (uid,) = engine.runs()
        eventually(lambda: rows_of(redis_url, uid) == 2)
        listener.end(signal.SIGKILL)
    with listening(proxy, redis_url, journal) as listener:
        listener.hears(engine)
        for _ in range(3):
            engine.do()
        listener.logged(f"run {uid} was joined in mid-run, and a journal has its beginning")
        scan = closed(redis_url, uid)
        assert scan.info["end_reason"] == "FAILURE"
        assert "ended before the run did" in scan.info["bluesky"]["incomplete"]
        assert len(scan.streams["primary:det"]) == 2
        assert "dark:det" not in scan.streams
        listener.hears(engine)
        assert listener.end() == 0
        assert sum(uid in line for line in listener.log) == 2


def test_documents_that_0mq_dropped(
    redis_url: str, tmp_path: Path, proxy: Proxy, engine: Engine, runs: RedisRuns
) -> None:
    """The proxy is held up, so that the Publisher's queue overflows, as in a burst that is faster than the network."""
    with listening(proxy, redis_url, tmp_path / "journal") as listener:
        listener.hears(engine)
        proxy.signal(signal.SIGSTOP)
        engine.do("burst 6000 1000")
        proxy.signal(signal.SIGCONT)
        listener.hears(engine)
        engine.do()
        ((uid, documents),) = engine.runs().items()
        emitted = events(documents, "primary")
        assert len(emitted) == 6001
        scan = closed(redis_url, uid)
        rows = len(scan.streams["primary:large"])
        assert 1 < rows < 6001
        assert_lost(scan, emitted, rows)
        assert runs.get(uid).incomplete == scan.info["bluesky"]["incomplete"]
        assert listener.end() == 0
        gap, total = listener.faults
        before, behind = first_gap(scan)
        assert f"run {uid}: documents did not arrive: stream 'primary' goes from seq_num {before} to {behind}" in gap
        assert f"run {uid} is not whole: documents did not arrive: stream 'primary': {rows} of 6001 events" in total


def first_gap(scan: Any) -> tuple[int, int]:
    """The numbers before and behind the first events that are missing."""
    return next(pair for pair in pairwise(columns(scan)["primary:seq_num"].tolist()) if pair[1] - pair[0] > 1)


def assert_lost(scan: Any, emitted: list[dict[str, Any]], rows: int) -> None:
    """What arrived is there as it was emitted, and of the rest it is said that it is missing."""
    assert scan.info["end_reason"] == "FAILURE"
    stream = f"stream 'primary': {rows} of {len(emitted)} events"
    assert scan.info["bluesky"]["incomplete"] == f"documents did not arrive: {stream}"
    by_number = {event["seq_num"]: event for event in emitted}
    rows_of_key = columns(scan)
    heard = [by_number[number] for number in rows_of_key["primary:seq_num"]]
    assert len(heard) == rows
    for key in heard[0]["data"]:
        pairs = zip(rows_of_key[f"primary:{key}"], heard, strict=True)
        assert all(np.array_equal(value, event["data"][key]) for value, event in pairs)


def test_the_proxy_is_away_in_mid_run(redis_url: str, tmp_path: Path, proxy: Proxy, engine: Engine) -> None:
    with listening(proxy, redis_url, tmp_path / "journal") as listener:
        listener.hears(engine)
        engine.do("stepwise 4")
        (uid,) = engine.runs()
        eventually(lambda: rows_of(redis_url, uid) == 1)
        proxy.kill()
        listener.logged("the proxy at .* is gone")
        engine.do()
        proxy.start()
        listener.hears(engine)
        for _ in range(3):
            engine.do()
        scan = closed(redis_url, uid)
        (documents,) = engine.runs().values()
        # what a Publisher has in its queue when its connection is lost may be sent to the new proxy
        rows = rows_of(redis_url, uid)
        assert rows in {3, 4}
        if rows == 3:
            assert_lost(scan, events(documents, "primary"), 3)
        assert listener.end() == 0
