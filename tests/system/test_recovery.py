"""A publisher dies: its runs are finished from their journals, and never look complete when they are not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import redis
from blissdata import DataStore, ScanState

from blissdata_bluesky.errors import JournalOwnedError, JournalTargetError
from blissdata_bluesky.journal import Fate, JournalDirectory, JournalReader
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.publish import recover, replay
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .collected import columns, load
from .published import SCALARS, Published, levels
from .tiled_runs import eventually

PUBLISHER = """
    import os, signal, sys
    from blissdata_bluesky.writer import BlissdataWriter
    from tests.system.tiled_runs import Run, row
    url, journal, flushed, unflushed, stopped = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    writer = BlissdataWriter(url, journal=journal)
    run = Run(uid="00000000-1111-2222-3333-444444444444")
    for document in (run.start, run.describe()):
        writer(*document)
    for index in range(flushed):
        writer(*run.event(row(index)))
    assert not flushed or writer.flush(60)
    for index in range(flushed, flushed + unflushed):
        writer(*run.event(row(index)))
    if stopped:
        writer(*run.stop())
    os.kill(os.getpid(), signal.SIGKILL)
"""
UID = "00000000-1111-2222-3333-444444444444"


def killed(url: str, journal: Path, flushed: int, unflushed: int, *, stopped: bool) -> None:
    """A process that publishes a run and is killed in the middle of it."""
    arguments = [url, journal, flushed, unflushed, int(stopped)]
    code = textwrap.dedent(PUBLISHER)
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize(("flushed", "unflushed"), [(10, 0), (0, 20), (10, 20), (0, 0)])
@pytest.mark.parametrize("stopped", [True, False])
def test_the_next_writer_finishes_what_a_killed_one_left(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, flushed: int, unflushed: int, stopped: bool
) -> None:
    killed(redis_url, tmp_path, flushed, unflushed, stopped=stopped)
    with BlissdataWriter(redis_url, journal=tmp_path) as writer, RedisRuns(redis_url) as runs:
        [sentence] = eventually(lambda: writer.statistics().recovered)
        scan = load(redis_url, UID)
        assert scan.state == ScanState.CLOSED
        assert all(stream.is_sealed() for stream in scan.streams.values())
        assert len(columns(scan).get("primary:number", ())) == flushed + unflushed
        assert scan.info["end_reason"] == ("SUCCESS" if stopped else "FAILURE")
        run = runs.get(UID)
        assert run.closed
        assert (run.stop is not None) is stopped
        assert bool(run.incomplete) is not stopped
        assert str(flushed + unflushed) in sentence
        assert ("incomplete" in sentence) is not stopped
    assert levels(caplog) == ["WARNING"]
    directory = JournalDirectory(tmp_path)
    assert directory.paths(Fate.UNFINISHED, Fate.ABANDONED) == []
    assert len(directory.paths(Fate.FINISHED)) == 1


def test_recover_says_what_it_did_and_is_done_once(redis_url: str, tmp_path: Path) -> None:
    killed(redis_url, tmp_path, 5, 5, stopped=False)
    [sentence] = recover(tmp_path, redis_url, 60)
    assert UID in sentence
    assert recover(tmp_path, redis_url, 60) == []


def test_an_emptied_redis_gets_the_run_of_a_killed_publisher(redis_url: str, tmp_path: Path) -> None:
    killed(redis_url, tmp_path, 5, 5, stopped=True)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    assert len(recover(tmp_path, redis_url, 60)) == 1
    assert len(load(redis_url, UID).streams["primary:number"]) == 10


def test_a_deleted_scan_is_not_raised_from_the_dead_unless_somebody_asks(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed(redis_url, tmp_path, 5, 5, stopped=False)
    DataStore(redis_url).delete_scan(scan_key(UID), force=True)
    with redis.Redis.from_url(redis_url) as client:
        assert "deleted" in recover(tmp_path, redis_url, 60)[0]
        eventually(lambda: not client.exists(scan_key(UID)))
        assert recover(tmp_path, redis_url, 60) == []
        assert not client.exists(scan_key(UID))
    assert levels(caplog) == ["ERROR"]
    [path] = JournalDirectory(tmp_path).paths(Fate.ABANDONED)
    [sentence] = replay(path, redis_url, 60)
    assert "10 rows" in sentence
    assert load(redis_url, UID).state == ScanState.CLOSED


def test_a_journal_for_another_redis_is_left_alone(redis_url: str, tmp_path: Path) -> None:
    killed(redis_url, tmp_path, 5, 5, stopped=True)
    with RedisServer() as other:
        assert recover(tmp_path, other.url, 60) == []
        [path] = JournalDirectory(tmp_path).paths(Fate.UNFINISHED)
        with pytest.raises(JournalTargetError, match=UID):
            replay(path, other.url, 60)
        with redis.Redis.from_url(other.url) as client:
            assert not client.exists(scan_key(UID))
    assert len(recover(tmp_path, redis_url, 60)) == 1


def test_a_journal_of_a_living_writer_is_left_alone(redis_url: str, tmp_path: Path) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        published = Published(writer, SCALARS)
        published.events(3)
        assert recover(tmp_path, redis_url, 60) == []
        [path] = JournalDirectory(tmp_path).paths(Fate.UNFINISHED)
        with pytest.raises(JournalOwnedError):
            replay(path, redis_url, 60)
        with BlissdataWriter(redis_url, journal=tmp_path) as other:
            assert other.statistics().recovered == ()
        published.stop()
        published.assert_whole(redis_url)


def test_two_writers_of_one_run_on_one_directory_give_each_row_once(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with BlissdataWriter(redis_url, journal=tmp_path) as one, BlissdataWriter(redis_url, journal=tmp_path) as two:

        def both(name: str, document: dict[str, Any]) -> None:
            one(name, document)
            two(name, document)

        both.flush = one.flush  # type: ignore[attr-defined]
        published = Published(both, SCALARS)  # type: ignore[arg-type]
        published.events(20)
        published.stop()
        one.flush(60)
        two.flush(60)
        published._writer = one
        scan = load(redis_url, published.run.uid)
        assert list(scan.streams["primary:integer"][:]) == list(range(20))
    assert levels(caplog) == ["ERROR"]
    assert len(JournalDirectory(tmp_path).paths(Fate.ABANDONED)) == 1
    assert recover(tmp_path, redis_url, 60) == []


def test_a_recovery_that_is_killed_is_recovered(redis_url: str, tmp_path: Path) -> None:
    killed(redis_url, tmp_path, 50, 300, stopped=False)
    code = f"""
        import os, signal, threading, time
        from blissdata_bluesky.publish import recover
        threading.Thread(target=recover, args=({str(tmp_path)!r}, {redis_url!r})).start()
        time.sleep(0.03)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    for _ in range(5):
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    recover(tmp_path, redis_url, 60)
    assert list(load(redis_url, UID).streams["primary:integer"][:]) == list(range(350))


def test_a_torn_tail_is_left_out_and_said(redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    killed(redis_url, tmp_path, 0, 20, stopped=True)
    [path] = JournalDirectory(tmp_path).paths(Fate.UNFINISHED)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    os.truncate(path, path.stat().st_size - 3)
    recover(tmp_path, redis_url, 60)
    scan = load(redis_url, UID)
    assert len(scan.streams["primary:number"]) == 20
    assert scan.info["end_reason"] == "FAILURE", "the stop document was torn"
    assert "torn or damaged" in caplog.text


def test_readers_see_why_a_run_is_incomplete(redis_url: str, tmp_path: Path, server: Any, client: Any) -> None:
    killed(redis_url, tmp_path, 5, 0, stopped=False)
    run = eventually(lambda: client[UID])
    assert "incomplete" not in run.metadata
    recover(tmp_path, redis_url, 60)
    metadata = eventually(lambda: found if "incomplete" in (found := client[UID].metadata) else None)
    assert "ended before the run did" in metadata["incomplete"]
    assert "stop" not in metadata
    assert [name for name, _ in client[UID].documents()][-1] == "event"
    assert "stop" not in dict(client[UID].documents())


def test_a_journal_tells_whom_it_belongs_to(redis_url: str, tmp_path: Path) -> None:
    killed(redis_url, tmp_path, 0, 1, stopped=False)
    [path] = JournalDirectory(tmp_path).paths()
    with JournalReader(path) as reader:
        assert not reader.owned
        assert reader.header.identity["dataset"] == UID
    recover(tmp_path, redis_url, 60)
