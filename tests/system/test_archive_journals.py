"""When a journal goes, when it stays, and what a run whose publisher died is called in its file and in Redis."""

from __future__ import annotations

import datetime
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import pytest

from blissdata_bluesky.archive import ArchivedFile, registering
from blissdata_bluesky.archive.root import ArchiveRoot
from blissdata_bluesky.archive.service import Archiver
from blissdata_bluesky.errors import ArchiveError
from blissdata_bluesky.journal import Fate, Header, JournalDirectory, JournalReader, Retention
from blissdata_bluesky.publish import recover
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .archived import Place, Registered, add, assert_archived, stored_columns
from .collected import load
from .emitted import EmittedRun, give, scalar_run, whole_run
from .published import levels
from .tiled_runs import eventually

PUBLISHER = """
    import os, signal, sys
    from blissdata_bluesky.writer import BlissdataWriter
    from tests.system.emitted import give, scalar_run
    url, journal, root, uid = sys.argv[1:]
    writer = BlissdataWriter(url, journal=journal, archive=root)
    give(writer, scalar_run(20, uid=uid, scan_id=7).documents)
    os.kill(os.getpid(), signal.SIGKILL)
"""
UID = "00000000-1111-2222-3333-444444444444"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def archiver(place: Place) -> Iterator[Archiver]:
    """An archiver, beside which writers start none of their own; it works when it is told to."""
    archiver = place.archiver()
    yield archiver
    archiver.close()


def steps(archiver: Archiver) -> None:
    while archiver.step():
        pass


def archive_until(archiver: Archiver, condition: Callable[[], object]) -> None:
    def stepped() -> object:
        archiver.step()
        return condition()

    eventually(stepped)


@pytest.mark.parametrize("archived_first", [False, True])
def test_a_journal_stays_that_has_documents_which_stand_nowhere_else(
    place: Place, archiver: Archiver, archived_first: bool
) -> None:
    """An event as event-model knows none: neither Redis nor the file has it."""
    run = scalar_run(3)
    ((_, odd),) = run.event({"number": 7.5})
    odd["seq_num"] = 4.5
    run.stop()
    server = RedisServer()
    with BlissdataWriter(server.url, journal=place.journals, archive=place.root) as writer:
        for name, document in run.documents:
            writer(name, document)
        if archived_first:
            steps(archiver)
            assert ".archive" not in place.left()
        with server:
            assert writer.flush(90)
            eventually(lambda: ".finished-journal" in place.left())
            steps(archiver)
            scan = load(server.url, run.uid)
            assert (scan.info["end_reason"], len(scan.streams["primary:number"])) == ("FAILURE", 3)
            assert "seq_num 4.5" in scan.info["bluesky"]["incomplete"]
    assert "seq_num 4.5" in ArchivedFile(place.path(run.documents[0][1])).look().incomplete
    (kept,) = place.directory.paths()
    assert kept.suffix == Fate.FINISHED
    assert ".archive" not in place.left()
    with JournalReader(kept) as reader:
        assert sum(1 for _ in reader.records(reader.begin)) == len(run.documents)


def test_what_is_published_first_goes_when_it_is_archived(place: Place, archiver: Archiver, redis_url: str) -> None:
    run = whole_run(20)
    with BlissdataWriter(redis_url, journal=place.journals, archive=place.root) as writer:
        give(writer, run.documents)
        eventually(lambda: ".finished-journal" in place.left())
        assert ".archive" in place.left()
        steps(archiver)
        assert place.left() == []
    assert_archived(place.path(run.documents[0][1]), run)


def test_what_is_archived_first_goes_when_it_is_published(place: Place, archiver: Archiver) -> None:
    run = whole_run(20)
    server = RedisServer()
    with BlissdataWriter(server.url, journal=place.journals, archive=place.root) as writer:
        for name, document in run.documents:
            writer(name, document)
        steps(archiver)
        assert_archived(place.path(run.documents[0][1]), run)
        assert ".archive" not in place.left()
        assert ".journal" in place.left()
        # nobody begins it anew
        steps(archiver)
        with server:
            assert writer.flush(90)
            # what is left tells `doctor` of the outage
            eventually(lambda: place.left() == [".json"])


def test_the_file_grows_while_the_run_goes_on(place: Place, archiver: Archiver) -> None:
    run = scalar_run(3)
    journal = place.begin(run.documents)
    steps(archiver)
    assert place.path(run.documents[0][1]).exists()
    assert place.left() == [".archive", ".journal"]
    add(journal, run.stop())
    steps(archiver)
    # Redis does not have it yet
    assert place.left() == [".journal"]
    place.directory.finish(journal)
    assert place.left() == []


def test_a_run_that_is_not_archived_yet_outlives_the_retention(place: Place) -> None:
    archived, plain = whole_run(3), whole_run(3)
    path = place.whole(archived)
    journal = place.begin(plain.documents)
    journal.path.with_suffix(".archive").unlink()
    journal.path.rename(journal.path.with_suffix(Fate.FINISHED))
    journal.close()
    nothing_kept = JournalDirectory(place.journals, Retention(seconds=0, bytes=0))
    nothing_kept.prune()
    assert place.left() == [".archive", ".finished-journal"]
    place.archive()
    assert_archived(path, archived)
    assert place.left() == []


def test_an_abandoned_run_is_archived_and_its_journal_kept(place: Place) -> None:
    run = whole_run(3)
    place.directory.abandon(place.begin(run.documents))
    place.archive()
    assert_archived(place.path(run.documents[0][1]), run)
    assert place.left() == [".abandoned-journal"]
    place.archive()
    assert place.left() == [".abandoned-journal"]


def test_a_journal_stays_until_the_run_is_registered(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registering, "_RETRY_SECONDS", 0.05)
    run, registered = whole_run(3), Registered()
    registered.fails = True
    path = place.whole(run)
    archiver = place.archiver(registered)
    archive_until(archiver, lambda: registered.calls > 2)
    assert_archived(path, run)
    assert place.left() == [".archive", ".finished-journal"]
    assert levels(caplog) == ["ERROR"]
    assert "cannot be registered" in caplog.text
    assert "ConnectionError('the list is away'); please report this" in caplog.text
    # archiving goes on meanwhile
    other = whole_run(3)
    other_path = place.whole(other)
    archive_until(archiver, other_path.exists)
    registered.fails = False
    archive_until(archiver, lambda: place.left() == [])
    archiver.close()
    assert levels(caplog) == ["ERROR", "WARNING"]
    for one in (run, other):
        assert len(registered.complete(one.uid)) == 1
    assert_archived(other_path, other)


def test_an_archiver_that_is_to_end_does_not_wait_for_a_list_that_fails(place: Place) -> None:
    run, registered = whole_run(3), Registered()
    registered.fails = True
    path = place.whole(run)
    begun = time.monotonic()
    place.archive(registered)
    assert time.monotonic() - begun < 60
    assert place.left() == [".archive", ".finished-journal"]
    registered.fails = False
    place.archive(registered)
    assert len(registered.complete(run.uid)) == 1
    assert place.left() == []
    assert_archived(path, run)


def test_a_sealed_file_is_on_the_disk_before_its_journal_goes(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    on_disk: list[tuple[int, list[str]]] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        on_disk.append((os.fstat(descriptor).st_ino, place.left()))

    monkeypatch.setattr(os, "fsync", note)
    path = place.whole(whole_run(3))
    place.archive()
    assert place.left() == []
    kept = [".archive", ".finished-journal"]
    sealed = on_disk.index((path.stat().st_ino, kept))
    between = [directory for directory in path.parents if directory.is_relative_to(place.root)]
    assert len(between) == 4
    for directory in between:
        assert (directory.stat().st_ino, kept) in on_disk[sealed:]


def test_that_a_file_is_begun_is_on_the_disk_before_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else one that the power's failure leaves unreadable would be a stranger's."""
    on_disk: list[tuple[int, bool]] = []
    fsync = os.fsync
    run = scalar_run(3)
    path = place.path(run.documents[0][1])

    def note(descriptor: int) -> None:
        fsync(descriptor)
        on_disk.append((os.fstat(descriptor).st_ino, path.exists()))

    monkeypatch.setattr(os, "fsync", note)
    replace = Path.replace
    states: list[int] = []

    def noted(new: Path, target: Path) -> Path:
        if target.suffix == ".archive":
            states.append(new.stat().st_ino)
        return replace(new, target)

    monkeypatch.setattr(Path, "replace", noted)
    place.begin(run.documents)
    archiver = place.archiver()
    steps(archiver)
    assert (states[0], False) in on_disk
    assert (place.journals.stat().st_ino, False) in on_disk
    archiver.close()


def test_a_run_is_registered_when_it_begins_and_when_it_is_whole(place: Place) -> None:
    registered = Registered()
    run = scalar_run(3, scan_id=5)
    journal = place.begin(run.documents)
    archiver = place.archiver(registered)
    archive_until(archiver, lambda: registered.runs)
    (begun,) = registered.runs
    assert (begun.uid, begun.stop, begun.complete, begun.incomplete) == (run.uid, None, False, "")
    assert begun.start["scan_id"] == 5
    assert place.root / begun.file == place.path(run.documents[0][1])
    add(journal, run.stop())
    place.directory.finish(journal)
    archive_until(archiver, lambda: registered.complete(run.uid))
    archiver.close()
    assert registered.complete(run.uid)[0].stop == run.documents[-1][1]


def test_without_an_archive_there_is_no_file_and_the_journal_is_kept(redis_url: str, place: Place) -> None:
    run = scalar_run(3)
    run.stop()
    with BlissdataWriter(redis_url, journal=place.journals) as writer:
        give(writer, run.documents)
    assert place.left() == [".finished-journal", ".marks"]
    header = header_of(place)
    assert (header.archive, header.identity["path"]) == ("", None)
    assert "h5maps" not in load(redis_url, run.uid).info
    place.archive()
    assert place.files() == set()
    assert place.left() == [".finished-journal", ".marks"]


def header_of(place: Place) -> Header:
    (path,) = place.directory.paths()
    with JournalReader(path) as reader:
        return reader.header


def test_another_file_writer_has_a_path_and_the_layout_and_the_journal_is_kept(redis_url: str, place: Place) -> None:
    run = scalar_run(3)
    run.stop()
    path = str(place.path(run.documents[0][1]))
    with BlissdataWriter(redis_url, journal=place.journals, archive=place.root, file_writer=None) as writer:
        give(writer, run.documents)
    scan = load(redis_url, run.uid)
    assert scan.path == path
    assert list(scan.info["h5maps"]) == [path]
    info = scan.streams["primary:number"].info
    assert (info["file_path"], info["data_path"]) == (path, "/0.1/instrument/number/data")
    header = header_of(place)
    assert (header.archive, header.identity["path"]) == ("", path)
    assert place.left() == [".finished-journal", ".marks"]
    assert not list(place.journals.glob("archiver*"))
    place.archive()
    assert place.files() == set()


def test_the_builtin_archiver_reads_path_and_layout_from_where_everybody_does(
    redis_url: str, place: Place, archiver: Archiver
) -> None:
    run = whole_run(3)
    path = place.path(run.documents[0][1])
    with BlissdataWriter(redis_url, journal=place.journals, archive=place.root) as writer:
        give(writer, run.documents)
        assert header_of(place).archive == str(place.root)
        steps(archiver)
    scan = load(redis_url, run.uid)
    with h5py.File(path) as file:
        for stream in scan.streams.values():
            if stream.info.get("plugin") == "hdf5_fallback":
                assert stream.info["file_path"] == str(path)
                assert len(file[stream.info["data_path"]]) == len(stream) == 3
        (layout,) = scan.info["h5maps"].values()
        for name, entry in layout["children"].items():
            assert set(entry["children"]) <= set(file[name])


def test_documents_that_the_journal_lacks_make_the_file_incomplete(place: Place, archiver: Archiver) -> None:
    run = scalar_run(5)
    journal = place.begin(run.documents)
    journal.whole = False
    place.directory.finish(journal)
    steps(archiver)
    view = ArchivedFile(place.path(run.documents[0][1])).look()
    assert view.complete
    assert view.incomplete == "its journal lacks documents, for it could not be written"
    assert place.left() == []


@pytest.mark.parametrize("first", ["recovered", "archived"])
def test_a_run_whose_publisher_died_ends_alike_in_its_file_and_in_redis(
    redis_url: str, place: Place, archiver: Archiver, first: str
) -> None:
    killed(redis_url, place)
    (path,) = place.directory.paths(Fate.UNFINISHED)
    written = path.stat().st_mtime
    if first == "archived":
        archive_until(archiver, lambda: ".archive" not in place.left())
        assert place.left() == [".journal", ".marks"]
    # so that the time of the end can be told from now
    time.sleep(1.5)
    assert len(recover(place.journals, redis_url, 30)) == 1
    steps(archiver)
    assert place.left() == []
    (file,) = place.root.rglob("*.h5")
    view, scan = ArchivedFile(file).look(), load(redis_url, UID)
    assert view.complete
    assert "ended before the run did" in view.incomplete
    with RedisRuns(redis_url) as runs:
        assert runs.get(UID).incomplete == view.incomplete
    assert scan.info["end_reason"] == "FAILURE"
    with h5py.File(file) as opened:
        assert opened["7.1/end_time"].asstr()[()] == scan.info["end_time"]
    assert abs(datetime.datetime.fromisoformat(scan.info["end_time"]).timestamp() - written) < 0.1
    assert list(stored_columns(file)["primary:integer"]) == list(range(20))


def killed(url: str, place: Place) -> None:
    """A process that publishes a run and is killed in the middle of it."""
    arguments = [url, place.journals, place.root, UID]
    code = textwrap.dedent(PUBLISHER)
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_run_whose_publisher_lives_is_not_ended(place: Place, archiver: Archiver) -> None:
    run = EmittedRun()
    journal = place.begin(run.documents)
    steps(archiver)
    time.sleep(0.1)
    steps(archiver)
    assert not ArchivedFile(place.path(run.documents[0][1])).look().complete
    journal.close()
    archive_until(archiver, lambda: place.left() == [".journal"])
    view = ArchivedFile(place.path(run.documents[0][1])).look()
    assert (view.complete, len(view.entries)) == (True, 1)
    assert "ended before the run did" in view.incomplete


def test_an_archive_that_is_not_mounted_takes_no_run(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    registered = Registered()
    archiver = place.archiver(registered)
    disk = place.root.rename(place.root.with_name("disk"))
    place.root.mkdir()
    run = scalar_run(20)
    run.stop()
    place.whole(run)
    steps(archiver)
    assert list(place.root.iterdir()) == []
    assert levels(caplog) == ["ERROR"]
    assert "is its disk mounted?" in caplog.text
    archiver.close()
    with pytest.raises(ArchiveError, match="is its disk mounted"):
        place.archiver(registered)
    assert registered.runs == []
    place.root.rmdir()
    disk.rename(place.root)
    place.archive(registered)
    assert_archived(place.path(run.documents[0][1]), run)
    # the note of the fault, for `doctor`
    assert place.left() == [".json"]


def test_a_run_is_not_forgotten_when_the_archive_cannot_be_seen_for_a_moment(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, registered = whole_run(3), Registered()
    path = place.whole(run)
    archiver = place.archiver(registered)
    is_there = ArchiveRoot.is_there.fget
    looks: list[bool] = []
    failures: list[bool] = []

    def seen(root: ArchiveRoot) -> bool:
        looks.append(True)
        if len(looks) == 2 and registered.complete(run.uid) and not failures:
            failures.append(True)
            return False
        return bool(is_there(root))

    def stepped() -> bool:
        looks.clear()
        archiver.step()
        return bool(failures) and not archiver.waiting

    monkeypatch.setattr(ArchiveRoot, "is_there", property(seen))
    eventually(stepped)
    archiver.close()
    assert place.left() == []
    assert_archived(path, run)


def test_it_is_unmounted_while_it_is_written(place: Place) -> None:
    registered = Registered()
    archiver = place.archiver(registered)
    run = scalar_run(20)
    journal = place.begin(run.documents)
    steps(archiver)
    disk = place.root.rename(place.root.with_name("disk"))
    place.root.mkdir()
    add(journal, run.stop())
    place.directory.finish(journal)
    steps(archiver)
    assert list(place.root.rglob("*")) == []
    place.root.rmdir()
    disk.rename(place.root)
    steps(archiver)
    time.sleep(0.2)
    steps(archiver)
    archiver.close()
    assert_archived(place.path(run.documents[0][1]), run)
    # the note of the fault, for `doctor`
    assert place.left() == [".json"]
