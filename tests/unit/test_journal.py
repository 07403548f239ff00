"""The journal: what was appended is read again, and belongs to one owner; the directory keeps what it must."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import ormsgpack
import pytest

from blissdata_bluesky.errors import JournalError, JournalOwnedError
from blissdata_bluesky.journal import (
    Fate,
    Header,
    JournalDirectory,
    JournalReader,
    Retention,
    RunJournal,
    read_records,
    record_size,
)

PAYLOADS = [b"one", b"two" * 100, b"x", b"three"]


@pytest.fixture
def directory(tmp_path: Path) -> JournalDirectory:
    return JournalDirectory(tmp_path / "journal")


@pytest.fixture
def journal(directory: JournalDirectory) -> Iterator[RunJournal]:
    journal = created(directory)
    yield journal
    journal.close()


def created(directory: JournalDirectory, uid: str = "run", publisher: str = "me") -> RunJournal:
    journal = directory.create(Header(uid, publisher, "redis://host"))
    assert journal is not None
    return journal


def read(path: Path) -> list[bytes]:
    with JournalReader(path) as reader:
        return [payload for _, payload in reader.records(reader.begin)]


def test_records_come_back_after_the_header(journal: RunJournal) -> None:
    assert all(map(journal.append, PAYLOADS))
    header, *records = [payload for _, payload in journal.records(0)]
    assert Header.unpack(header, journal.path) == journal.header
    assert records == PAYLOADS
    assert journal.size == journal.path.stat().st_size
    assert journal.excess == 0


def test_reading_goes_on_where_it_ended_and_does_not_disturb_writing(journal: RunJournal) -> None:
    offset = journal.begin
    for payload in PAYLOADS:
        journal.append(payload)
        [(end, found)] = journal.records(offset)
        assert found == payload and end == offset + record_size(len(payload))
        offset = end
    assert list(journal.records(offset)) == []


@pytest.mark.parametrize("size", [0, 1, 2**20 - 12, 2**20, 3 * 2**20 + 1])
def test_records_of_any_size_among_others(journal: RunJournal, size: int) -> None:
    payloads = [b"before", os.urandom(size), b"after", os.urandom(size)]
    assert all(map(journal.append, payloads))
    assert read(journal.path) == payloads


def test_records_are_read_from_an_open_file_without_moving_it(journal: RunJournal) -> None:
    journal.append(b"one")
    descriptor = os.open(journal.path, os.O_RDONLY)
    try:
        assert [payload for _, payload in read_records(descriptor, journal.begin)] == [b"one"]
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("payload", [b"", b"nonsense", ormsgpack.packb({}), ormsgpack.packb({"format": 1}), b"\xc0"])
def test_what_is_no_header_is_refused(payload: bytes) -> None:
    with pytest.raises(JournalError, match=r"x\.journal"):
        Header.unpack(payload, Path("x.journal"))


@pytest.mark.parametrize(("number", "ordered"), [(1, False), (2, False), (3, True)])
def test_runs_of_older_formats_go_on_without_order(number: int, ordered: bool) -> None:
    assert Header("uid", "publisher", "redis://host", format=number).ordered is ordered


def test_a_newer_format_is_refused_with_a_remedy() -> None:
    newer = ormsgpack.packb({"format": 4, "something": "new"})
    with pytest.raises(JournalError, match="newer"):
        Header.unpack(newer, Path("x.journal"))


def test_a_second_journal_of_one_run_has_a_file_of_its_own(directory: JournalDirectory, journal: RunJournal) -> None:
    other = created(directory, publisher="other")
    assert other.path != journal.path
    assert sorted(directory.paths(Fate.UNFINISHED)) == sorted([journal.path, other.path])
    other.close()


def test_journals_are_for_their_owner_only(journal: RunJournal) -> None:
    assert journal.marks is not None
    files = [journal.path, journal.path.parent, journal.marks.path]
    assert [path.stat().st_mode & 0o077 for path in files] == [0, 0, 0]


@pytest.mark.parametrize("fate", [Fate.FINISHED, Fate.ABANDONED])
def test_a_journal_that_is_done_is_set_aside(directory: JournalDirectory, fate: Fate) -> None:
    journal = created(directory)
    journal.append(b"one")
    assert directory.paths(Fate.UNFINISHED) == directory.paths() == [journal.path]
    (directory.finish if fate is Fate.FINISHED else directory.abandon)(journal)
    [path] = directory.paths(fate)
    assert directory.paths() == [path]
    assert read(path) == [b"one"]
    assert not journal.append(b"two")


def test_paths_come_oldest_first(directory: JournalDirectory) -> None:
    journals = [created(directory, f"run {number}") for number in range(3)]
    for journal, age in zip(journals, (10, 30, 20), strict=True):
        os.utime(journal.path, (time.time() - age,) * 2)
        journal.close()
    assert directory.paths() == [journals[index].path for index in (1, 2, 0)]


def finished(directory: JournalDirectory, name: str, size: int, age: float, *, marked: bool = False) -> Path:
    journal = created(directory, name)
    journal.append(bytes(size))
    if marked:
        assert journal.marks is not None
        journal.marks.add(journal.size)
    directory.finish(journal)
    path = journal.path.with_suffix(Fate.FINISHED)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_old_journals_go_and_all_but_finished_ones_stay(tmp_path: Path) -> None:
    directory = JournalDirectory(tmp_path, Retention(seconds=100))
    unfinished, abandoned = created(directory, "open"), created(directory, "abandoned")
    directory.abandon(abandoned)
    kept = [unfinished.path, abandoned.path.with_suffix(Fate.ABANDONED)]
    for path in kept:
        os.utime(path, (0, 0))
    old, new = finished(directory, "old", 10, 101), finished(directory, "new", 10, 50)
    directory.prune()
    assert not old.exists() and new.exists() and all(path.exists() for path in kept)
    unfinished.close()


def test_the_oldest_go_first_when_all_together_are_too_large(tmp_path: Path) -> None:
    directory = JournalDirectory(tmp_path, Retention(bytes=2500))
    paths = [finished(directory, f"run {age}", 1000, age) for age in (30, 20, 10)]
    directory.prune()
    assert [path.exists() for path in paths] == [False, True, True]


def test_marks_go_with_their_journal_and_not_before(tmp_path: Path) -> None:
    directory = JournalDirectory(tmp_path, Retention(seconds=100))
    old, new = (finished(directory, name, 10, age, marked=True) for name, age in (("old", 101), ("new", 50)))
    unfinished = created(directory, "open")
    assert unfinished.marks is not None
    directory.prune()
    assert not old.with_suffix(".marks").exists()
    assert new.with_suffix(".marks").exists() and unfinished.marks.path.exists()
    unfinished.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JournalError, match="journal"):
        JournalDirectory(tmp_path)


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be made"):
        JournalDirectory(tmp_path / "file")


def test_journals_that_cannot_be_made_are_said_once_until_one_can(
    directory: JournalDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    directory.path.rmdir()
    for number in range(3):
        assert directory.create(Header(f"run {number}", "me", "redis://host")) is None
    directory.path.mkdir()
    for number in range(3):
        directory.finish(created(directory, f"later {number}"))
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    assert "run 0" in caplog.messages[0] and "later 0" in caplog.messages[1]


def test_a_journal_that_was_unlinked_is_still_read_by_its_owner(
    directory: JournalDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    journal = created(directory)
    journal.path.unlink()
    assert journal.append(b"one")
    assert [payload for _, payload in journal.records(journal.begin)] == [b"one"]
    directory.finish(journal)
    assert len(caplog.records) == 1 and str(journal.path) in caplog.text


def test_a_journal_that_is_closed_is_not_read(journal: RunJournal) -> None:
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="cannot be read"):
        list(journal.records(0))


def test_what_is_no_file_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    directory = JournalDirectory(tmp_path, Retention(bytes=0))
    (tmp_path / "odd.finished-journal").mkdir()
    (tmp_path / "loop.journal").symlink_to("loop.journal")
    os.mkfifo(tmp_path / "pipe.journal")
    os.mkfifo(tmp_path / "pipe.new")
    directory.prune()
    assert directory.paths() == []
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(JournalError, match="no regular file"):
        RunJournal.adopt(tmp_path / "pipe.journal")
    assert caplog.records == []


def test_a_directory_that_vanishes_is_an_empty_one(tmp_path: Path) -> None:
    directory = JournalDirectory(tmp_path / "journal")
    directory.path.rmdir()
    directory.prune()
    assert directory.paths() == []


def test_a_full_disk_leaves_whole_records_only_and_is_said_once(tmp_path: Path) -> None:
    code = f"""
        import resource, signal
        from pathlib import Path
        from blissdata_bluesky.journal import Header, JournalDirectory
        journal = JournalDirectory(Path({str(tmp_path)!r})).create(Header("run", "me", "redis://host"))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        print([journal.append(bytes(300)) for _ in range(6)], journal.size)
        journal.close()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout.startswith("[True, True, False, False, False, False]")
    assert done.stderr.count("File too large") == 1 and "Free space" in done.stderr
    [path] = tmp_path.iterdir()
    assert read(path) == [bytes(300)] * 2
    assert path.stat().st_size == int(done.stdout.split()[-1])


def test_the_last_fault_is_kept_for_another_process(directory: JournalDirectory) -> None:
    assert directory.fault() is None
    for message in ("first", "second"):
        directory.note(message)
    fault = JournalDirectory(directory.path).fault()
    assert fault is not None
    assert fault["message"] == "second" and str(os.getpid()) in fault["owner"] and time.time() - fault["time"] < 60
    assert [path.name for path in directory.path.iterdir()] == ["last-fault.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe"])
def test_a_damaged_note_is_no_fault(directory: JournalDirectory, content: bytes) -> None:
    (directory.path / "last-fault.json").write_bytes(content)
    assert directory.fault() is None


def test_a_fault_that_cannot_be_noted_is_no_fault_of_its_own(directory: JournalDirectory) -> None:
    directory.path.rmdir()
    directory.note("first")
    assert directory.fault() is None


def test_a_journal_is_its_owners_until_that_is_gone(journal: RunJournal) -> None:
    journal.append(b"one")
    code = "import sys; from pathlib import Path; from blissdata_bluesky.journal import RunJournal; RunJournal.adopt(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(journal.path)]
    assert "JournalOwnedError" in subprocess.run(command, capture_output=True, text=True).stderr
    with pytest.raises(JournalOwnedError, match="belongs to a process"):
        RunJournal.adopt(journal.path)
    journal.close()
    adopted = RunJournal.adopt(journal.path)
    assert adopted.header == journal.header
    assert not adopted.append(b"two"), "it is read only"
    adopted.close()


def test_a_journal_that_its_owner_sets_aside_meanwhile_is_not_adopted(directory: JournalDirectory) -> None:
    journal = created(directory)
    path = journal.path
    code = f"""
        import os, sys
        from pathlib import Path
        from blissdata_bluesky.errors import JournalError
        from blissdata_bluesky.journal import run
        path = Path({str(path)!r})
        descriptor = os.open(path, os.O_RDWR)
        print("opened", flush=True)
        sys.stdin.read()
        try:
            run._lock(path, descriptor)
        except BlockingIOError:
            print("refused")
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "opened\n"
        directory.finish(journal)
        assert process.communicate()[0] == "refused\n"
    with pytest.raises(JournalError, match="cannot be opened"):
        RunJournal.adopt(path)


def test_a_child_that_outlives_the_owner_does_not_keep_the_lock(tmp_path: Path) -> None:
    code = f"""
        import os, signal, sys, time
        from blissdata_bluesky.writer import BlissdataWriter
        writer = BlissdataWriter("redis://127.0.0.1:1", journal={str(tmp_path)!r})
        writer("start", {{"uid": "run", "time": 1.0}})
        if os.fork():
            os.kill(os.getpid(), signal.SIGKILL)
        files = [os.path.realpath(f"/proc/self/fd/{{name}}") for name in os.listdir("/proc/self/fd")]
        print([path for path in files if path.startswith({str(tmp_path)!r})], flush=True)
        sys.stdin.read()
        os._exit(0)
    """
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[]\n", "the child has none of the files"
        process.wait(60)
        [path] = JournalDirectory(tmp_path).paths(Fate.UNFINISHED)
        adopted = RunJournal.adopt(path)
        assert adopted.header.uid == "run"
        adopted.close()
        process.communicate()


def test_the_header_of_the_first_format_is_read() -> None:
    members = {"uid": "u", "publisher": "p", "target": "t", "identity": {}, "owner": "o", "format": 1, "created": 1.0}
    assert Header.unpack(ormsgpack.packb(members), Path("x.journal")).archive == ""
