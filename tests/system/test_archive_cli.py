"""`blissdata-bluesky archive`: what it prints, how it ends, and what it leaves."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blissdata_bluesky.archive import ArchivedFile
from blissdata_bluesky.cli.known_catalog import KnownCatalog

from .archived import Place, add, assert_archived
from .emitted import scalar_events, scalar_run, whole_run
from .tiled_runs import eventually

COMMAND = [str(Path(sys.executable).with_name("blissdata-bluesky")), "archive"]
SECONDS = 60


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def command(place: Place, *options: object) -> list[str]:
    return [*COMMAND, "--journal", str(place.journals), "--root", str(place.root), *map(str, options)]


def called(place: Place, *options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(place, *options), capture_output=True, text=True, timeout=SECONDS)


@contextmanager
def archiving(place: Place, *options: object) -> Iterator[subprocess.Popen[str]]:
    """The service, which has said that it is at work."""
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command(place, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=unbuffered
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == begins(place)
            yield process
        finally:
            process.kill()


def begins(place: Place) -> str:
    return f"archiving {place.journals} in {place.root}; Ctrl-C ends it\n"


def listed(catalog: Path) -> set[str]:
    """The runs of a catalog."""
    with sqlite3.connect(catalog) as database:
        found = {uid for (uid,) in database.execute("select key from nodes where key != ''")}
    database.close()
    return found


def test_help() -> None:
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0
    for option in ("--root", "--journal", "--catalog", "--once"):
        assert option in done.stdout
    assert "--until-eof" not in done.stdout


def test_the_root_is_needed() -> None:
    done = subprocess.run(COMMAND, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 2
    assert "--root" in done.stderr


def begun_once(place: Place) -> str:
    return begins(place).replace("; Ctrl-C ends it", "") + "nothing is left to be done now\n"


def assert_left(place: Place, done: subprocess.CompletedProcess[str], left: str) -> None:
    """It said that the journals are still needed, last of all and by its exit code."""
    assert done.returncode == 1, done.stderr
    assert "nothing is left" not in done.stdout
    *_, last = done.stderr.splitlines()
    assert last == (
        f"blissdata-bluesky: {left} not wholly archived, the lines above say why: "
        f"what {place.journals} has of them is needed"
    )


def test_once(place: Place) -> None:
    runs = [whole_run(5), whole_run(5)]
    paths = [place.whole(run) for run in runs]
    ended_badly = scalar_run(5)
    place.begin(ended_badly.documents).close()
    done = called(place, "--once")
    assert done.returncode == 0, done.stderr
    first, *lines, last = done.stdout.splitlines(keepends=True)
    assert first + last == begun_once(place)
    expected = {f"{run.uid}  {path.relative_to(place.root)}\n" for run, path in zip(runs, paths, strict=True)}
    assert expected < set(lines)
    (other,) = set(lines) - expected
    assert other.startswith(f"{ended_badly.uid}  ")
    assert "  incomplete: the process that published it" in other
    assert done.stderr == ""
    for run, path in zip(runs, paths, strict=True):
        assert_archived(path, run)
    # of the one that ended badly, Redis has not yet what it can have
    assert place.left() == [".journal"]
    assert listed(place.root / "catalog.db") == {run.uid for run in (*runs, ended_badly)}
    again = called(place, "--once")
    assert (again.returncode, again.stdout, again.stderr) == (0, begun_once(place), "")


def test_a_run_that_goes_on_is_waited_for(place: Place) -> None:
    run = scalar_run(3)
    journal = place.begin(run.documents)
    with subprocess.Popen(command(place, "--once"), stdout=subprocess.PIPE, text=True) as process:
        eventually(lambda: place.path(run.documents[0][1]).exists(), SECONDS)
        assert process.poll() is None
        add(journal, run.stop())
        place.directory.finish(journal)
        assert process.wait(SECONDS) == 0
    assert_archived(place.path(run.documents[0][1]), run)


def test_what_is_left_by_once_is_counted(place: Place) -> None:
    """Unreadable, of another archive, with somebody else's file in its place: each journal is needed."""
    unreadable, elsewhere, taken = whole_run(5), whole_run(5), whole_run(5)
    place.whole(unreadable)
    (journal,) = place.journals.glob("*.finished-journal")
    journal.write_bytes(b"garbage" + journal.read_bytes()[7:])
    file = place.whole(taken)
    file.parent.mkdir(parents=True)
    file.write_text("precious")
    root, place.root = place.root, place.root.with_name("other")
    place.whole(elsewhere)
    place.root = root
    assert_left(place, called(place, "--once"), "3 runs")
    assert place.left().count(".finished-journal") == 3


def test_once_is_interrupted_beside_a_run_that_goes_on(place: Place) -> None:
    run = scalar_run(3)
    journal = place.begin(run.documents)
    with subprocess.Popen(
        command(place, "--once"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        eventually(lambda: place.path(run.documents[0][1]).exists(), SECONDS)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "nothing is left" not in out
    assert "1 run not wholly archived, for it was interrupted" in err
    journal.close()


def test_a_journal_that_is_mistyped(place: Place) -> None:
    place.whole(whole_run(5))
    place.journals = mistyped = place.journals.with_name("jurnal")
    done = called(place, "--once")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"blissdata-bluesky: there is no directory of journals {mistyped}: give the one that the writers have\n"
    )
    assert not mistyped.exists()
    assert not place.root.exists()
    with archiving(place) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == f"{mistyped} is new: it is empty until a writer is given it\n"


@pytest.mark.parametrize("option", ["--root", "--journal"])
def test_a_name_that_is_empty(place: Place, option: str, tmp_path: Path) -> None:
    done = subprocess.run(
        command(place, option, ""), cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 2
    assert f"'{option}': it is empty" in done.stderr


def test_a_catalog_of_ones_own(place: Place, tmp_path: Path) -> None:
    run = whole_run(5)
    place.whole(run)
    done = called(place, "--once", "--catalog", tmp_path / "own.db")
    assert done.returncode == 0, done.stderr
    assert listed(tmp_path / "own.db") == {run.uid}
    assert not (place.root / "catalog.db").exists()
    assert place.left() == []


def test_a_catalog_is_remembered_for_the_archiver_that_a_writer_starts(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [whole_run(5) for _ in range(4)]
    monkeypatch.chdir(tmp_path)
    for run, options in zip(
        runs, [(), ("--catalog", "own.db"), (), ("--catalog", place.root / "catalog.db")], strict=True
    ):
        place.whole(run)
        monkeypatch.chdir(tmp_path.parent if not options else tmp_path)
        assert called(place, "--once", *options).returncode == 0
    assert listed(place.root / "catalog.db") == {runs[0].uid, runs[3].uid}
    assert listed(tmp_path / "own.db") == {runs[1].uid, runs[2].uid}
    (memory,) = place.journals.glob("archiver-*.catalog")
    assert memory.read_text().endswith(str(place.root / "catalog.db"))


def test_without_the_password_that_its_catalog_needs_it_archives_and_leaves_the_journals(place: Place) -> None:
    run = whole_run(5)
    path = place.whole(run)
    known = KnownCatalog(place.journals, place.root)
    known.write("postgresql://ann:s3cret@127.0.0.1:1/runs?application_name=x&password=s3cret")
    done = called(place, "--once")
    assert done.returncode == 1
    assert "archived runs cannot be registered" in done.stderr
    assert_left(place, done, "1 run")
    assert "the catalog postgresql://ann@127.0.0.1:1/runs cannot be used" in done.stderr
    assert "s3cret" not in done.stderr + str(known.read())
    assert_archived(path, run)
    assert ".finished-journal" in place.left()
    assert not (place.root / "catalog.db").exists()
    assert called(place, "--once", "--catalog", place.root / "catalog.db").returncode == 0
    assert listed(place.root / "catalog.db") == {run.uid}
    assert place.left() == []


@pytest.mark.parametrize("catalog", ["nonsense://host/name", "/does/not/exist/catalog.db"])
def test_a_catalog_that_cannot_be_is_told_at_once(place: Place, catalog: str) -> None:
    place.whole(whole_run(5))
    done = called(place, "--once", "--catalog", catalog)
    assert done.returncode == 2
    assert done.stderr.startswith("blissdata-bluesky: ")
    assert "Traceback" not in done.stderr
    assert place.files() == set()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_is_ended_in_the_middle_of_a_run_and_the_next_one_goes_on(place: Place, how: signal.Signals) -> None:
    run = scalar_run(50)
    path = place.path(run.documents[0][1])
    journal = place.begin(run.documents)
    with archiving(place) as process:
        eventually(lambda: path.exists() and ArchivedFile(path).rows(["primary:number"]) == [50], SECONDS)
        process.send_signal(how)
        out, err = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert (out, err) == ("", "")
    # closed, and no longer than it is
    assert path.stat().st_size < 2**22
    view = ArchivedFile(path).look()
    assert not view.complete
    add(journal, scalar_events(run, range(50, 60)))
    add(journal, run.stop())
    place.directory.finish(journal)
    done = called(place, "--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert_archived(path, run)
    assert place.left() == []


def test_a_run_is_told_of_when_it_is_whole_while_the_service_goes_on(place: Place) -> None:
    run = scalar_run(3, scan_id=7)
    with archiving(place) as process:
        assert process.stdout is not None
        journal = place.begin(run.documents)
        eventually(lambda: (place.root / "catalog.db").exists(), SECONDS)
        add(journal, run.stop())
        place.directory.finish(journal)
        assert process.stdout.readline() == f"{run.uid}  {place.path(run.documents[0][1]).relative_to(place.root)}\n"
        eventually(lambda: place.left() == [], SECONDS)
        process.terminate()
        assert process.wait(SECONDS) == 0
    assert listed(place.root / "catalog.db") == {run.uid}


def test_a_second_one_is_refused_in_a_sentence(place: Place) -> None:
    with archiving(place) as process:
        done = called(place)
        assert process.poll() is None
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("blissdata-bluesky: another archiver (")
    assert f":{process.pid}) is at work on {place.journals} for {place.root}: one is enough\n" in done.stderr
    # the lock lasted as long as the process
    assert called(place, "--once").returncode == 0


def test_the_end_of_another_one_is_waited_for(place: Place) -> None:
    run = whole_run(5)
    with (
        archiving(place) as process,
        subprocess.Popen(command(place, "--once"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as once,
    ):
        assert once.stderr is not None
        assert f":{process.pid}) is at work on {place.journals}" in (told := once.stderr.readline())
        assert told.endswith(": its end is waited for, for 60 s\n")
        path = place.whole(run)
        process.terminate()
        assert process.wait(SECONDS) == 0
        out, err = once.communicate(timeout=SECONDS)
    assert (once.returncode, err) == (0, "")
    assert out.endswith("nothing is left to be done now\n")
    assert_archived(path, run)


def test_waiting_for_another_one_can_be_ended(place: Place) -> None:
    with (
        archiving(place),
        subprocess.Popen(command(place, "--once"), stderr=subprocess.PIPE, text=True) as once,
    ):
        assert once.stderr is not None
        once.stderr.readline()
        once.terminate()
        _, err = once.communicate(timeout=SECONDS)
    assert once.returncode == 2
    assert err.endswith(": one is enough\n")


@pytest.mark.parametrize("options", [(), ("--once",)], ids=str)
def test_nobody_reads_what_it_prints(place: Place, options: tuple[str, ...]) -> None:
    runs = [whole_run(5) for _ in range(3)]
    paths = [place.whole(run) for run in runs]
    with subprocess.Popen(
        command(place, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        # as `head -1` does it, or earlier
        process.stdout.close()
        eventually(lambda: place.left() == [] or process.poll() is not None, SECONDS)
        if not options:
            process.terminate()
        assert process.wait(SECONDS) == 0
        assert process.stderr is not None
        said = process.stderr.read()
    assert said.count("what is archived cannot be printed; it is archived and listed all the same") == 1
    assert len(said.splitlines()) == 1
    assert place.left() == []
    assert listed(place.root / "catalog.db") == {run.uid for run in runs}
    for run, path in zip(runs, paths, strict=True):
        assert_archived(path, run)


@pytest.mark.parametrize("what", ["root", "journals"])
def test_a_directory_that_cannot_be_made(place: Place, what: str) -> None:
    odd = place.root.parent / "precious"
    odd.write_text("precious")
    setattr(place, what, odd / "below")
    done = called(place)
    assert done.returncode == 2
    assert done.stderr.startswith("blissdata-bluesky: ")
    assert "cannot be made" in done.stderr
    assert str(odd) in done.stderr
    assert "Traceback" not in done.stderr


def test_what_cannot_be_archived_is_logged_once_and_the_rest_is_archived(place: Place) -> None:
    good, bad = whole_run(5), whole_run(5)
    path = place.whole(good)
    place.directory.finish(place.begin(bad.documents, path="/etc/passwd"))
    done = called(place, "--once")
    assert_left(place, done, "1 run")
    assert done.stderr.count("ERROR") == 1
    assert f"run {bad.uid}: its file '/etc/passwd' would not lie below the archive's root" in done.stderr
    assert "Traceback" not in done.stderr
    assert_archived(path, good)


def test_a_relative_root_and_journal(place: Place) -> None:
    run = whole_run(5)
    path = place.whole(run)
    done = subprocess.run(
        [*COMMAND, "--journal", "journal", "--root", "archive", "--once"],
        cwd=place.root.parent,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert_archived(path, run)
    assert listed(place.root / "catalog.db") == {run.uid}


def test_until_the_end_of_its_input(place: Place) -> None:
    """As a writer starts it."""
    run = whole_run(5)
    path = place.whole(run)
    with subprocess.Popen(command(place, "--until-eof"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        eventually(lambda: place.left() == [], SECONDS)
        assert process.poll() is None
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(SECONDS) == 0
    assert_archived(path, run)
