"""What is said of a run that cannot be archived: which one it is, what is kept, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from blissdata_bluesky.archive import run as archive_run
from blissdata_bluesky.archive.run import RunArchiver

from .archived import Place
from .emitted import whole_run
from .published import levels


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def said(place: Place, caplog: pytest.LogCaptureFixture) -> str:
    """The one error of an archiver that cannot archive a run, whose journal is kept."""
    place.archive()
    assert ".archive" in place.left()
    (error,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    return error


def test_a_journal_without_a_start(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    run = whole_run(3)
    journal = place.begin([("descriptor", run.documents[0][1])])
    journal.close()
    expected = f"run {run.uid}: its journal {journal.path} does not begin with a start document: what follows"
    assert expected in said(place, caplog)
    assert "the journal is kept. Who wrote it?" in caplog.text


def test_a_journal_with_something_else(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    run = whole_run(3)
    journal = place.begin(run.documents[:3])
    journal.append(b"\xc1 nonsense")
    journal.close()
    error = said(place, caplog)
    assert f"run {run.uid}: its journal {journal.path} holds no document before byte" in error
    assert "the journal is kept. Who wrote it? If its disk is sound, report this" in error


def test_a_file_that_is_never_right(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_run, "seal", lambda *_: ["/a has no rows"])
    run = whole_run(3)
    path = place.whole(run)
    expected = f"run {run.uid}: its file {path} could not be made in 3 attempts (/a has no rows); the journal is kept"
    assert f"{expected}. If the disk is sound, report this" in said(place, caplog)
    assert levels(caplog) == ["WARNING", "WARNING", "ERROR"]


def test_what_nobody_expects(place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(_: RunArchiver) -> bool:
        raise ZeroDivisionError("by chance")

    monkeypatch.setattr(RunArchiver, "step", step)
    run = whole_run(3)
    place.whole(run)
    error = said(place, caplog)
    assert error.startswith(f"run {run.uid} (journal {place.journals}")
    assert "ZeroDivisionError('by chance'); please report this" in error
