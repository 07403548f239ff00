"""One run in Redis and in the archive: held from its start to its end and beyond, whatever happens to either."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from blissdata_bluesky.archive import reading
from blissdata_bluesky.errors import ArchiveFormatError, RowsTrimmedError, RunNotFoundError, RunUnavailableError
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.publish import replay
from blissdata_bluesky.publish.database import data_store
from blissdata_bluesky.runs import ArchivedRuns, JoinedRuns, RedisRuns, Run
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter
from tests.proxy import Fault, Proxy

from .archive_site import Site, dataset_called, joined_runs, open_site
from .damaging import damage
from .emitted import EmittedRun, give, scalar_events, scalar_run, whole_run
from .published import levels
from .run_contract import assert_same_documents
from .test_runs_redis_growing import watch
from .tiled_runs import eventually

NOBODY = "redis://127.0.0.1:1"


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(redis_url, tmp_path) as site:
        yield site


@pytest.fixture
def joined(site: Site) -> Iterator[JoinedRuns]:
    """Nothing is kept, so that every read goes where the rows are."""
    with joined_runs(site, cache_bytes=0) as runs:
        yield runs


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that may be stopped."""
    with RedisServer(directory=tmp_path / "redis") as server:
        yield server


def give_slowly(site: Site, emitted: EmittedRun, rows: range) -> None:
    """Events one by one, so that each row is an entry of its own."""
    for row in rows:
        site.give(scalar_events(emitted, [row]))


def trim(site: Site, uid: str, **first: int) -> None:
    for name, row in first.items():
        site.trim(site.columns(uid)[f"primary:{name}"], row)


def assert_whole(run: Run, rows: int, emitted: EmittedRun) -> None:
    stream = run.streams["primary"]
    assert stream.rows() == rows
    assert stream.read("integer").tolist() == list(range(rows))
    table = stream.table()
    assert table.data["number"].tolist() == [row / 3 for row in range(rows)]
    assert table.seq_num.tolist() == [row + 1 for row in range(rows)]
    assert_same_documents(run.documents(), emitted.documents)


def test_a_run_that_is_held_through_all_phases(site: Site, joined: JoinedRuns) -> None:
    emitted = scalar_run(0)
    site.give(emitted.documents)
    run = joined.get(emitted.uid)
    stream = run.streams["primary"]
    give_slowly(site, emitted, range(10))
    assert_whole(run, 10, emitted)
    site.archive()
    give_slowly(site, emitted, range(10, 20))
    trim(site, emitted.uid, integer=10, number=7, time=3, timestamps=9)
    assert_whole(run, 20, emitted)
    site.give(emitted.stop())
    trim(site, emitted.uid, seq_num=10)
    run.refresh()
    assert run.closed
    assert_whole(run, 20, emitted)
    site.archive()
    assert_whole(run, 20, emitted)
    site.expire(emitted.uid)
    assert_whole(run, 20, emitted)
    site.wipe()
    assert_whole(run, 20, emitted)
    run.refresh()
    assert run.closed
    assert run.streams["primary"] is stream
    assert joined.get(emitted.uid) is run
    with joined_runs(site) as others:
        assert_whole(others.get(emitted.uid), 20, emitted)


def test_rows_that_were_trimmed_before_they_were_archived_reappear(site: Site, joined: JoinedRuns) -> None:
    emitted = scalar_run(0)
    site.give(emitted.documents)
    run = joined.get(emitted.uid)
    stream = run.streams["primary"]
    give_slowly(site, emitted, range(5))
    site.archive()
    give_slowly(site, emitted, range(5, 20))
    trim(site, emitted.uid, integer=12)
    assert stream.rows() == 20
    with pytest.raises(RunUnavailableError) as caught:
        stream.read("integer")
    for part in (emitted.uid, "'primary'", "rows 5 to 20", "primary:integer", "archiver has not written them yet"):
        assert part in str(caught.value)
    with pytest.raises(RunUnavailableError):
        list(run.documents())
    assert stream.read("integer", 0, 5).tolist() == list(range(5))
    assert stream.read("integer", 12, 20).tolist() == list(range(12, 20))
    assert stream.read("number").tolist() == [row / 3 for row in range(20)]
    site.archive()
    assert_whole(run, 20, emitted)
    site.give(emitted.stop())


def test_a_redis_that_is_wiped_before_the_archiver_has_caught_up(site: Site, joined: JoinedRuns) -> None:
    emitted = scalar_run(0)
    site.give(emitted.documents)
    run = joined.get(emitted.uid)
    stream = run.streams["primary"]
    give_slowly(site, emitted, range(5))
    site.archive()
    give_slowly(site, emitted, range(5, 20))
    assert stream.rows() == 20
    site.give(emitted.stop())
    run.refresh()
    site.wipe()
    for _ in range(2):
        assert stream.rows() == 20
        assert stream.read("integer", 0, 5).tolist() == list(range(5))
        with pytest.raises(RunUnavailableError, match="rows 5 to 20.*archiver has not written them yet"):
            stream.read("integer")
        with pytest.raises(RunUnavailableError):
            list(run.documents())
        run.refresh()
        assert (run.closed, run.stop) == (True, emitted.documents[-1][1])
    with joined_runs(site) as others:
        other = others.get(emitted.uid)
        assert (other.closed, other.stop) == (False, None)
        assert other.streams["primary"].read("integer").tolist() == list(range(5))
        site.archive(seal=False)
        run.refresh()
        assert run.closed
        assert_whole(run, 20, emitted)
        other.refresh()
        assert (other.closed, other.stop) == (False, emitted.documents[-1][1])
        site.archive()
        assert_whole(run, 20, emitted)
        other.refresh()
        assert other.closed
        assert_whole(other, 20, emitted)


def test_documents_that_tell_of_rows_which_nobody_has(site: Site, joined: JoinedRuns) -> None:
    """The rows were never asked for, so that only the stop document tells how many there are."""
    emitted = scalar_run(5)
    site.give(emitted.documents)
    site.archive()
    site.give([*scalar_events(emitted, range(5, 8)), *emitted.stop()])
    run = joined.get(emitted.uid)
    site.wipe()
    with pytest.raises(RunUnavailableError, match="tell of 8 rows.*more than 5"):
        list(run.documents())


def test_a_run_of_which_only_redis_knew(site: Site, joined: JoinedRuns) -> None:
    emitted = scalar_run(5)
    emitted.stop()
    site.give(emitted.documents)
    run = joined.get(emitted.uid)
    assert run.streams["primary"].rows() == 5
    site.wipe()
    assert run.streams["primary"].rows() == 5
    with pytest.raises(RunUnavailableError, match="archiver has not written them yet"):
        run.streams["primary"].read("integer")
    for ask in (run.refresh, lambda: joined.get(emitted.uid)):
        with pytest.raises(RunNotFoundError, match=f"{emitted.uid}.*not archived either.*archived or published again"):
            ask()
    site.archive()
    run.refresh()
    assert_whole(run, 5, emitted)
    assert_whole(joined.get(emitted.uid), 5, emitted)


def test_a_run_that_was_deleted_on_purpose(redis_url: str, joined: JoinedRuns, tmp_path: Path) -> None:
    emitted = scalar_run(5)
    emitted.stop()
    with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
        give(writer, emitted.documents)
        run = joined.get(emitted.uid)
        assert_whole(run, 5, emitted)
        data_store(redis_url).delete_scan(scan_key(emitted.uid))
    for ask in (run.refresh, lambda: joined.get(emitted.uid)):
        with pytest.raises(RunNotFoundError, match=f"{emitted.uid}.*deleted"):
            ask()


def test_a_run_without_a_file_beside_an_archive(redis_url: str, site: Site, joined: JoinedRuns, tmp_path: Path) -> None:
    emitted = scalar_run(5)
    emitted.stop()
    with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
        give(writer, emitted.documents)
    run = joined.get(emitted.uid)
    assert_whole(run, 5, emitted)
    trim(site, emitted.uid, integer=100)
    with pytest.raises(RowsTrimmedError, match="primary:integer"):
        run.streams["primary"].read("integer")


def test_a_complete_file_is_read_without_redis(site: Site) -> None:
    emitted = scalar_run(20)
    emitted.stop()
    site.give(emitted.documents)
    site.archive()
    with joined_runs(site, NOBODY) as runs:
        assert_whole(runs.get(emitted.uid, site.hint(emitted.uid)), 20, emitted)
    with joined_runs(site, NOBODY) as runs:
        assert_whole(runs.get(emitted.uid), 20, emitted)


def test_a_redis_that_hangs_is_not_asked_for_archived_runs(site: Site, redis_server: RedisServer) -> None:
    emitted = scalar_run(20)
    emitted.stop()
    site.give(emitted.documents)
    site.archive()
    hint = site.hint(emitted.uid)
    with Proxy(redis_server.port) as proxy, joined_runs(site, f"{proxy.url}?socket_timeout=90") as runs:
        proxy.begin(Fault.HANG)
        began = time.monotonic()
        assert_whole(runs.get(emitted.uid, hint), 20, emitted)
        assert time.monotonic() - began < 60


def test_a_redis_that_stops(own_server: RedisServer, tmp_path: Path) -> None:
    complete, growing, unarchived = scalar_run(5), scalar_run(5), scalar_run(5)
    complete.stop()
    with open_site(own_server.url, tmp_path) as site, joined_runs(site, cache_bytes=0) as joined:
        for emitted in (complete, growing):
            site.give(emitted.documents)
        site.archive()
        site.give(unarchived.documents)
        runs = {emitted.uid: joined.get(emitted.uid) for emitted in (complete, growing, unarchived)}
        for run in runs.values():
            assert run.streams["primary"].rows() == 5
        own_server.stop()
        began = time.monotonic()
        assert_whole(runs[complete.uid], 5, complete)
        runs[complete.uid].refresh()
        assert joined.get(complete.uid) is runs[complete.uid]
        for emitted in (growing, unarchived):
            run = runs[emitted.uid]
            for ask in (run.refresh, run.streams["primary"].rows, lambda uid=emitted.uid: joined.get(uid)):
                with pytest.raises(RunUnavailableError, match=emitted.uid):
                    ask()
        # what is on the disk is on the disk
        assert runs[growing.uid].streams["primary"].read("integer", 0, 5).tolist() == list(range(5))
        with pytest.raises(RunUnavailableError, match="does not answer"):
            runs[unarchived.uid].streams["primary"].read("integer", 0, 5)
        assert time.monotonic() - began < 60
        own_server.start()
        for emitted in (growing, unarchived):
            assert_whole(joined.get(emitted.uid), 5, emitted)
            site.give(emitted.stop())


def test_a_run_that_completes_while_redis_is_away(own_server: RedisServer, tmp_path: Path) -> None:
    emitted = scalar_run(5)
    with open_site(own_server.url, tmp_path) as site, joined_runs(site, cache_bytes=0) as joined:
        site.give(emitted.documents)
        run = joined.get(emitted.uid)
        assert_whole(run, 5, emitted)
        own_server.stop()
        for named in [*scalar_events(emitted, range(5, 8)), *emitted.stop()]:
            site.writer(*named)
        site.archive()
        assert_whole(run, 8, emitted) if run.closed else run.refresh()
        assert run.closed
        assert_whole(run, 8, emitted)
        own_server.start()
        assert site.writer.flush(60)
        assert_whole(run, 8, emitted)


def test_a_run_that_is_published_again_goes_on(site: Site, joined: JoinedRuns) -> None:
    emitted = scalar_run(0)
    site.give(emitted.documents)
    run = joined.get(emitted.uid)
    stream = run.streams["primary"]
    give_slowly(site, emitted, range(6))
    site.archive()
    give_slowly(site, emitted, range(6, 10))
    assert_whole(run, 10, emitted)
    site.client.flushall()
    # the publisher finds that the database is empty, and publishes the run again
    site.give(scalar_events(emitted, [10]))
    assert stream.rows() == 11
    assert_whole(run, 11, emitted)
    run.refresh()
    assert run.streams["primary"] is stream
    site.give(emitted.stop())
    run.refresh()
    assert run.closed
    assert_whole(run, 11, emitted)


def test_rows_do_not_shrink_while_it_is_published_again(site: Site, joined: JoinedRuns, tmp_path: Path) -> None:
    emitted = scalar_run(10)
    emitted.stop()
    site.give(emitted.documents)
    run = joined.get(emitted.uid)
    stream = run.streams["primary"]
    assert_whole(run, 10, emitted)
    site.wipe()
    with BlissdataWriter(site.url, journal=tmp_path / "again") as again:
        give(again, emitted.documents[:6])
        run.refresh()
        assert stream.rows() == 10
        assert (run.closed, run.stop) == (True, emitted.documents[-1][1])
        assert stream.read("integer", 0, 4).tolist() == list(range(4))
        with pytest.raises(RunUnavailableError):
            stream.read("integer")
        give(again, emitted.documents[6:])
    assert_whole(run, 10, emitted)
    run.refresh()
    assert run.streams["primary"] is stream


def test_another_run_with_the_same_uid(site: Site, joined: JoinedRuns, redis_url: str, tmp_path: Path) -> None:
    emitted = scalar_run(10)
    emitted.stop()
    site.give(emitted.documents)
    run = joined.get(emitted.uid)
    assert_whole(run, 10, emitted)
    site.wipe()
    other = EmittedRun(emitted.uid)
    other.describe()
    other.events(range(3))
    other.stop()
    with BlissdataWriter(redis_url, journal=tmp_path / "other") as writer:
        give(writer, other.documents)
    run.refresh()
    assert_same_documents(run.documents(), other.documents)
    assert run.streams["primary"].rows() == 3


def test_a_file_that_is_taken_away_while_redis_has_the_run(site: Site, joined: JoinedRuns) -> None:
    emitted = scalar_run(10)
    emitted.stop()
    site.give(emitted.documents)
    site.archive()
    run = joined.get(emitted.uid)
    assert_whole(run, 10, emitted)
    site.file(emitted.uid).unlink()
    assert_whole(run, 10, emitted)
    run.refresh()
    assert_whole(joined.get(emitted.uid), 10, emitted)
    site.wipe()
    with pytest.raises(RunNotFoundError, match=f"{emitted.uid}.h5 is not there"):
        run.refresh()


def test_a_damaged_file_of_a_run_that_is_in_redis(
    site: Site, joined: JoinedRuns, caplog: pytest.LogCaptureFixture
) -> None:
    emitted = scalar_run(0)
    site.give(emitted.documents)
    give_slowly(site, emitted, range(10))
    site.archive()
    path = site.file(emitted.uid)
    path.write_bytes(b"nonsense" * 1000)
    with caplog.at_level(logging.WARNING):
        run = joined.get(emitted.uid)
        began = time.monotonic()
        for _ in range(20):
            assert_whole(run, 10, emitted)
            run.refresh()
    assert time.monotonic() - began < 60
    assert levels(caplog) == ["WARNING"]
    assert emitted.uid in caplog.text
    assert str(path) in caplog.text
    trim(site, emitted.uid, integer=5)
    with pytest.raises(ArchiveFormatError, match=f"{emitted.uid}.h5"):
        run.streams["primary"].read("integer")
    assert run.streams["primary"].read("integer", 6).tolist() == [6, 7, 8, 9]
    path.unlink()
    site.give(emitted.stop())
    site.archive()
    run.refresh()
    assert_whole(run, 10, emitted)


def test_a_complete_file_of_which_a_chunk_is_damaged(site: Site, joined: JoinedRuns) -> None:
    emitted = scalar_run(10)
    emitted.stop()
    site.give(emitted.documents)
    site.archive()
    run = joined.get(emitted.uid)
    stream = run.streams["primary"]
    assert_whole(run, 10, emitted)
    with h5py.File(site.file(emitted.uid), "r+") as file:
        file[dataset_called(file, "integer/")].id.write_direct_chunk((0,), b"nonsense", 0)
    assert stream.read("integer").tolist() == list(range(10))
    site.wipe()
    with pytest.raises(RunUnavailableError, match=f"{emitted.uid}.h5"):
        stream.read("integer")
    assert stream.read("number").tolist() == [row / 3 for row in range(10)]


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret.h5", ""])
def test_a_path_in_redis_that_leads_outside_is_not_followed(site: Site, joined: JoinedRuns, path: str) -> None:
    emitted = scalar_run(0)
    site.give(emitted.documents)
    give_slowly(site, emitted, range(10))
    site.client.json().set(scan_key(emitted.uid), "$.id.path", path)
    run = joined.get(emitted.uid)
    assert_whole(run, 10, emitted)
    trim(site, emitted.uid, integer=5)
    with pytest.raises(RowsTrimmedError):
        run.streams["primary"].read("integer")
    site.give(emitted.stop())


def test_a_hint_that_leads_outside(joined: JoinedRuns) -> None:
    with pytest.raises(RunNotFoundError, match="some-uid.*outside the archive"):
        joined.get("some-uid", "../../etc/passwd")


def test_the_column_that_is_another_one_in_the_file(site: Site, joined: JoinedRuns) -> None:
    """Its dtype was fixed before its first value came, and the file was written by an archiver that knew the value."""
    emitted = EmittedRun()
    emitted.describe(data_keys={"number": {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}})
    site.give(emitted.documents)
    for row in range(6):
        site.give(emitted.event({"number": row}))
    run = joined.get(emitted.uid)
    stream = run.streams["primary"]
    site.archive()
    columns = site.client.json().get(scan_key(emitted.uid), ".data_streams")
    assert columns["primary:number"]["encoding"]["dtype_str"] == "<i8"
    _store_as_float(site, emitted.uid)
    for row in range(6, 9):
        site.give(emitted.event({"number": row}))
    trim(site, emitted.uid, number=4)
    numbers = stream.read("number")
    assert numbers.dtype == np.float64
    assert numbers.tolist() == list(range(9))
    assert stream.rows() == 9
    site.give(emitted.stop())


def test_a_column_that_is_cached_grows_by_another_dtype(site: Site) -> None:
    emitted = scalar_run(0)
    site.give(emitted.documents)
    give_slowly(site, emitted, range(4))
    with joined_runs(site) as joined:
        stream = joined.get(emitted.uid).streams["primary"]
        assert stream.read("integer").dtype == np.int64
        site.archive()
        give_slowly(site, emitted, range(4, 6))
        site.archive()
        _store_as_float(site, emitted.uid, "integer", add=0.5)
        trim(site, emitted.uid, integer=6)
        assert stream.rows() == 6
        assert stream.read("integer").tolist() == [0, 1, 2, 3, 4.5, 5.5]
    site.give(emitted.stop())


def test_values_that_are_irregular_in_redis_alone(redis_url: str, tmp_path: Path) -> None:
    """The scan was prepared before the first event came, and the archiver has not heard of it."""
    emitted = EmittedRun()
    emitted.describe("baseline", {"number": {"dtype": "number", "shape": []}})
    emitted.event({"number": 0.0}, "baseline")
    emitted.describe("primary", {"number": {"dtype": "number", "shape": []}})
    with (
        open_site(redis_url, tmp_path, prepare_after=0.05) as site,
        joined_runs(site, cache_bytes=0) as joined,
    ):
        site.give(emitted.documents)
        _wait_for_columns(site, emitted.uid, "primary:number")
        for row in range(3):
            site.give(emitted.event({"number": complex(row, 1)}, "primary"))
        run = joined.get(emitted.uid)
        held = run.streams["primary"]
        assert held.irregular("number") == {row: complex(row, 1) for row in range(3)}
        for marks in site.journal.glob("*.marks"):
            marks.unlink()
        site.give(emitted.stop())
        site.archive()
        site.wipe()
        run.refresh()
        assert run.streams["primary"] is held
        assert held.read("number").tolist() == [complex(row, 1) for row in range(3)]
        assert held.irregular("number") == {}
        assert held.columns["number"].encoding.dtype == np.complex128
        assert_same_documents(run.documents(), emitted.documents)


def test_readers_at_once_through_all_phases(site: Site, joined: JoinedRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    # whoever writes a file may be stopped for seconds while he changes it
    monkeypatch.setattr(reading, "_RETRY_SECONDS", 60)
    emitted = scalar_run(0)
    site.give(emitted.documents)
    run = joined.get(emitted.uid)
    stream = run.streams["primary"]
    failures: list[str] = []
    done = threading.Event()
    readers = [threading.Thread(target=watch, args=(stream, done, failures)) for _ in range(8)]
    for reader in readers:
        reader.start()
    try:
        for row in range(40):
            give_slowly(site, emitted, range(row, row + 1))
            if row == 20:
                site.archive_elsewhere()
                trim(site, emitted.uid, integer=row, number=row // 2, time=row // 3)
        site.give(emitted.stop())
        site.archive_elsewhere()
        site.expire(emitted.uid)
        run.refresh()
        assert_whole(run, 40, emitted)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert failures == []


def test_a_source_that_is_missing(site: Site) -> None:
    emitted = whole_run(3)
    site.give(emitted.documents)
    with RedisRuns(site.url) as live, ArchivedRuns(site.root) as archived:
        with JoinedRuns(live, None) as runs:
            assert_same_documents(runs.get(emitted.uid, "a.h5").documents(), emitted.documents)
        site.archive()
        with JoinedRuns(None, archived) as runs:
            assert_same_documents(runs.get(emitted.uid, site.hint(emitted.uid)).documents(), emitted.documents)
        with pytest.raises(ValueError, match="neither"):
            JoinedRuns(None, None)


def damaged_at_row(site: Site, rows: int, first: int) -> EmittedRun:
    """A run of which Redis has all, and the file, whose journal is damaged there, what stands before row `first`."""
    emitted = scalar_run(0)
    site.give(emitted.documents)
    give_slowly(site, emitted, range(rows))
    site.give(emitted.stop())
    (journal,) = site.journal.glob("*.finished-journal")
    damage(journal, 2 + first)
    site.archive()
    return emitted


def assert_file_alone(run: Run, rows: int, emitted: EmittedRun) -> None:
    """All that is left is what the file has, and it does not look whole."""
    assert "journal is damaged at byte" in run.incomplete
    assert (run.closed, run.stop) == (True, None)
    stream = run.streams["primary"]
    assert stream.rows() == rows
    assert stream.read("integer").tolist() == list(range(rows))
    assert_same_documents(run.documents(), emitted.documents[: 2 + rows])


def test_redis_has_more_than_a_file_whose_journal_was_damaged(site: Site, joined: JoinedRuns) -> None:
    emitted = damaged_at_row(site, 20, 7)
    run = joined.get(emitted.uid)
    for _ in range(2):
        assert (run.closed, run.incomplete, run.stop) == (True, "", emitted.documents[-1][1])
        assert_whole(run, 20, emitted)
        run.refresh()
    # what Redis lets go of and the file has, nobody misses
    trim(site, emitted.uid, integer=7, number=5)
    run.refresh()
    assert run.incomplete == ""
    assert_whole(run, 20, emitted)
    # what neither has is lost
    trim(site, emitted.uid, integer=12)
    with joined_runs(site, cache_bytes=0) as others:
        for one in (run, others.get(emitted.uid), others.get(emitted.uid, site.hint(emitted.uid))):
            one.refresh()
            assert "journal is damaged at byte" in one.incomplete
            assert one.streams["primary"].rows() == 20
            assert one.streams["primary"].read("integer", 12).tolist() == list(range(12, 20))
            assert one.streams["primary"].read("integer", 0, 7).tolist() == list(range(7))
            with pytest.raises(RunUnavailableError, match="rows 7 to 20 .*which is not whole: its journal is damaged"):
                one.streams["primary"].read("integer")
        site.expire(emitted.uid)
        for held in (run, others.get(emitted.uid)):
            held.refresh()
            assert_file_alone(held, 7, emitted)
    with joined_runs(site) as others:
        assert_file_alone(others.get(emitted.uid), 7, emitted)


def test_redis_with_more_than_the_file_is_away_for_a_while(own_server: RedisServer, tmp_path: Path) -> None:
    with open_site(own_server.url, tmp_path) as site, joined_runs(site, cache_bytes=0) as joined:
        emitted = damaged_at_row(site, 20, 7)
        run = joined.get(emitted.uid)
        own_server.stop()
        # it will be there again
        with pytest.raises(RunUnavailableError):
            run.refresh()
        with joined_runs(site, cache_bytes=0) as others:
            other = others.get(emitted.uid)
            assert_file_alone(other, 7, emitted)
            other.refresh()
            own_server.start()
            for one in (run, other):
                one.refresh()
                assert (one.closed, one.incomplete) == (True, "")
                assert_whole(one, 20, emitted)


def test_a_file_that_is_as_incomplete_as_redis_is_read_alone(own_server: RedisServer, tmp_path: Path) -> None:
    """Both end where their journal does, for the process that published the run is gone."""
    with open_site(own_server.url, tmp_path) as site, joined_runs(site, cache_bytes=0) as joined:
        emitted = scalar_run(20)
        site.give(emitted.documents)
        (journal,) = site.journal.glob("*.journal")
        damage(journal, 12)
        run = joined.get(emitted.uid)
        site.writer.close()
        site.client.flushall()
        replay(journal, own_server.url)
        site.archive()
        run.refresh()
        run = joined.get(emitted.uid)
        assert_file_alone(run, 10, emitted)
        own_server.stop()
        run.refresh()
        assert_file_alone(run, 10, emitted)
        own_server.start()


def test_redis_gets_a_damaged_run_again_after_it_was_lost(site: Site, joined: JoinedRuns) -> None:
    emitted = damaged_at_row(site, 20, 7)
    run = joined.get(emitted.uid)
    assert_whole(run, 20, emitted)
    site.wipe()
    run.refresh()
    assert_file_alone(run, 7, emitted)
    (journal,) = site.journal.glob("*.damaged-journal")
    replay(journal, site.url)
    run.refresh()
    assert_file_alone(run, 7, emitted)


def _store_as_float(site: Site, uid: str, key: str = "number", add: float = 0.0) -> None:
    with h5py.File(site.file(uid), "r+") as file:
        path = dataset_called(file, f"{key}/")
        rows = file[path][()] + add
        chunks = file[path].chunks
        del file[path]
        file.create_dataset(
            path, data=rows.astype("<f8"), chunks=chunks, maxshape=(None,), compression="gzip", shuffle=True
        )


def _wait_for_columns(site: Site, uid: str, name: str) -> None:
    eventually(lambda: name in site.columns(uid))
