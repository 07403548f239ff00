"""The archiver is killed: its file can be read, and nothing is lost, doubled or changed; see benchmarks/faults/archive.py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.faults.archive import (
    GrowingRun,
    Outcome,
    figures,
    fork_archiver,
    keep_unregistered,
    kill,
    kill_while_it_grows,
    kill_while_it_is_sealed,
)
from blissdata_bluesky.archive import ArchivedFile, service
from blissdata_bluesky.archive import run as archive_run
from blissdata_bluesky.journal import Fate, JournalDirectory, Retention

from .archived import Place, Registered, assert_archived
from .emitted import whole_run
from .tiled_runs import eventually

# in which one of some thousand kills, for a moment, leaves a file without some of its rows (docs/adr/0020)
MOST_LACKING = 1


def assert_kept(outcome: Outcome, kills: int) -> None:
    assert outcome.kills == kills
    assert outcome.files > kills / 2, "the archivers must have come beyond the start document"
    assert outcome.rows, "the rows must have been compared"
    assert outcome.unreadable == []
    assert outcome.differences == []


def test_an_archiver_that_is_killed_while_a_journal_grows() -> None:
    outcome = Outcome()
    kill_while_it_grows(8, outcome)
    assert_kept(outcome, 8)
    assert len({lacking.partition(":")[0] for lacking in outcome.lacking}) <= MOST_LACKING


def test_an_archiver_that_is_killed_while_a_file_is_sealed() -> None:
    outcome = Outcome()
    kill_while_it_is_sealed(6, outcome)
    assert_kept(outcome, 6)
    assert outcome.lacking == []


@pytest.mark.long
@pytest.mark.timeout(900)
def test_many_killed_archivers() -> None:
    assert all(figure.kept for figure in figures(short=False))


def killed_while(place: Place, condition: Callable[[], Any], register: Callable[[Any], None] | None = None) -> None:
    child = fork_archiver(place, register)
    try:
        eventually(condition, 60)
    finally:
        kill(child)


def test_while_it_is_registered(tmp_path: Path) -> None:
    place = Place(tmp_path)
    run = whole_run(20)
    path = place.whole(run)
    waiting = tmp_path / "waiting"

    def wait_in_vain(runs: Any) -> None:
        if any(one.complete for one in runs):
            waiting.touch()
        keep_unregistered(runs)

    killed_while(place, waiting.exists, wait_in_vain)
    assert ".finished-journal" in place.left()
    assert ".archive" in place.left()
    assert_archived(path, run)
    sealed = path.stat()
    registered = Registered()
    place.archive(registered)
    assert len(registered.complete(run.uid)) == 1
    assert registered.complete(run.uid)[0].stop == run.documents[-1][1]
    assert place.left() == []
    # what is sealed is not written again
    assert os.path.samestat(path.stat(), sealed)
    assert path.stat().st_mtime_ns == sealed.st_mtime_ns


def test_before_the_sealed_file_takes_the_place_of_the_one_that_grew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path)
    run = whole_run(20)
    path = place.whole(run)
    new = path.with_name(f".{path.name}.new")

    def seal(path: Path, *_: Any) -> list[str]:
        new.write_bytes(b"the beginning of a sealed file")
        (tmp_path / "sealing").touch()
        time.sleep(3600)
        return []

    with monkeypatch.context() as patch:
        patch.setattr(archive_run, "seal", seal)
        killed_while(place, (tmp_path / "sealing").exists)
    assert not ArchivedFile(path).look().complete
    assert new.exists()
    place.archive()
    assert_archived(path, run)
    assert place.left() == []
    assert place.files() == {path.relative_to(place.root)}


def test_while_the_journal_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path)
    run = whole_run(20)
    path = place.whole(run)

    def remove_whole(directory: JournalDirectory, path: Path) -> None:
        (tmp_path / "removing").touch()
        time.sleep(3600)

    with monkeypatch.context() as patch:
        patch.setattr(JournalDirectory, "_remove_whole", remove_whole)
        killed_while(place, (tmp_path / "removing").exists)
    assert place.directory.paths() == place.directory.paths(Fate.FINISHED) != []
    registered = Registered()
    place.archive(registered)
    assert registered.runs == []
    assert_archived(path, run)
    # as any other that Redis has whole, it goes when the retention is over
    JournalDirectory(place.journals, Retention(bytes=0)).prune()
    assert place.left() == []


def test_nobody_writes_a_file_that_another_archiver_writes(tmp_path: Path) -> None:
    growing = GrowingRun(Place(tmp_path))
    child = fork_archiver(growing.place)
    try:
        eventually(lambda: growing.archived().progress, 60)
        with pytest.raises(service.ArchiveError, match=f"another archiver.*{child}.*is at work"):
            growing.place.archiver()
    finally:
        kill(child)
    growing.stop()
    growing.place.archive()
    assert_archived(growing.path, growing.run)
