"""`BlissdataWriter(archive=DIR)`: an archiver as a child process, where none is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from blissdata_bluesky.archive import ArchivedFile
from blissdata_bluesky.archive import child as archive_child
from blissdata_bluesky.archive.lock import ArchiverLock
from blissdata_bluesky.errors import ArchiveError
from blissdata_bluesky.writer import BlissdataWriter

from .archive_site import join_archiver
from .archived import Place, assert_archived
from .emitted import give, scalar_run, whole_run
from .published import levels
from .tiled_runs import eventually

# a new interpreter imports for seconds where others use the machine as well
SECONDS = 60


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@contextmanager
def writing(url: str, place: Place, **options: Any) -> Iterator[BlissdataWriter]:
    """A writer with an archive, until its archiver has ended."""
    try:
        with BlissdataWriter(url, journal=place.journals, archive=place.root, **options) as writer:
            yield writer
    finally:
        join_archiver()


def archivers(place: Place) -> list[psutil.Process]:
    """All archivers of this place, whosever they are."""
    return [process for process in psutil.process_iter() if _is_archiver(process, place)]


def _is_archiver(process: psutil.Process, place: Place) -> bool:
    try:
        command = process.cmdline()
        return "archive" in command and str(place.root) in command and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def is_at_work(place: Place) -> bool:
    return ArchiverLock(place.journals, place.root).is_held()


def wait_for_archiver(place: Place) -> psutil.Process:
    """The archiver, which has the lock."""
    eventually(lambda: is_at_work(place), SECONDS)
    (process,) = archivers(place)
    return process


def gone(place: Place) -> bool:
    """Whether the archiver has done all and let the journals go."""
    return not list(place.journals.glob("*journal"))


def test_one_is_started_and_ends_with_the_writer(redis_url: str, place: Place) -> None:
    run = whole_run(20)
    with writing(redis_url, place) as writer:
        wait_for_archiver(place)
        give(writer, run.documents)
        eventually(lambda: gone(place), SECONDS)
    assert archivers(place) == []
    assert not is_at_work(place)
    assert_archived(place.path(run.documents[0][1]), run)
    assert (place.root / "catalog.db").exists()
    assert (place.journals / archive_child.LOG_NAME).read_text() == ""


def test_what_is_left_at_close_is_finished(redis_url: str, place: Place) -> None:
    run = whole_run(20)
    with writing(redis_url, place) as writer:
        wait_for_archiver(place)
        give(writer, run.documents)
    assert_archived(place.path(run.documents[0][1]), run)
    assert gone(place)


def test_none_is_started_where_one_is_at_work(redis_url: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_child, "_LOOK_SECONDS", 0.05)
    looked = []
    is_held = ArchiverLock.is_held

    def looking(lock: ArchiverLock) -> bool:
        looked.append(is_held(lock))
        return looked[-1]

    monkeypatch.setattr(ArchiverLock, "is_held", looking)
    archiver = place.archiver()
    with writing(redis_url, place):
        eventually(lambda: len(looked) > 5, SECONDS)
        assert all(looked)
        assert archivers(place) == []
        # when the service ends, it takes over
        archiver.close()
        wait_for_archiver(place)


def test_two_writers_have_one(
    redis_url: str, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(archive_child, "_LOOK_SECONDS", 0.2)
    runs = [whole_run(5), whole_run(5)]
    with (
        writing(redis_url, place) as one,
        BlissdataWriter(redis_url, journal=place.journals, archive=place.root) as other,
    ):
        give(one, runs[0].documents)
        give(other, runs[1].documents)
        eventually(lambda: gone(place), SECONDS)
        eventually(lambda: len(archivers(place)) == 1, SECONDS)
    assert archivers(place) == []
    assert levels(caplog) == []
    for run in runs:
        assert_archived(place.path(run.documents[0][1]), run)


def test_one_that_is_killed_is_started_again(
    redis_url: str, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(archive_child, "_LOOK_SECONDS", 0.2)
    run = whole_run(20)
    with writing(redis_url, place) as writer:
        first = wait_for_archiver(place)
        give(writer, run.documents[:10])
        first.kill()
        eventually(lambda: [one.pid for one in archivers(place)] not in ([], [first.pid]), SECONDS)
        wait_for_archiver(place)
        give(writer, run.documents[10:])
        eventually(lambda: gone(place), SECONDS)
    assert_archived(place.path(run.documents[0][1]), run)
    assert levels(caplog) == ["WARNING"]
    assert f"ended with code {-signal.SIGKILL} and is started again" in caplog.text
    assert str(place.journals / "archiver.log") in caplog.text


def test_ctrl_c_in_the_writers_terminal_is_not_for_it(redis_url: str, place: Place) -> None:
    with writing(redis_url, place):
        archiver = wait_for_archiver(place)
        assert os.getpgid(archiver.pid) != os.getpgrp()
        assert os.getsid(archiver.pid) != os.getsid(0)


OWNER = """
    import os, sys, time
    from blissdata_bluesky.writer import BlissdataWriter
    from tests.system.emitted import give, scalar_run
    url, journal, root, uid, then = sys.argv[1:]
    writer = BlissdataWriter(url, journal=journal, archive=root)
    give(writer, scalar_run(5, uid=uid).documents)
    if then == "fork" and not os.fork():
        # holds what its parent has opened
        print(os.getpid(), flush=True)
        time.sleep(600)
    elif then == "exit":
        sys.stdin.readline()
        sys.exit()
    time.sleep(600)
"""
UID = "00000000-1111-2222-3333-444444444444"


def owner(url: str, place: Place, then: str) -> subprocess.Popen[str]:
    """A process that publishes a run which goes on."""
    command = [sys.executable, "-c", textwrap.dedent(OWNER), url, str(place.journals), str(place.root), UID, then]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def assert_ends_incomplete(place: Place) -> None:
    eventually(lambda: not archivers(place), SECONDS)
    assert not is_at_work(place)
    (path,) = place.root.rglob(f"{UID}.h5")
    view = ArchivedFile(path).look()
    assert (view.complete, len(view.entries)) == (True, 2)
    assert "ended before the run did" in view.incomplete
    assert ArchivedFile(path).rows(["primary:number"]) == [5]


@pytest.mark.leaves("scan", reason="its publisher was killed, and nobody recovers it")
def test_the_writers_process_is_killed(redis_url: str, place: Place) -> None:
    with owner(redis_url, place, "sleep") as process:
        try:
            wait_for_archiver(place)
        finally:
            process.kill()
    assert_ends_incomplete(place)


@pytest.mark.leaves("scan", reason="its publisher was killed, and nobody recovers it")
def test_a_fork_of_the_writers_process_does_not_keep_it_alive(redis_url: str, place: Place) -> None:
    with owner(redis_url, place, "fork") as process:
        assert process.stdout is not None
        fork = psutil.Process(int(process.stdout.readline()))
        try:
            wait_for_archiver(place)
            process.kill()
            process.wait()
            assert_ends_incomplete(place)
            assert fork.is_running()
        finally:
            process.kill()
            fork.kill()


@pytest.mark.leaves("scan", reason="its publisher ended, and nobody recovers it")
def test_a_process_that_just_exits(redis_url: str, place: Place) -> None:
    with owner(redis_url, place, "exit") as process:
        try:
            wait_for_archiver(place)
            process.communicate("exit\n", SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0
    assert_ends_incomplete(place)


def test_the_archiver_cannot_be_started(
    redis_url: str, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(archive_child, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(sys, "executable", "/does/not/exist")
    run = whole_run(5)
    with writing(redis_url, place) as writer:
        give(writer, run.documents)
        eventually(lambda: levels(caplog), SECONDS)
        monkeypatch.undo()
        eventually(lambda: gone(place), SECONDS)
    assert set(levels(caplog)) == {"ERROR"}
    assert f"the archiver for {place.root} cannot be started, and it is tried again" in caplog.text
    assert_archived(place.path(run.documents[0][1]), run)


def test_an_archive_that_is_not_mounted_is_tried_more_and_more_seldom(
    redis_url: str, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(archive_child, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(archive_child, "_LONGEST_PAUSE_SECONDS", 0.04)
    pauses: list[float] = []
    wait = threading.Event.wait

    def note(event: threading.Event, timeout: float | None = None) -> bool:
        if threading.current_thread().name == "blissdata-bluesky-archiver" and timeout != 0.5:
            pauses.append(timeout or 0)
        return wait(event, timeout)

    place.archiver().close()
    disk = place.root.rename(place.root.with_name("disk"))
    place.root.mkdir()
    monkeypatch.setattr(threading.Event, "wait", note)
    run = whole_run(5)
    with writing(redis_url, place) as writer:
        give(writer, run.documents)
        eventually(lambda: len(pauses) >= 4, 2 * SECONDS)
        assert pauses[:4] == [0.01, 0.02, 0.04, 0.04]
        assert levels(caplog) == ["WARNING"]
        assert "ended with code 2 and is started again" in caplog.text
        assert "is its disk mounted?" in caplog.text
        assert list(place.root.iterdir()) == []
        place.root.rmdir()
        disk.rename(place.root)
        eventually(lambda: gone(place), SECONDS)
    assert levels(caplog) == ["WARNING"]
    assert_archived(place.path(run.documents[0][1]), run)


def test_a_log_that_grows_is_begun_anew(redis_url: str, place: Place) -> None:
    log = place.journals / archive_child.LOG_NAME
    log.write_bytes(bytes(2**21))
    with writing(redis_url, place):
        wait_for_archiver(place)
    assert log.stat().st_size < 2**10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"journal": None}, "archive: it is written from the journal, so journal=None cannot be"),
        ({"path_template": "{scan_id}.h5"}, "uid"),
        ({"path_template": "../{uid}.h5"}, "path_template|template"),
        ({"path_template": "{uid}.txt"}, "path_template|template"),
        ({"file_writer": "nexus"}, "file_writer='nexus': give \"builtin\" or None"),
    ],
)
def test_arguments_that_cannot_be(redis_url: str, place: Place, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BlissdataWriter(redis_url, **{"journal": place.journals, "archive": place.root, **options})
    assert archivers(place) == []


def test_an_archive_that_is_a_file(redis_url: str, place: Place) -> None:
    place.root.write_text("precious")
    with pytest.raises(ArchiveError, match=f"the archive {place.root} cannot be made"):
        BlissdataWriter(redis_url, journal=place.journals, archive=place.root)
    assert place.root.read_text() == "precious"


def test_an_archive_that_cannot_be_written(redis_url: str, place: Place) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    place.root.mkdir(mode=0o500)
    with pytest.raises(ArchiveError, match="cannot be written: give archive=DIR that can"):
        BlissdataWriter(redis_url, journal=place.journals, archive=place.root)


def test_an_archive_may_be_given_relative_and_with_a_tilde(
    redis_url: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(place.root.parent))
    monkeypatch.chdir(place.root.parent)
    # so that the writers start none
    archiver = place.archiver()
    for archive in ("archive", "~/archive", "./journal/../archive"):
        run = scalar_run(3)
        run.stop()
        with BlissdataWriter(redis_url, journal=place.journals, archive=archive) as writer:
            give(writer, run.documents)
        while archiver.step():
            pass
        assert_archived(place.path(run.documents[0][1]), run)
    archiver.close()


def test_it_imports_nothing_from_where_its_owner_is(
    redis_url: str, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis.py").write_text("raise SystemExit('a stranger was imported')")
    monkeypatch.chdir(tmp_path)
    run = whole_run(3)
    with writing(redis_url, place) as writer:
        give(writer, run.documents)
        eventually(lambda: gone(place), SECONDS)
    assert_archived(place.path(run.documents[0][1]), run)
