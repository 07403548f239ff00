"""The disk is full, or Redis: the scan goes on, the log says so once, and what can be kept arrives."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import pytest
from bluesky.run_engine import RunEngine
from ophyd.sim import det

from benchmarks.faults.bench import bench, disk_full, full
from benchmarks.faults.log import Told, listening
from blissdata_bluesky import writer as writer_module
from blissdata_bluesky.errors import WriterLossError
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .collected import Collector, assert_equal, columns, load
from .published import SCALARS, Published, levels
from .tiled_runs import Run, eventually

LIMITED = """
import sys
from tests.system import test_writer_disk_full as tests
tests.go_on(sys.argv[1], tests.Path(sys.argv[2]), getattr(tests, sys.argv[3]))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no tmpfs can be mounted: {error}")
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@contextmanager
def nothing_grows(_: Path) -> Iterator[None]:
    """No file of this process may be written."""
    with disk_full():
        yield


@contextmanager
def half_a_record(journal: Path) -> Iterator[None]:
    """There is room for the beginning of a journal, and then for a part of a record."""
    longest = max(path.stat().st_size for path in journal.glob("*.journal"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (longest + 50, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def filled(journal: Path) -> Iterator[None]:
    """There is no room on the disk."""
    filler = journal.parent / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(100))
    yield
    filler.unlink()


def go_on(url: str, journal: Path, spoil: Callable[[Path], Any]) -> None:
    """Runs that begin before, while and after the disk is full, beside a Redis that answers."""
    told = Told()
    with BlissdataWriter(url, journal=journal, on_loss="abort") as writer, listening(told):
        runs = [Published(writer, SCALARS) for _ in range(3)]
        for run in runs:
            run.events(5)
        with spoil(journal):
            for run in runs:
                run.events(100)
            runs += [Published(writer, SCALARS) for _ in range(2)]
            for run in runs[2:]:
                run.events(50)
            for run in runs[1:]:
                run.stop()
            assert writer.flush(60)
            assert [level for level, _ in told.records] == ["ERROR"], told.records
            assert str(journal) in told.records[0][1]
        runs.append(Published(writer, SCALARS))
        feed = writer._routes[runs[-1].run.uid]
        assert feed.journal is not None and not feed.journal.failed
        runs[-1].events(100)
        for run in (runs[0], runs[-1]):
            run.stop()
        for run in runs:
            run.assert_whole(url)
    assert [level for level, _ in told.records] == ["ERROR", "WARNING"], told.records
    assert "again" in told.records[1][1]


@pytest.mark.parametrize("room", ["nothing_grows", "half_a_record"])
def test_runs_go_on_from_memory_when_files_must_not_grow(redis_url: str, tmp_path: Path, room: str) -> None:
    # the limit is of the whole process
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, redis_url, str(tmp_path), room], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_runs_go_on_from_memory_when_the_disk_is_full(redis_url: str, small_disk: Path) -> None:
    go_on(redis_url, small_disk / "journal", filled)


def test_what_found_room_in_memory_arrives_when_redis_was_away_as_well(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = RedisServer()
    with BlissdataWriter(server.url, journal=tmp_path, on_loss="abort") as writer:
        with disk_full():
            published = Published(writer, SCALARS)
            published.events(100)
            published.stop()
        assert levels(caplog) == ["WARNING", "ERROR"]
        with server:
            published.assert_whole(server.url)
    assert levels(caplog) == ["WARNING", "ERROR", "WARNING"]


@pytest.mark.parametrize("kept", ["no journal", "the disk is full"])
@pytest.mark.parametrize("on_loss", ["warn", "abort"])
def test_only_abort_ends_the_plan_and_only_when_there_is_no_room_anywhere(
    RE: RunEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    kept: str,
    on_loss: Any,
) -> None:
    monkeypatch.setattr(writer_module, "_MEMORY_LIMIT", 20_000)
    server = RedisServer()
    collector = Collector()
    RE.subscribe(collector)
    journal = tmp_path if kept == "the disk is full" else None
    with BlissdataWriter(server.url, journal=journal, on_loss=on_loss) as writer:
        RE.subscribe(writer)
        with disk_full():
            RE(bp.count([det], num=5))
            if on_loss == "abort":
                with pytest.raises(WriterLossError, match="documents are lost"):
                    RE(bp.count([det], num=500))
            else:
                RE(bp.count([det], num=500))
        assert RE.state == "idle"
        first, second = collector.uids
        events = len(collector.streams(second)["primary:det"])
        assert (events < 500) is (on_loss == "abort")
        with server:
            assert not writer.flush(60), "documents were given up"
            assert_equal(columns(load(server.url, first)), collector.streams(first))
            lost = load(server.url, second)
            assert 0 < len(lost.streams["primary:det"]) < 500
            assert writer.statistics().queued == 0
    assert levels(caplog).count("ERROR") == (2 if journal else 1), "of the run, and of the disk"


def test_a_scan_is_created_grows_and_ends_while_redis_is_full_and_all_of_it_arrives(
    RE: RunEngine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    collector = Collector()
    RE.subscribe(collector)
    with (
        bench(tmp_path / "redis") as there,
        BlissdataWriter(there.server.url, journal=tmp_path / "journal") as writer,
    ):
        RE.subscribe(writer)
        begun = Published(writer)
        begun.events(5)
        assert writer.flush(90)
        with full(there):
            begun.events(50)
            RE(bp.count([det], num=50))
            begun.stop()
            assert not writer.flush(1)
            with there.client() as client:
                assert not client.exists(scan_key(collector.uids[0]))
        begun.assert_whole(there.server.url)
        [uid] = collector.uids
        assert_equal(columns(load(there.server.url, uid)), collector.streams(uid))
    assert levels(caplog) == ["WARNING", "WARNING"]


def test_no_row_is_left_out_that_was_too_large_when_the_next_one_was_not(tmp_path: Path) -> None:
    texts = ["x" * size for size in (1, 4_000_000, 2, 3)]
    with (
        bench(tmp_path / "redis") as there,
        BlissdataWriter(there.server.url, journal=tmp_path / "journal") as writer,
        there.client() as client,
    ):
        run = Run()
        for document in (run.start, run.describe(keys=["text"])):
            writer(*document)
        assert writer.flush(90)
        with full(there):
            writer(*run.event({"text": texts[0]}))
            eventually(lambda: writer.statistics().lag > 0.1)
            # these wait for the first one, and then go together
            for text in texts[1:]:
                writer(*run.event({"text": text}))
            # room for the small ones, and not for the large one
            client.config_set("maxmemory", client.info("memory")["used_memory"] + 5_000_000)
            eventually(lambda: writer.statistics().published_rows)
            time.sleep(0.5)
        writer(*run.stop())
        assert writer.flush(90)
        arrived = load(there.server.url, run.uid).streams["primary:text"][:]
        assert list(map(len, arrived)) == list(map(len, texts))
