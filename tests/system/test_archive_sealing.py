"""Large runs, which are sealed beside the others: what is away, ends or is closed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from blissdata_bluesky.archive import ArchivedFile, service
from blissdata_bluesky.archive import run as archive_run
from blissdata_bluesky.archive.lock import ArchiverLock
from blissdata_bluesky.archive.seal import seal
from blissdata_bluesky.archive.service import Archiver

from .archived import Place, add, assert_archived
from .emitted import scalar_run, whole_run
from .tiled_runs import eventually


class Gate:
    """Keeps whoever seals a file until it is opened, and counts them."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.began: list[Path] = []
        self.fault: OSError | None = None

    def seal(self, path: Path, *arguments: Any) -> list[str]:
        self.began.append(path)
        assert self.opened.wait(100)
        if self.fault is not None:
            raise self.fault
        return seal(path, *arguments)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """All runs are large ones, and their sealing lasts until the gate is opened."""
    gate = Gate()
    monkeypatch.setattr(archive_run, "_LARGE_BYTES", 0)
    monkeypatch.setattr(archive_run, "seal", gate.seal)
    monkeypatch.setattr(service, "_RETRY_SECONDS", 0.1)
    monkeypatch.setattr(service, "_CLOSE_SECONDS", 0.1)
    yield gate
    gate.opened.set()
    for thread in threading.enumerate():
        if thread.name == "blissdata-bluesky-sealing":
            thread.join(100)


def step_until(archiver: Archiver, condition: Any) -> None:
    eventually(lambda: [archiver.step(), condition()][1])


def sealing(archiver: Archiver) -> bool:
    return any(thread.name == "blissdata-bluesky-sealing" for thread in threading.enumerate())


def unmount(place: Place) -> Path:
    return place.root.rename(place.root.with_name("disk"))


@pytest.mark.parametrize("when", ["before it is noticed", "after it is noticed", "when it is back"])
def test_the_archive_is_away_while_a_run_is_sealed(place: Place, gate: Gate, when: str) -> None:
    run, other = whole_run(3), whole_run(3)
    path = place.whole(run)
    archiver = place.archiver()
    step_until(archiver, lambda: gate.began)
    disk = unmount(place)
    gate.fault = OSError(5, "Input/output error")
    if when == "before it is noticed":
        gate.opened.set()
        eventually(lambda: not sealing(archiver))
    archiver.step()
    if when == "after it is noticed":
        gate.opened.set()
        eventually(lambda: not sealing(archiver))
    disk.rename(place.root)
    for _ in range(5):
        archiver.step()
    # nobody seals it a second time beside the first
    assert gate.began == [path] or when != "when it is back"
    gate.fault = None
    gate.opened.set()
    other_path = place.whole(other)
    step_until(archiver, lambda: place.left() == [".json"])
    archiver.close()
    assert_archived(path, run)
    assert_archived(other_path, other)


def test_a_seal_that_fails_is_tried_again_and_the_next_run_is_sealed(place: Place, gate: Gate) -> None:
    runs = [whole_run(3), whole_run(3)]
    paths = [place.whole(run) for run in runs]
    archiver = place.archiver()
    gate.fault = OSError(28, "No space left on device")
    gate.opened.set()
    step_until(archiver, lambda: len(set(gate.began)) == 2)
    gate.fault = None
    step_until(archiver, lambda: place.left() == [".json"])
    archiver.close()
    for run, path in zip(runs, paths, strict=True):
        assert_archived(path, run)


def test_the_lock_is_kept_while_a_run_is_sealed(place: Place, gate: Gate) -> None:
    run = whole_run(3)
    path = place.whole(run)
    archiver = place.archiver()
    step_until(archiver, lambda: gate.began)
    archiver.close()
    lock = ArchiverLock(place.journals, place.root)
    assert lock.is_held()
    gate.opened.set()
    eventually(lambda: not sealing(archiver))
    assert ArchivedFile(path).look().complete
    # as the end of its process does it
    archiver.close()
    assert not lock.is_held()
    place.archive()
    assert_archived(path, run)
    assert place.left() == []


def open_files(place: Place) -> list[str]:
    """The journals and archived files of a place that this process has open, removed ones as well."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        # the one of this very directory is gone
        with suppress(OSError):
            found.append(str(link.readlink()).removesuffix(" (deleted)"))
    return [name for name in found if name.endswith((".h5", "journal")) and str(place.root.parent) in name]


def test_no_more_runs_are_open_than_a_bound(place: Place, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_MOST_OPEN", 4)
    waiting = [whole_run(3) for _ in range(8)]
    for run in waiting:
        place.whole(run)
    archiver = place.archiver()
    for _ in range(20):
        archiver.step()
        assert sum(name.endswith("journal") for name in open_files(place)) <= 4
    # those that wait to be sealed leave places to those that go on
    live = [scalar_run(3) for _ in range(2)]
    journals = [place.begin(run.documents) for run in live]
    step_until(archiver, lambda: all(place.path(run.documents[0][1]).exists() for run in live))
    for run, journal in zip(live, journals, strict=True):
        add(journal, run.stop())
        place.directory.finish(journal)
    gate.opened.set()
    step_until(archiver, lambda: place.left() == [])
    archiver.close()
    for run in (*waiting, *live):
        assert_archived(place.path(run.documents[0][1]), run)


@pytest.mark.parametrize("is_sealed", [False, True], ids=["growing", "sealed"])
def test_a_journal_that_somebody_removes_is_let_go(place: Place, gate: Gate, is_sealed: bool) -> None:
    run = whole_run(3) if is_sealed else scalar_run(3)
    journal = place.begin(run.documents)
    archiver = place.archiver()
    step_until(archiver, lambda: gate.began if is_sealed else archiver.waiting)
    journal.close()
    journal.path.unlink()
    # it is left alone as long as it is being sealed
    archiver.step()
    assert archiver.waiting == is_sealed
    gate.opened.set()
    step_until(archiver, lambda: not archiver.waiting)
    assert open_files(place) == []
    archiver.close()
