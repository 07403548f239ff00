"""The archive's disk is full: one error, rows wait in the journal, and all is archived when there is room again."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import pytest

from blissdata_bluesky.archive import service
from blissdata_bluesky.archive.service import Archiver
from blissdata_bluesky.archive.state import load_state, state_path

from .archived import Place, Registered, add, assert_archived
from .emitted import EmittedRun, Named, scalar_run, whole_run
from .published import levels
from .tiled_runs import eventually

PAGE_ROWS = 5000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place whose archive lies on a file system of 4 MB."""
    place = Place(tmp_path)
    place.root.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place.root)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no tmpfs can be mounted: {error}")
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted: {mounted.stderr.strip()}")
    yield place
    # HDF5 does not let go of a file that it could not write
    subprocess.run(["umount", "--lazy", str(place.root)], check=True)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_RETRY_SECONDS", 0.1)


@contextmanager
def full(root: Path) -> Iterator[None]:
    """There is no room in the archive."""
    filler = root / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(100))
    yield
    filler.unlink()


def page(run: EmittedRun, first: int) -> list[Named]:
    """`PAGE_ROWS` events of a `scalar_run` as one document."""
    rows = np.arange(first, first + PAGE_ROWS)
    times = (rows / 8).tolist()
    descriptor = next(document["uid"] for name, document in run.documents if name == "descriptor")
    members = {"uid": list(map(str, rows)), "descriptor": descriptor, "seq_num": (rows + 1).tolist(), "filled": {}}
    data = {"number": (rows / 3).tolist(), "integer": rows.tolist()}
    return run.other("event_page", {**members, "time": times, "data": data, "timestamps": dict.fromkeys(data, times)})


def steps(archiver: Archiver, condition: Callable[[], object] = lambda: True) -> None:
    """Archive until there is nothing to do, and the condition is met."""

    def stepped() -> object:
        return not archiver.step() and condition()

    eventually(stepped, 60)


def written(path: Path, place: Place) -> int:
    """Rows that plain h5py reads, and that the archiver counts as written."""
    with h5py.File(path, "r", locking=False) as file:
        rows = file["0.1/instrument/integer/data"][()]
    (journal,) = place.directory.paths()
    counted = load_state(state_path(journal)).progress["/0.1/instrument/integer/data"].rows
    assert list(rows[:counted]) == list(range(counted))
    return counted


def test_while_rows_are_written(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    run = scalar_run(0)
    path = place.path(run.documents[0][1])
    journal = place.begin(run.documents)
    archiver = place.archiver()
    add(journal, page(run, 0))
    steps(archiver)
    assert levels(caplog) == []
    with full(place.root):
        for number in range(1, 11):
            add(journal, page(run, number * PAGE_ROWS))
        for _ in range(4):
            steps(archiver)
            time.sleep(0.15)
        assert levels(caplog) == ["ERROR"], "however often it was tried"
        assert "No space left on device" in caplog.text
        assert f"See to it that there is room in {place.root}" in caplog.text
        assert run.uid in caplog.text
        assert str(path) in caplog.text
        fault = place.directory.fault()
        assert fault is not None
        assert "No space left on device" in fault["message"]
    time.sleep(0.15)
    steps(archiver, lambda: written(path, place) == 11 * PAGE_ROWS)
    add(journal, page(run, 11 * PAGE_ROWS))
    add(journal, run.stop())
    place.directory.finish(journal)
    steps(archiver, lambda: place.left() == [".json"])
    archiver.close()
    assert_archived(path, run)
    assert_told_once(caplog)
    assert {found for found in place.files() if found.suffix != ".damaged"} == {path.relative_to(place.root)}


def assert_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """One error; and it may be that HDF5 left a file which was made again."""
    assert levels(caplog) in (["ERROR"], ["ERROR", "WARNING"])
    assert levels(caplog) == ["ERROR"] or "is made again from the journal" in caplog.text


def test_while_a_file_is_sealed(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    run, registered = scalar_run(0), Registered()
    path = place.path(run.documents[0][1])
    journal = place.begin(run.documents)
    archiver = place.archiver(registered)
    for number in range(8):
        add(journal, page(run, number * PAGE_ROWS))
    steps(archiver)
    grown = written(path, place)
    assert grown == 8 * PAGE_ROWS
    with full(place.root):
        add(journal, run.stop())
        place.directory.finish(journal)
        for _ in range(4):
            steps(archiver)
            time.sleep(0.15)
        assert levels(caplog) == ["ERROR"], "however often it was tried"
        assert "No space left on device" in caplog.text
        # the file that grew stays as it was
        assert written(path, place) == grown
        assert not registered.complete(run.uid)
        assert ".archive" in place.left()
    time.sleep(0.15)
    steps(archiver, lambda: place.left() == [".json"])
    archiver.close()
    assert_archived(path, run)
    assert len(registered.complete(run.uid)) == 1
    assert place.files() == {path.relative_to(place.root)}
    assert levels(caplog) == ["ERROR"]


def test_before_there_is_a_file(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    run = whole_run(20)
    archiver = place.archiver()
    with full(place.root):
        path = place.whole(run)
        for _ in range(3):
            steps(archiver)
            time.sleep(0.15)
        assert levels(caplog) == ["ERROR"], "however often it was tried"
        assert "No space left on device" in caplog.text
        assert not path.exists()
    time.sleep(0.15)
    steps(archiver, lambda: place.left() == [".json"])
    archiver.close()
    assert_archived(path, run)
    assert place.files() == {path.relative_to(place.root)}


def test_the_next_archiver_goes_on(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    run = scalar_run(0)
    path = place.path(run.documents[0][1])
    journal = place.begin(run.documents)
    archiver = place.archiver()
    add(journal, page(run, 0))
    steps(archiver)
    with full(place.root):
        for number in range(1, 11):
            add(journal, page(run, number * PAGE_ROWS))
        steps(archiver)
        archiver.close()
    add(journal, run.stop())
    place.directory.finish(journal)
    place.archive()
    assert_archived(path, run)
    assert_told_once(caplog)
