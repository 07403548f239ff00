"""A journal with a flipped bit: what can be read is archived, the file says what is wrong, and the journal stays."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blissdata_bluesky.archive import ArchivedFile
from blissdata_bluesky.archive.service import Archiver
from blissdata_bluesky.cli.journal_report import examine, of_journals
from blissdata_bluesky.journal import Fate, JournalDirectory, JournalReader, Retention, RunJournal
from blissdata_bluesky.journal.listing import list_journals
from blissdata_bluesky.journal.records import frame
from blissdata_bluesky.publish import recover
from blissdata_bluesky.publish.database import connect
from blissdata_bluesky.runs import RedisRuns

from .archived import Place, Registered, assert_archived, stored_columns
from .collected import load
from .damaging import damage, ends, flip_bit
from .emitted import EmittedRun, scalar_run
from .published import levels
from .test_archive_journals import UID, archive_until, killed, steps

# rows of a run, which are the documents 2 to 41; the stop document follows
ROWS = 40
KEPT = [".damaged-journal", ".json"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def archiver(place: Place) -> Iterator[Archiver]:
    archiver = place.archiver()
    yield archiver
    archiver.close()


def whole(place: Place) -> tuple[EmittedRun, Path, Path]:
    """A run that Redis has whole, its journal and the path of its file."""
    run = scalar_run(ROWS)
    run.stop()
    file = place.whole(run)
    (journal,) = place.directory.paths(Fate.FINISHED)
    return run, journal, file


def command(*arguments: object) -> tuple[int, str, str]:
    line = [sys.executable, "-m", "blissdata_bluesky", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


def assert_prefix(file: Path, rows: int) -> None:
    assert list(stored_columns(file)["primary:integer"]) == list(range(rows))


def test_of_a_damaged_start_document_nothing_is_archived_and_all_is_kept(place: Place) -> None:
    run, journal, _ = whole(place)
    at = damage(journal, 0)
    kept = journal.with_suffix(Fate.DAMAGED)
    content = journal.read_bytes()
    code, output, errors = command("archive", "--once", "--journal", place.journals, "--root", place.root)
    assert code == 0, errors
    assert "nothing is left to be done" in output
    assert errors.count("ERROR") == 1
    for part in (run.uid, f"damaged at byte {at}", f"{ROWS + 2} documents behind", "no file", str(kept), "export"):
        assert part in errors
    assert place.left() == KEPT
    assert kept.read_bytes() == content
    assert not list(place.root.rglob("*.h5"))


@pytest.mark.parametrize(("document", "rows"), [(1, 0), (2, 0), (12, 10), (ROWS + 1, ROWS - 1), (ROWS + 2, ROWS)])
def test_what_stands_before_the_damage_is_archived_with_the_reason(
    place: Place, caplog: pytest.LogCaptureFixture, document: int, rows: int
) -> None:
    run, journal, file = whole(place)
    at = damage(journal, document)
    registered = Registered()
    place.archive(registered)
    view = ArchivedFile(file).look()
    assert view.complete
    assert f"its journal is damaged at byte {at}" in view.incomplete
    assert "ended before the run did" not in view.incomplete
    behind = ROWS + 2 - document
    assert (f"{behind} documents behind" in view.incomplete) is bool(behind)
    if document > 1:
        assert_prefix(file, rows)
    assert [entry.name for entry in view.entries] == ["start", "descriptor"][:document]
    assert registered.complete(run.uid)[0].incomplete == view.incomplete
    assert place.left() == KEPT
    assert levels(caplog) == ["ERROR"]
    # it is neither opened nor told of again
    caplog.clear()
    place.archive()
    assert (place.left(), levels(caplog)) == (KEPT, [])
    JournalDirectory(place.journals, Retention(seconds=0, bytes=0)).prune()
    assert place.left() == KEPT


def test_a_journal_that_lost_its_end_after_redis_had_it(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """As a power failure leaves it: cut between two records."""
    run, journal, file = whole(place)
    cut, end = ends(journal)[12], ends(journal)[-1]
    content = journal.read_bytes()
    journal.write_bytes(content[:cut])
    acknowledge(journal, end)
    place.archive()
    assert_prefix(file, 10)
    assert f"ends at byte {cut}, before what Redis has acknowledged" in ArchivedFile(file).look().incomplete
    assert ".damaged-journal" in place.left()
    assert levels(caplog) == ["ERROR"]
    assert run.uid in caplog.text


def acknowledge(journal: Path, offset: int) -> None:
    """What a publisher leaves beside the journal of a run of which Redis has so much."""
    marks = JournalDirectory(journal.parent).path / f"{journal.stem}.marks"
    marks.write_bytes((offset | 2**62).to_bytes(8, "little"))


def test_a_damaged_length_of_the_last_record_is_no_torn_end(place: Place) -> None:
    """It reaches beyond the end of the file, as that of a record which was not written to its end."""
    _, journal, file = whole(place)
    *_, begin, end = ends(journal)
    # the third byte of the length: some 65 kB more
    flip_bit(journal, begin + 6)
    acknowledge(journal, end)
    place.archive()
    assert_prefix(file, ROWS)
    assert f"byte {begin}" in ArchivedFile(file).look().incomplete
    assert ".damaged-journal" in place.left()


def test_the_torn_end_of_a_killed_publisher_is_no_damage(place: Place) -> None:
    run = scalar_run(ROWS)
    journal = place.begin(run.documents)
    (path,) = place.directory.paths()
    content = path.read_bytes()
    journal.close()
    for torn in (frame(b"x" * 100)[:3], frame(b"x" * 100), frame(b"x" * 100) + b"xx"):
        path.write_bytes(content + torn)
        with JournalReader(path) as reader:
            assert reader.damage(len(content)) is None
    path.write_bytes(content + bytes(5))
    with JournalReader(path) as reader:
        assert reader.damage(len(content)) is not None
    path.write_bytes(content + frame(b"x" * 100))
    place.archive()
    view = ArchivedFile(place.path(run.documents[0][1])).look()
    assert "ended before the run did" in view.incomplete
    taken = RunJournal.adopt(path)
    place.directory.finish(taken)
    assert place.left() == []


def test_what_was_in_the_file_before_the_damage_stays(place: Place, archiver: Archiver) -> None:
    run = scalar_run(ROWS)
    journal = place.begin(run.documents)
    steps(archiver)
    archiver.close()
    journal.close()
    damage(journal.path, 12)
    place.archive()
    file = place.path(run.documents[0][1])
    assert_prefix(file, ROWS)
    assert "damaged" in ArchivedFile(file).look().incomplete


def test_a_run_whose_live_journal_is_damaged_waits_and_keeps_nobody_else_busy(place: Place, archiver: Archiver) -> None:
    run = scalar_run(ROWS)
    journal = place.begin(run.documents)
    damage(journal.path, 12)
    steps(archiver)
    file = place.path(run.documents[0][1])
    assert not ArchivedFile(file).look().complete
    assert place.left() == [".archive", ".journal"]
    place.directory.finish(journal)
    archive_until(archiver, lambda: ".archive" not in place.left())
    assert place.left() == KEPT
    assert_prefix(file, 10)


@pytest.mark.parametrize("first", ["recovered", "archived"])
def test_the_damaged_journal_of_a_dead_publisher(
    redis_url: str, place: Place, archiver: Archiver, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    killed(redis_url, place)
    (path,) = place.directory.paths(Fate.UNFINISHED)
    at = damage(path, 12)
    content = path.read_bytes()
    if first == "archived":
        archive_until(archiver, lambda: ".archive" not in place.left())
        assert ".journal" in place.left()
    assert len(recover(place.journals, redis_url, 30)) == 1
    archive_until(archiver, lambda: ".archive" not in place.left())
    assert set(place.left()) == {".damaged-journal", ".marks", ".json"}
    assert path.with_suffix(Fate.DAMAGED).read_bytes() == content
    (file,) = place.root.rglob("*.h5")
    view = ArchivedFile(file).look()
    assert f"damaged at byte {at}" in view.incomplete
    with RedisRuns(redis_url) as runs:
        assert runs.get(UID).incomplete == view.incomplete
    assert load(redis_url, UID).info["end_reason"] == "FAILURE"
    assert [record.levelno for record in caplog.records if "The journal is kept" in record.message] == [logging.ERROR]
    with connect(redis_url, write=True) as client:
        client.flushall()
    code, _, errors = command("journal", "replay", UID, "--redis", redis_url, "--journal", place.journals)
    assert code == 0, errors
    with RedisRuns(redis_url) as runs:
        assert runs.get(UID).incomplete == view.incomplete
    assert path.with_suffix(Fate.DAMAGED).read_bytes() == content


def test_commands_know_a_damaged_journal(place: Place) -> None:
    run, journal, _ = whole(place)
    damage(journal, 12)
    place.archive()
    (listed,) = list_journals(place.journals)
    assert listed.fate == Fate.DAMAGED
    _, output, _ = command("journal", "ls", "--json", "--journal", place.journals)
    (shown,) = json.loads(output)
    assert (shown["uid"], shown["fate"]) == (run.uid, "damaged")
    assert "kept until somebody removes it" in shown["in_words"]
    findings = of_journals(examine(place.journals), None)
    (finding,) = [finding for finding in findings if "damaged, whose runs" in finding.message]
    assert run.uid in finding.message
    assert "export" in finding.remedy
    code, output, errors = command("journal", "export", run.uid, "--jsonl", "--journal", place.journals)
    assert code == 1
    assert_all_but(run, 12, [json.loads(line) for line in output.splitlines()])
    assert f"the last {ROWS + 2 - 12} documents" in errors


def assert_all_but(run: EmittedRun, document: int, found: list[dict[str, Any]]) -> None:
    expected = [(name, given["uid"]) for name, given in run.documents]
    del expected[document]
    assert [(each["name"], each["doc"]["uid"]) for each in found] == expected


def test_a_whole_journal_beside_a_damaged_one_goes(place: Place) -> None:
    _, journal, _ = whole(place)
    damage(journal, 12)
    other = scalar_run(5)
    other.stop()
    path = place.whole(other)
    place.archive()
    assert_archived(path, other)
    assert place.left() == KEPT
