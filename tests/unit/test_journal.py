"""The journal: what was appended is read again, whatever happened to the end of the file."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.errors import JournalError
from blissdata_bluesky.journal import Header, JournalDirectory, Retention, RunJournal, read_records, record_size
from blissdata_bluesky.journal.records import frame

PAYLOADS = [b"one", b"two" * 100, b"x", b"three"]


@pytest.fixture
def directory(tmp_path: Path) -> JournalDirectory:
    return JournalDirectory(tmp_path / "journal")


@pytest.fixture
def journal(directory: JournalDirectory) -> Iterator[RunJournal]:
    journal = directory.create(Header("run", "me", "redis://host"))
    yield journal
    journal.close()


def read(path: Path, offset: int = 0) -> list[bytes]:
    return [payload for _, payload in read_records(path, offset)]


def test_records_come_back_after_the_header(journal: RunJournal) -> None:
    assert all(map(journal.append, PAYLOADS))
    header, *records = read(journal.path)
    assert Header.unpack(header, journal.path) == journal.header
    assert records == PAYLOADS
    assert journal.size == journal.path.stat().st_size


def test_reading_goes_on_where_it_ended(journal: RunJournal) -> None:
    offset = journal.size
    for payload in PAYLOADS:
        journal.append(payload)
        [(end, found)] = journal.records(offset)
        assert found == payload and end == offset + record_size(len(payload))
        offset = end
    assert list(journal.records(offset)) == []


def test_a_torn_end_hides_nothing_before_it(journal: RunJournal, tmp_path: Path) -> None:
    ends = [journal.size]
    for payload in PAYLOADS:
        journal.append(payload)
        ends.append(journal.size)
    whole = journal.path.read_bytes()
    torn = tmp_path / "torn"
    for size in range(len(whole) + 1):
        torn.write_bytes(whole[:size])
        assert len(read(torn)) == sum(end <= size for end in ends)


RECORDS = b"".join(frame(payload) + payload for payload in PAYLOADS)


@given(st.integers(0, len(RECORDS) - 1), st.integers(1, 255))
def test_a_flipped_byte_gives_no_wrong_record(tmp_path_factory: pytest.TempPathFactory, place: int, flip: int) -> None:
    path = tmp_path_factory.mktemp("flipped") / "journal"
    path.write_bytes(RECORDS[:place] + bytes([RECORDS[place] ^ flip]) + RECORDS[place + 1 :])
    found = read(path)
    assert found == PAYLOADS[: len(found)] and len(found) < len(PAYLOADS)


@pytest.mark.parametrize("payload", [b"", b"nonsense", ormsgpack.packb({}), ormsgpack.packb({"format": 1}), b"\xc0"])
def test_what_is_no_header_is_refused(payload: bytes) -> None:
    with pytest.raises(JournalError, match="x.journal"):
        Header.unpack(payload, Path("x.journal"))


def test_a_newer_format_is_refused_with_a_remedy() -> None:
    newer = ormsgpack.packb({"format": 2, "something": "new"})
    with pytest.raises(JournalError, match="newer"):
        Header.unpack(newer, Path("x.journal"))


def test_a_journal_is_locked_for_its_owner_and_free_when_the_owner_is_gone(journal: RunJournal) -> None:
    code = "import fcntl,sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    command = [sys.executable, "-c", code, str(journal.path)]
    assert b"BlockingIOError" in subprocess.run(command, capture_output=True).stderr
    journal.close()
    assert subprocess.run(command).returncode == 0
    journal.close()


def test_a_second_journal_of_the_same_run_is_refused(directory: JournalDirectory, journal: RunJournal) -> None:
    with pytest.raises(JournalError, match="exists"):
        directory.create(Header("run", "other", "redis://host"))


def test_journals_are_for_their_owner_only(journal: RunJournal) -> None:
    assert journal.path.stat().st_mode & 0o077 == 0
    assert journal.path.parent.stat().st_mode & 0o077 == 0


def test_a_finished_journal_is_set_aside(directory: JournalDirectory) -> None:
    journal = directory.create(Header("run", "me", "redis://host"))
    assert directory.unfinished() == [journal.path]
    directory.finish(journal)
    assert directory.unfinished() == []
    assert len(list(directory.path.iterdir())) == 1


def finished(directory: JournalDirectory, name: str, size: int, age: float) -> Path:
    journal = directory.create(Header(name, "me", "redis://host"))
    journal.append(bytes(size))
    directory.finish(journal)
    path = max(directory.path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_old_journals_go_and_open_ones_stay(tmp_path: Path) -> None:
    directory = JournalDirectory(tmp_path, Retention(seconds=100))
    unfinished = directory.create(Header("open", "me", "redis://host"))
    os.utime(unfinished.path, (0, 0))
    old, new = finished(directory, "old", 10, 101), finished(directory, "new", 10, 50)
    directory.prune()
    assert not old.exists() and new.exists() and unfinished.path.exists()
    unfinished.close()


def test_the_oldest_go_first_when_all_together_are_too_large(tmp_path: Path) -> None:
    directory = JournalDirectory(tmp_path, Retention(bytes=2500))
    paths = [finished(directory, f"run {age}", 1000, age) for age in (30, 20, 10)]
    directory.prune()
    assert [path.exists() for path in paths] == [False, True, True]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JournalError, match="journal"):
        JournalDirectory(tmp_path)


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be made"):
        JournalDirectory(tmp_path / "file")


def test_a_journal_that_went_away_is_finished_and_pruned_without_an_error(
    directory: JournalDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    journal = directory.create(Header("run", "me", "redis://host"))
    journal.path.unlink()
    with pytest.raises(JournalError, match="cannot be read"):
        list(journal.records(0))
    directory.finish(journal)
    assert len(caplog.records) == 1


def test_a_journal_that_cannot_be_pruned_is_said_in_the_log_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = JournalDirectory(tmp_path, Retention(bytes=0))
    (tmp_path / "odd.finished-journal").mkdir()
    directory.prune()
    assert len(caplog.records) == 1


def test_a_full_disk_leaves_whole_records_only_and_is_said_once(tmp_path: Path) -> None:
    code = f"""
        import resource
        from pathlib import Path
        from blissdata_bluesky.journal import Header, JournalDirectory
        journal = JournalDirectory(Path({str(tmp_path)!r})).create(Header("run", "me", "redis://host"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        print([journal.append(bytes(300)) for _ in range(6)], journal.size)
        journal.close()
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout.startswith("[True, True, False, False, False, False]")
    assert done.stderr.count("cannot be written") == 1 and "Free space" in done.stderr
    [path] = tmp_path.iterdir()
    assert read(path)[1:] == [bytes(300)] * 2
    assert path.stat().st_size == int(done.stdout.split()[-1])
