"""The thread that brings journals to the disk: by its policy, and with nothing left open at the end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from blissdata_bluesky.journal import Fsync, Header, JournalDirectory, RunJournal, Syncer
from tests.system.tiled_runs import eventually

POLICIES: list[Fsync] = ["run", 0.01, 100]


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[list[RunJournal]]:
    directory = JournalDirectory(tmp_path)
    made = [directory.create(Header(f"run {number}", "me", "redis://host")) for number in range(3)]
    journals = [journal for journal in made if journal is not None]
    yield journals
    for journal in journals:
        journal.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The files (inodes) that were brought to the disk, in order; it is done for real."""
    files: list[int] = []
    really = os.fdatasync

    def fdatasync(descriptor: int) -> None:
        files.append(os.fstat(descriptor).st_ino)
        really(descriptor)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return files


def inode(journal: RunJournal) -> int:
    return os.fstat(journal._descriptor).st_ino


def open_files(path: Path) -> int:
    """Descriptors of this process for what lies in a directory."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        # the thread may just close it
        with suppress(FileNotFoundError):
            found += str(path) in str(descriptor.readlink())
    return found


def begun_since(threads: set[threading.Thread]) -> set[threading.Thread]:
    """Those of other tests may end meanwhile."""
    return set(threading.enumerate()) - threads


@pytest.mark.parametrize("policy", ["always", "", 0, -1, 0.0, float("nan"), None])
def test_a_policy_that_is_none_is_refused(policy: Any) -> None:
    with pytest.raises(ValueError, match="fsync="):
        Syncer(policy)


def test_never_needs_neither_thread_nor_file(journals: list[RunJournal], synced: list[int]) -> None:
    threads, files = set(threading.enumerate()), open_files(journals[0].path.parent)
    syncer = Syncer("never")
    for journal in journals:
        syncer.add(journal)
        syncer.end(journal)
    assert (begun_since(threads), open_files(journals[0].path.parent)) == (set(), files)
    syncer.stop(60)
    assert synced == []


def test_nothing_is_started_before_the_first_run() -> None:
    threads = set(threading.enumerate())
    syncer = Syncer(1.0)
    assert begun_since(threads) == set()
    syncer.stop(60)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_that_stops_is_brought_to_the_disk_and_its_file_let_go(
    journals: list[RunJournal], synced: list[int], policy: Fsync
) -> None:
    syncer = Syncer(policy)
    files = open_files(journals[0].path.parent)
    syncer.add(journals[0])
    syncer.end(journals[0])
    eventually(lambda: inode(journals[0]) in synced)
    eventually(lambda: open_files(journals[0].path.parent) == files)
    syncer.stop(60)


def test_run_leaves_open_runs_to_the_operating_system(journals: list[RunJournal], synced: list[int]) -> None:
    syncer = Syncer("run")
    syncer.add(journals[0])
    syncer.add(journals[1])
    syncer.end(journals[1])
    eventually(lambda: synced)
    assert synced == [inode(journals[1])]
    syncer.stop(60)
    assert inode(journals[0]) in synced


def test_an_interval_brings_open_runs_to_the_disk_again_and_again(
    journals: list[RunJournal], synced: list[int]
) -> None:
    syncer = Syncer(0.01)
    for journal in journals:
        syncer.add(journal)
    eventually(lambda: all(synced.count(inode(journal)) > 2 for journal in journals))
    assert syncer.longest > 0
    syncer.stop(60)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_end_brings_all_to_the_disk_and_closes_all(
    journals: list[RunJournal], synced: list[int], policy: Fsync
) -> None:
    threads, files = set(threading.enumerate()), open_files(journals[0].path.parent)
    syncer = Syncer(policy)
    for journal in journals:
        syncer.add(journal)
    syncer.stop(60)
    assert {inode(journal) for journal in journals} <= set(synced)
    assert (begun_since(threads), open_files(journals[0].path.parent)) == (set(), files)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_journal_that_is_removed_meanwhile_disturbs_nobody(
    journals: list[RunJournal], synced: list[int], policy: Fsync, caplog: pytest.LogCaptureFixture
) -> None:
    syncer = Syncer(policy)
    removed, *others = journals
    files = open_files(removed.path.parent)
    for journal in journals:
        syncer.add(journal)
    removed.path.unlink()
    for journal in journals:
        syncer.end(journal)
    eventually(lambda: {inode(journal) for journal in others} <= set(synced))
    syncer.stop(60)
    assert open_files(removed.path.parent) == files
    assert caplog.messages == []


def test_a_journal_that_is_gone_before_it_is_added_disturbs_nobody(
    journals: list[RunJournal], synced: list[int]
) -> None:
    syncer = Syncer("run")
    journals[0].path.unlink()
    syncer.add(journals[0])
    syncer.add(journals[1])
    syncer.end(journals[0])
    syncer.end(journals[1])
    eventually(lambda: inode(journals[1]) in synced)
    syncer.stop(60)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_in_a_forked_child_the_files_are_the_parents(journals: list[RunJournal]) -> None:
    files = open_files(journals[0].path.parent)
    syncer = Syncer("run")
    for journal in journals:
        syncer.add(journal)
    child = os.fork()
    if child == 0:
        syncer.forget()
        syncer.stop(None)
        os._exit(0 if open_files(journals[0].path.parent) == files else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert open_files(journals[0].path.parent) == files + len(journals)
    syncer.stop(60)
