"""Where a file may be, whose file is there, and what happens to a file that is taken away or damaged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from blissdata_bluesky.archive import service
from blissdata_bluesky.archive.root import MARK_NAME
from blissdata_bluesky.archive.service import Archiver
from blissdata_bluesky.journal import Fate

from .archived import Place, add, assert_archived
from .emitted import EmittedRun, scalar_events, scalar_run, whole_run
from .published import levels


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    place.root.mkdir()
    return place


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_RETRY_SECONDS", 0.1)


def elsewhere(place: Place) -> Path:
    path = place.root.parent / "elsewhere"
    path.mkdir(exist_ok=True)
    return path


def linked_directory(place: Place) -> str:
    (place.root / "linked").symlink_to(elsewhere(place))
    return str(place.root / "linked" / "x.h5")


def linked_file(place: Place) -> str:
    (place.root / "x.h5").symlink_to(elsewhere(place) / "x.h5")
    return str(place.root / "x.h5")


def dangling_link(place: Place) -> str:
    (place.root / "x.h5").symlink_to(place.root / "y.h5")
    return str(place.root / "x.h5")


def loop(place: Place) -> str:
    (place.root / "loop").symlink_to(place.root / "loop")
    return str(place.root / "loop" / "x.h5")


def pipe(place: Place) -> str:
    os.mkfifo(place.root / "x.h5")
    return str(place.root / "x.h5")


def directory(place: Place) -> str:
    (place.root / "x.h5").mkdir()
    return str(place.root / "x.h5")


def below_a_file(place: Place) -> str:
    (place.root / "file").write_text("precious")
    return str(place.root / "file" / "x.h5")


def foreign_text(place: Place) -> str:
    (place.root / "x.h5").write_text("precious")
    return str(place.root / "x.h5")


def foreign_hdf5(place: Place) -> str:
    with h5py.File(place.root / "x.h5", "w") as file:
        file["precious"] = np.arange(1000)
    return str(place.root / "x.h5")


def file_of_another_run(place: Place) -> str:
    path = place.whole(whole_run(3))
    place.archive()
    return str(path)


def catalog(place: Place) -> str:
    (place.root / "catalog.db").write_bytes(b"SQLite format 3\0")
    return str(place.root / "catalog.db")


HOSTILE: dict[str, Callable[[Place], Any]] = {
    "absolute elsewhere": lambda place: str(elsewhere(place) / "x.h5"),
    "climbing": lambda place: str(place.root / ".." / "elsewhere" / "x.h5"),
    "climbing at the end": lambda place: str(place.root / "a" / ".."),
    "above the root": lambda place: f"{place.root}/..",
    "the root": lambda place: str(place.root),
    "beside the root": lambda place: f"{place.root}x/x.h5",
    "relative": lambda _: "x.h5",
    "empty": lambda _: "",
    "nothing": lambda _: None,
    "a number": lambda _: 5,
    "a list": lambda place: [str(place.root / "x.h5")],
    "NUL": lambda place: str(place.root / "a\0b.h5"),
    "linked directory": linked_directory,
    "linked file": linked_file,
    "dangling link": dangling_link,
    "loop": loop,
    "pipe": pipe,
    "directory": directory,
    "below a file": below_a_file,
    "foreign text": foreign_text,
    "foreign HDF5": foreign_hdf5,
    "another run's": file_of_another_run,
    "catalog": catalog,
    "long name": lambda place: str(place.root / ("x" * 300 + ".h5")),
    "long path": lambda place: str(place.root) + "/a" * 3000 + "/x.h5",
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_path_that_cannot_be(place: Place, caplog: pytest.LogCaptureFixture, hostile: str) -> None:
    path = HOSTILE[hostile](place)
    before = everything(place.root.parent)
    bad, good = whole_run(3), whole_run(3)
    place.directory.finish(place.begin(bad.documents, path=path))
    place.whole(good)
    archiver = place.archiver()
    steps(archiver)
    time.sleep(0.2)
    steps(archiver)
    archiver.close()
    assert levels(caplog) == ["ERROR"]
    assert bad.uid in caplog.text or "journal" in caplog.text
    fault = place.directory.fault()
    assert fault is not None
    assert fault["message"] in caplog.text
    assert place.left() == [".archive", ".finished-journal", ".json"]
    assert_archived(place.path(good.documents[0][1]), good)
    after = everything(place.root.parent)
    made = {name for name in after if before.get(name) != after[name]}
    expected = (place.path(good.documents[0][1]), place.root / MARK_NAME)
    assert made <= {str(path.relative_to(place.root.parent)) for path in expected}


def everything(directory: Path) -> dict[str, Any]:
    """All files below a directory, journals aside, with what they hold."""
    found = {}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file() and not name.startswith("journal"):
            found[name] = path.read_bytes()
    return found


@pytest.mark.parametrize("number", ["../../x", 1.5, [1]], ids=str)
def test_a_number_that_is_none(place: Place, caplog: pytest.LogCaptureFixture, number: Any) -> None:
    run = whole_run(3)
    place.directory.finish(place.begin(run.documents, number=number))
    place.archive()
    assert levels(caplog) == ["ERROR"]
    assert f"run {run.uid}: its number {number!r} is none; its journal is kept" in caplog.text
    assert place.files() == set()
    assert place.left() == [".archive", ".finished-journal", ".json"]


@pytest.mark.parametrize("archive", ["", "elsewhere", "relative/path"])
def test_a_journal_of_another_archive_is_left_alone(
    place: Place, caplog: pytest.LogCaptureFixture, archive: str
) -> None:
    other = Place(place.root.parent)
    other.root = Path(archive) if archive != "elsewhere" else elsewhere(place)
    run = whole_run(3)
    journal = other.begin(run.documents, path=str(place.root / "x.h5"))
    journal.path.with_suffix(".archive").touch()
    other.directory.finish(journal)
    place.archive()
    assert levels(caplog) == ["WARNING"]
    assert "is left alone" in caplog.text
    assert place.files() == set()
    assert place.left() == [".archive", ".finished-journal"]


def test_a_root_that_is_a_link(place: Place) -> None:
    real = elsewhere(place)
    place.root.rmdir()
    place.root.symlink_to(real)
    run = whole_run(3)
    assert_archived_of(place, run)
    assert list(real.rglob("*.h5"))


def assert_archived_of(place: Place, run: EmittedRun) -> None:
    path = place.whole(run)
    place.archive()
    assert place.left() == []
    assert_archived(path, run)


def test_two_runs_with_the_same_path(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    first, second = whole_run(3), whole_run(3)
    path = str(place.root / "x.h5")
    journals = [place.begin(run.documents, path=path) for run in (first, second)]
    archiver = place.archiver()
    steps(archiver)
    for journal in journals:
        place.directory.finish(journal)
    time.sleep(0.2)
    steps(archiver)
    archiver.close()
    assert levels(caplog) == ["ERROR"]
    assert "which is not this run's" in caplog.text
    assert place.left() == [".archive", ".finished-journal", ".json"]
    (kept,) = place.directory.paths(Fate.FINISHED)
    refused = next(run for run in (first, second) if run.uid in caplog.text)
    assert_archived(Path(path), second if refused is first else first)
    # what the sentence says helps
    Path(path).rename(place.root / "moved.h5")
    place.archive()
    assert_archived(Path(path), refused)
    assert not kept.exists()


def test_the_same_run_of_another_publisher(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    run = whole_run(3)
    path = place.whole(run)
    place.archive()
    with h5py.File(path, "r+") as file:
        file.attrs["bluesky_publisher"] = "somebody else"
    before = path.read_bytes()
    place.whole(run)
    place.archive()
    assert path.read_bytes() == before
    assert levels(caplog) == ["ERROR"]
    assert place.left() == [".archive", ".finished-journal", ".json"]


def steps(archiver: Archiver, most: int = 100) -> None:
    """Archive until there is nothing to do."""
    for _ in range(most):
        if not archiver.step():
            return
    raise AssertionError("it does not come to an end")


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, 3000)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def garble_the_beginning(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(np.random.default_rng(1).bytes(1000))


def garble_the_rows(path: Path) -> None:
    with h5py.File(path, "r", locking=False) as file:
        place = file["0.1/instrument/integer/data"].id.get_chunk_info_by_coord((0,)).byte_offset
    with path.open("r+b") as file:
        file.seek(place + 80)
        file.write(b"garbage!")


def garble_all_but_the_beginning(path: Path) -> None:
    with path.open("r+b") as file:
        size = len(file.read(2**20).rstrip(b"\0"))
        # behind what says that it is an HDF5 file, and whose
        file.seek(2048)
        file.write(np.random.default_rng(2).bytes(size - 2048))


def move_the_directory(path: Path) -> None:
    path.parent.rename(path.parent.parent / "elsewhere")


DAMAGES = {
    damage.__name__: damage
    for damage in [
        remove,
        truncate,
        empty,
        garble_the_beginning,
        garble_the_rows,
        garble_all_but_the_beginning,
        move_the_directory,
    ]
}
TAKEN_AWAY = {"remove", "move_the_directory"}


@pytest.mark.parametrize("when", ["while it grows", "between two archivers"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again(place: Place, caplog: pytest.LogCaptureFixture, damage: str, when: str) -> None:
    run = scalar_run(100)
    path = place.path(run.documents[0][1])
    journal = place.begin(run.documents)
    archiver = place.archiver()
    steps(archiver)
    if when == "between two archivers":
        archiver.close()
    DAMAGES[damage](path)
    if when == "between two archivers":
        archiver = place.archiver()
    add(journal, scalar_events(run, range(100, 200)))
    steps(archiver)
    add(journal, run.stop())
    place.directory.finish(journal)
    steps(archiver)
    time.sleep(0.2)
    steps(archiver)
    archiver.close()
    assert_archived(path, run)
    assert place.left() == []
    damaged = list(place.root.rglob("*.damaged"))
    # what a running archiver had in memory may mend what was damaged before it is noticed
    assert len(damaged) <= (damage not in TAKEN_AWAY)
    assert set(levels(caplog)) <= {"WARNING"}
    if damaged:
        assert f"the damaged one is {damaged[0]}" in caplog.text
    if when == "between two archivers" and damage not in TAKEN_AWAY:
        assert "is damaged" in caplog.text
    if damage == "garble_the_rows":
        # it was surely the run's, and is not needed any more
        assert not damaged


def put_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["precious"] = np.arange(100_000)


def put_text(path: Path) -> None:
    path.write_text("precious")


def put_link(path: Path) -> None:
    precious = path.with_name("linked to")
    precious.write_text("precious")
    path.symlink_to(precious)


def put_directory(path: Path) -> None:
    path.mkdir()
    (path / "precious").write_text("precious")


@pytest.mark.parametrize("put", [put_hdf5, put_link, put_directory])
def test_what_takes_the_place_of_a_growing_file_is_left_untouched(
    place: Place, caplog: pytest.LogCaptureFixture, put: Callable[[Path], None]
) -> None:
    run = scalar_run(100)
    path = replaced_while_it_grew(place, run, put)
    assert set(levels(caplog)) == {"ERROR"}
    assert len(levels(caplog)) <= 2, "of a run that grows, and of one that ends"
    assert ".archive" in place.left()
    # what the sentence says helps
    path.rename(path.with_name("precious"))
    place.archive()
    assert_archived(path, run)
    assert place.left() == [".json"]


def test_what_may_be_a_damaged_file_is_set_aside_as_it_is(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    run = scalar_run(100)
    path = replaced_while_it_grew(place, run, put_text)
    assert levels(caplog) == ["WARNING"]
    assert path.with_name(f".{path.name}.damaged").read_text() == "precious"
    assert_archived(path, run)
    assert place.left() == []


def replaced_while_it_grew(place: Place, run: EmittedRun, put: Callable[[Path], None]) -> Path:
    """Put something in the place of a run's file, and let the run end."""
    path = place.path(run.documents[0][1])
    journal = place.begin(run.documents)
    archiver = place.archiver()
    steps(archiver)
    put(path.rename(path.with_name("moved.h5")).with_name(path.name))
    untouched = {name: kept for name, kept in everything(path.parent).items() if name != "moved.h5"}
    add(journal, scalar_events(run, range(100, 200)))
    steps(archiver)
    add(journal, run.stop())
    place.directory.finish(journal)
    time.sleep(0.2)
    steps(archiver)
    archiver.close()
    assert untouched.items() <= everything(path.parent).items() or put is put_text
    return path


def test_a_directory_that_must_not_be_written(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    run = whole_run(3)
    place.root.chmod(0o500)
    path = place.whole(run)
    place.archive()
    assert levels(caplog) == ["ERROR"]
    assert "Permission denied" in caplog.text
    place.root.chmod(0o700)
    place.archive()
    assert_archived(path, run)
