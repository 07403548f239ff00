"""Runs in the files of an archive: where they are found, and what may happen to a file that is read."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest

from blissdata_bluesky.errors import (
    ArchiveFormatError,
    BlissdataBlueskyError,
    DamagedRunError,
    RunNotFoundError,
    RunUnavailableError,
)
from blissdata_bluesky.runs import ArchivedRuns
from blissdata_bluesky.writer import BlissdataWriter

from .archive_site import Site, dataset_called, join_archiver, open_site
from .emitted import KINDS, EmittedRun, give, scalar_events, scalar_run, whole_run
from .run_contract import assert_same_documents
from .test_runs_redis_growing import watch
from .tiled_runs import eventually


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(redis_url, tmp_path) as site:
        yield site


@pytest.fixture
def archived(site: Site) -> Iterator[ArchivedRuns]:
    with ArchivedRuns(site.root) as runs:
        yield runs


def finished(site: Site, rows: int = 20, uid: str | None = None) -> EmittedRun:
    """A run that is complete in its file."""
    emitted = scalar_run(rows) if uid is None else EmittedRun(uid)
    emitted.stop()
    site.give(emitted.documents)
    site.archive()
    return emitted


def test_a_file_that_grows(site: Site, archived: ArchivedRuns) -> None:
    emitted = whole_run(0)
    stop = emitted.documents.pop()
    site.give(emitted.documents)
    site.archive()
    run = archived.get(emitted.uid)
    stream = run.streams["primary"]
    assert (stream.rows(), run.closed, run.stop) == (0, False, None)
    assert stream.read("image").shape == (0, 3, 4)
    for rows in (1, 2, 7, 8):
        site.give(emitted.events(range(stream.rows(), rows)))
        site.archive()
        assert stream.rows() == rows
        assert stream.read("integer").tolist() == [2**53 + 1 + row for row in range(rows)]
        assert_same_documents(run.documents(), emitted.documents)
    site.give([stop])
    site.archive(seal=False)
    run.refresh()
    assert (run.closed, run.stop) == (False, stop[1])
    assert_same_documents(run.documents(), [*emitted.documents, stop])
    site.archive()
    assert run.closed is False
    run.refresh()
    assert run.closed
    assert archived.get(emitted.uid) is run
    assert_same_documents(run.documents(), [*emitted.documents, stop])


def test_a_file_that_is_replaced_between_two_reads(site: Site) -> None:
    emitted = whole_run(30)
    stop = emitted.documents.pop()
    site.give(emitted.documents)
    site.archive()
    with ArchivedRuns(site.root, cache_bytes=0) as archived:
        stream = archived.get(emitted.uid).streams["primary"]
        before = stream.table()
        # as long as it is open, no other file gets its number
        with site.file(emitted.uid).open("rb") as grown:
            site.give([stop])
            site.archive()
            assert not os.path.samestat(os.fstat(grown.fileno()), site.file(emitted.uid).stat())
        after = stream.table()
        assert list(after.data) == list(before.data)
        for key, rows in before.data.items():
            np.testing.assert_equal(list(after.data[key]), list(rows))
        assert stream.rows() == 30


def test_a_complete_file_that_is_written_over(site: Site, archived: ArchivedRuns) -> None:
    emitted, other = finished(site), finished(site, 3)
    run = archived.get(emitted.uid)
    assert run.closed
    shutil.copyfile(site.file(other.uid), site.file(emitted.uid))
    with pytest.raises(RunNotFoundError, match=f"is of run {other.uid}; register the archive again"):
        run.refresh()


def test_a_file_that_is_deleted(site: Site, archived: ArchivedRuns) -> None:
    emitted, other = finished(site), finished(site)
    run = archived.get(emitted.uid)
    stream = run.streams["primary"]
    assert stream.rows() == 20
    path = site.file(emitted.uid)
    path.unlink()
    for ask in (run.refresh, lambda: archived.get(emitted.uid), lambda: stream.read("integer")):
        with pytest.raises(RunNotFoundError, match=f"{path}.*moved or deleted"):
            ask()
    assert archived.get(other.uid).streams["primary"].rows() == 20


def test_a_file_that_is_moved(site: Site, archived: ArchivedRuns) -> None:
    emitted = finished(site)
    run, old = archived.get(emitted.uid, site.hint(emitted.uid)), site.hint(emitted.uid)
    (site.root / "old").mkdir()
    site.file(emitted.uid).rename(site.root / "old" / f"{emitted.uid}.h5")
    with pytest.raises(RunNotFoundError):
        run.refresh()
    # the hint may be older than the move
    assert archived.get(emitted.uid, old).streams["primary"].read("integer").tolist() == list(range(20))
    assert archived.get(emitted.uid) is archived.get(emitted.uid, f"old/{emitted.uid}.h5")


def test_a_newer_format(site: Site, archived: ArchivedRuns) -> None:
    emitted, other = finished(site), finished(site)
    with h5py.File(site.file(emitted.uid), "r+") as file:
        file.attrs["bluesky_format"] = 99
    with pytest.raises(ArchiveFormatError, match=f"{emitted.uid}.h5 has format 99.*newer"):
        archived.get(emitted.uid)
    assert archived.get(other.uid).closed


@pytest.mark.parametrize("left", [0, 0.5, 0.98])
def test_a_truncated_file(site: Site, archived: ArchivedRuns, left: float) -> None:
    emitted, other = finished(site), finished(site)
    path = site.file(emitted.uid)
    os.truncate(path, int(left * path.stat().st_size))
    with pytest.raises((DamagedRunError, RunUnavailableError), match=f"{emitted.uid}.h5"):
        archived.get(emitted.uid, site.hint(emitted.uid))
    assert archived.get(other.uid).closed


def test_garbage(site: Site, archived: ArchivedRuns) -> None:
    emitted, other = finished(site), finished(site)
    path = site.file(emitted.uid)
    path.write_bytes(os.urandom(50_000))
    with pytest.raises(ArchiveFormatError, match=f"{emitted.uid}.h5"):
        archived.get(emitted.uid, site.hint(emitted.uid))
    assert archived.get(other.uid).closed


def test_a_chunk_that_is_damaged(site: Site) -> None:
    emitted = scalar_run(5000)
    emitted.stop()
    site.give(emitted.documents)
    site.archive()
    with h5py.File(site.file(emitted.uid), "r+") as file:
        file[dataset_called(file, "integer")].id.write_direct_chunk((0,), b"nonsense", 0)
    with ArchivedRuns(site.root) as archived:
        stream = archived.get(emitted.uid).streams["primary"]
        with pytest.raises(RunUnavailableError, match=f"{emitted.uid}.h5"):
            stream.read("integer")
        assert len(stream.read("number")) == 5000


def test_a_file_of_another_run(site: Site, archived: ArchivedRuns) -> None:
    emitted, other = finished(site), finished(site)
    assert archived.get(emitted.uid).closed
    shutil.copy(site.file(other.uid), site.root / "copy")
    (site.root / "copy").replace(site.file(emitted.uid))
    with pytest.raises(RunNotFoundError, match=f"{emitted.uid}.* is of run {other.uid}"):
        archived.get(emitted.uid, site.hint(emitted.uid))


@pytest.mark.parametrize("hint", ["../../etc/passwd", "/etc/passwd", "a/../../x.h5", "..", ".", "a\0b"])
def test_a_hint_that_leads_outside(site: Site, archived: ArchivedRuns, hint: str) -> None:
    (site.root / "a").mkdir(parents=True)
    with pytest.raises(RunNotFoundError) as caught:
        archived.get("some-uid", hint)
    assert "some-uid" in str(caught.value)
    assert str(site.root) in str(caught.value)


def test_links_that_lead_outside(site: Site, archived: ArchivedRuns, tmp_path: Path) -> None:
    emitted = finished(site)
    path, outside = site.file(emitted.uid), tmp_path / "outside"
    outside.mkdir()
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)
    (site.root / "door").symlink_to(outside)
    for hint in (site.hint(emitted.uid), f"door/{path.name}"):
        with pytest.raises(RunNotFoundError, match="outside the archive"):
            archived.get(emitted.uid, hint)
    with pytest.raises(RunNotFoundError, match="no file in the archive"):
        archived.get(emitted.uid)


def test_an_archive_that_is_a_link(site: Site, tmp_path: Path) -> None:
    emitted = finished(site)
    (tmp_path / "door").symlink_to(site.root)
    with ArchivedRuns(tmp_path / "door") as archived:
        assert archived.get(emitted.uid, site.hint(emitted.uid)).closed


@pytest.mark.parametrize("uid", ["a/b", "../x", "*", "Ünï", "x" * 500])
def test_a_run_with_an_odd_uid_is_found(site: Site, archived: ArchivedRuns, uid: str) -> None:
    emitted = finished(site, uid=uid)
    finished(site)
    assert archived.get(uid).start == emitted.documents[0][1]


def test_a_run_whose_directory_bears_its_uid(redis_url: str, tmp_path: Path) -> None:
    with open_site(redis_url, tmp_path, path_template="{uid}/data.nxs") as site, ArchivedRuns(site.root) as archived:
        emitted = finished(site)
        assert archived.get(emitted.uid).streams["primary"].rows() == 20


def test_what_else_bears_the_uid_is_passed_over(site: Site, archived: ArchivedRuns) -> None:
    emitted, other = finished(site), finished(site)
    directory = site.file(emitted.uid).parent
    with h5py.File(directory / f"a-{emitted.uid}.h5", "w") as file:
        file["detector"] = 1
    shutil.copy(site.file(other.uid), directory / f"b-{emitted.uid}.h5")
    (directory / f"{emitted.uid}.txt").write_text("a note")
    (directory / f".{emitted.uid}.h5.new").write_text("not yet")
    assert archived.get(emitted.uid).closed


def test_an_archive_without_files(tmp_path: Path) -> None:
    with ArchivedRuns(tmp_path / "nowhere") as archived, pytest.raises(RunNotFoundError, match=r"some-uid.*nowhere"):
        archived.get("some-uid")


@pytest.mark.leaves("scan", reason="nobody ends it in Redis")
def test_a_run_whose_owner_died(site: Site, archived: ArchivedRuns) -> None:
    emitted = scalar_run(5)
    site.give(emitted.documents)
    site.archive()
    assert archived.get(emitted.uid).incomplete == ""
    site.writer.close()
    site.archive()
    run = archived.get(emitted.uid)
    assert (run.closed, run.stop) == (True, None)
    assert "ended before the run did" in run.incomplete
    assert_same_documents(run.documents(), emitted.documents)


def test_no_file_is_held_open(site: Site, archived: ArchivedRuns) -> None:
    emitted = finished(site)
    run = archived.get(emitted.uid)
    run.streams["primary"].table()
    assert [file for file in psutil.Process().open_files() if file.path.startswith(str(site.root))] == []


def test_a_complete_column_is_read_once(site: Site, archived: ArchivedRuns) -> None:
    emitted = finished(site)
    stream = archived.get(emitted.uid).streams["primary"]
    assert stream.read("integer").tolist() == list(range(20))
    site.file(emitted.uid).unlink()
    assert stream.read("integer", 3, 5).tolist() == [3, 4]
    with pytest.raises(RunNotFoundError):
        stream.read("number")


def test_a_large_column_is_not_kept(site: Site) -> None:
    emitted = EmittedRun()
    emitted.describe(data_keys={"image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [64, 64]}})
    for row in range(40):
        emitted.event({"image": np.full((64, 64), row, "<u2")})
    emitted.stop()
    site.give(emitted.documents)
    site.archive()
    with ArchivedRuns(site.root, cache_bytes=200_000) as archived:
        stream = archived.get(emitted.uid).streams["primary"]
        assert (stream.read("image")[:, 5, 5] == np.arange(40)).all()
        assert archived._cache.nbytes == 0
        stream.time()
        assert 0 < archived._cache.nbytes < 1000


def test_large_values_of_other_kinds_are_not_kept_either(site: Site) -> None:
    emitted = EmittedRun()
    emitted.describe(data_keys={"text": KINDS["text"], "ragged": KINDS["ragged"]})
    for row in range(1, 41):
        emitted.event({"text": "x" * 5000 if row % 2 else {"a": ["y" * 5000]}, "ragged": np.zeros(500 + row)})
    emitted.stop()
    site.give(emitted.documents)
    site.archive()
    with ArchivedRuns(site.root, cache_bytes=400_000) as archived:
        stream = archived.get(emitted.uid).streams["primary"]
        for key in ("text", "ragged"):
            assert len(stream.read(key)) == 40
            assert archived._cache.nbytes == 0
            assert len(stream.read(key, 0, 2)) == 2
            assert 4000 < archived._cache.nbytes < 100_000
            stream.forget()


def test_only_so_many_runs_are_kept(site: Site, archived: ArchivedRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blissdata_bluesky.runs.kept._RUNS_KEPT", 2)
    uids = [finished(site, 3).uid for _ in range(3)]
    first = archived.get(uids[0])
    first.streams["primary"].table()
    for uid in uids:
        archived.get(uid)
    assert archived._cache.nbytes == 0
    assert archived.get(uids[2]) is archived.get(uids[2])
    assert archived.get(uids[0]) is not first
    assert first.streams["primary"].read("integer").tolist() == [0, 1, 2]


def test_readers_at_once_while_another_process_writes(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archiver is the child that the writer starts."""
    # it may be stopped for seconds while it changes the file
    monkeypatch.setattr("blissdata_bluesky.archive.reading._RETRY_SECONDS", 60)
    emitted = scalar_run(0)
    with BlissdataWriter(redis_url, journal=tmp_path / "journal", archive=tmp_path / "archive") as writer:
        give(writer, emitted.documents)
        with ArchivedRuns(tmp_path / "archive", cache_bytes=0) as archived:
            eventually(lambda: _is_there(archived, emitted.uid), 90)
            run = archived.get(emitted.uid)
            failures: list[str] = []
            done = threading.Event()
            readers = [threading.Thread(target=watch, args=(run.streams["primary"], done, failures)) for _ in range(8)]
            for reader in readers:
                reader.start()
            for row in range(0, 300, 10):
                give(writer, scalar_events(emitted, range(row, row + 10)))
                time.sleep(0.02)
            give(writer, emitted.stop())
            try:
                eventually(lambda: archived.get(emitted.uid).closed)
            finally:
                done.set()
                for reader in readers:
                    reader.join()
            assert failures == []
            assert run.streams["primary"].rows() == 300
            assert_same_documents(run.documents(), emitted.documents)
    join_archiver()


def _is_there(archived: ArchivedRuns, uid: str) -> bool:
    try:
        return bool(archived.get(uid).streams)
    except BlissdataBlueskyError:
        return False
