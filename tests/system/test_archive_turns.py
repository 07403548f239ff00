"""Whose turn it is: runs that go on do not wait for the many that were left over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blissdata_bluesky.archive import service
from blissdata_bluesky.archive.service import Archiver
from blissdata_bluesky.journal import RunJournal

from .archived import Place, add, assert_archived, stored_columns
from .emitted import EmittedRun, scalar_events, scalar_run

LEFT_OVER = 12


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def left_over(place: Place) -> list[str]:
    """The names of finished journals that nobody has archived for an hour."""
    for _ in range(LEFT_OVER):
        run = scalar_run(5)
        run.stop()
        place.whole(run)
    paths = place.directory.paths()
    for path in paths:
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3600))
    return [path.stem for path in paths]


class Turns:
    """Notes whose turn it is, and does something before each turn of a run that was left over."""

    def __init__(self, archiver: Archiver, left_over: list[str]) -> None:
        self.names: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self._left_over = left_over
        self._advance = archiver._advance
        archiver._advance = self._note  # type: ignore[method-assign]

    def _note(self, path: Path) -> bool:
        if path.stem in self._left_over:
            self.meanwhile()
        self.names.append(path.stem)
        return self._advance(path)


@pytest.fixture
def archiver(place: Place, left_over: list[str]) -> Iterator[Archiver]:
    archiver = place.archiver()
    yield archiver
    archiver.close()


@pytest.fixture
def turns(archiver: Archiver, left_over: list[str], monkeypatch: pytest.MonkeyPatch) -> Turns:
    # as if what was left over took long
    monkeypatch.setattr(service, "_LIVE_SECONDS", -1.0)
    return Turns(archiver, left_over)


def begun(place: Place) -> tuple[EmittedRun, RunJournal]:
    run = scalar_run(1)
    return run, place.begin(run.documents)


def test_a_live_run_has_its_turn_between_any_two_that_were_left_over(
    place: Place, archiver: Archiver, turns: Turns, left_over: list[str]
) -> None:
    run, journal = begun(place)
    os.utime(journal.path, (0, 0))
    given: list[int] = [1]

    def look_and_give() -> None:
        """What was given before the last run that was left over is in the file."""
        assert len(stored_columns(place.path(run.documents[0][1]))["primary:integer"]) == given[-1]
        add(journal, scalar_events(run, [given[-1]]))
        given.append(given[-1] + 1)

    turns.meanwhile = look_and_give
    archiver.step()
    assert len(given) == LEFT_OVER + 1
    assert turns.names[::2] == [journal.path.stem] * (LEFT_OVER + 1)
    assert sorted(turns.names[1::2]) == sorted(left_over)
    journal.close()


def test_a_live_run_that_rests_is_served_first(place: Place, archiver: Archiver, turns: Turns) -> None:
    """Its journal is older than the archiver, and than those of the others."""
    _, journal = begun(place)
    os.utime(journal.path, (0, 0))
    archiver.step()
    assert turns.names[0] == journal.path.stem
    journal.close()


def test_runs_that_begin_and_end_meanwhile_are_served_next(place: Place, archiver: Archiver, turns: Turns) -> None:
    runs: list[tuple[EmittedRun, RunJournal]] = []

    def begin_and_end() -> None:
        if runs:
            return
        runs.extend([begun(place), begun(place)])
        run, journal = runs[1]
        add(journal, run.stop())
        place.directory.finish(journal)

    turns.meanwhile = begin_and_end
    archiver.step()
    (live, journal), (short, _) = runs
    assert set(turns.names[1:3]) == {one.path.stem for _, one in runs}
    assert_archived(place.path(short.documents[0][1]), short)
    assert list(stored_columns(place.path(live.documents[0][1]))["primary:integer"]) == [0]
    journal.close()


def test_what_was_left_over_is_archived_beside_runs_that_go_on(
    place: Place, archiver: Archiver, turns: Turns, left_over: list[str]
) -> None:
    journals = [begun(place)[1] for _ in range(3)]
    archiver.step()
    assert set(left_over) <= set(turns.names)
    assert place.left() == sorted([".archive", ".journal"] * 3)
    for journal in journals:
        journal.close()
