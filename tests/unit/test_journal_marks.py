"""Marks of batches: what is torn, damaged or impossible counts as not written, and costs nothing but boundaries."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.journal import BatchMarks, Mark
from blissdata_bluesky.journal.marks import last_acknowledged


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[BatchMarks]:
    marks = BatchMarks(tmp_path / "run.marks")
    yield marks
    marks.close()


def kept(path: Path) -> list[Mark]:
    """What somebody who opens the file finds."""
    marks = BatchMarks(path)
    found = [marks[index] for index in range(len(marks))]
    marks.close()
    return found


def mark(offset: int, *, prepared: bool = False, acknowledged: bool = False) -> Mark:
    return Mark(offset, prepared, acknowledged)


def test_marks_come_back(marks: BatchMarks) -> None:
    for offset in (100, 250, 2**40):
        marks.add(offset)
    assert kept(marks.path) == [mark(100), mark(250), mark(2**40)]
    assert len(marks) == 3 and marks[1] == mark(250)


@pytest.mark.parametrize("index", [-1, 2, 100])
def test_there_is_none_beyond_the_last(marks: BatchMarks, index: int) -> None:
    marks.add(100)
    marks.add(200)
    with pytest.raises(IndexError, match="2 marks"):
        marks[index]


def test_what_does_not_ascend_is_not_added(marks: BatchMarks) -> None:
    for offset in (100, 100, 50, 0, 101):
        marks.add(offset)
    assert [mark.offset for mark in kept(marks.path)] == [100, 101]


def test_the_scan_was_prepared_after_the_last_mark(marks: BatchMarks) -> None:
    marks.add(100)
    marks.prepared()
    marks.add(200)
    assert kept(marks.path) == [mark(100, prepared=True), mark(200)]
    marks.prepared()
    assert kept(marks.path) == [mark(100, prepared=True), mark(200, prepared=True)]


def test_redis_has_what_comes_before_an_acknowledged_mark(marks: BatchMarks) -> None:
    assert last_acknowledged(marks.path) == 0
    marks.add(100)
    marks.acknowledged()
    marks.prepared()
    marks.add(200)
    assert kept(marks.path) == [mark(100, prepared=True, acknowledged=True), mark(200)]
    assert last_acknowledged(marks.path) == 100
    marks.acknowledged()
    assert last_acknowledged(marks.path) == 200


def test_who_asks_how_far_redis_has_a_run_makes_no_file(tmp_path: Path) -> None:
    assert last_acknowledged(tmp_path / "run.marks") == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", range(17))
def test_of_a_torn_file_the_whole_marks_tell_how_far_it_is_acknowledged(marks: BatchMarks, size: int) -> None:
    for offset in (100, 200):
        marks.add(offset)
        marks.acknowledged()
    marks.path.write_bytes(marks.path.read_bytes()[:size])
    assert last_acknowledged(marks.path) == [0, 100, 200][size // 8]


def test_without_a_mark_nothing_can_be_prepared_after_it(marks: BatchMarks) -> None:
    marks.prepared()
    marks.acknowledged()
    assert kept(marks.path) == []


def test_marking_goes_on_where_another_process_ended(marks: BatchMarks) -> None:
    marks.add(100)
    marks.close()
    later = BatchMarks(marks.path)
    later.add(100)
    later.add(200)
    later.close()
    assert [mark.offset for mark in kept(marks.path)] == [100, 200]


@pytest.mark.parametrize("size", range(25))
def test_a_torn_mark_is_none_and_is_written_over(marks: BatchMarks, size: int) -> None:
    for offset in (100, 200, 300):
        marks.add(offset)
    marks.close()
    marks.path.write_bytes(marks.path.read_bytes()[:size])
    whole = [100, 200, 300][: size // 8]
    assert [mark.offset for mark in kept(marks.path)] == whole
    later = BatchMarks(marks.path)
    later.add(1000)
    later.close()
    assert [mark.offset for mark in kept(marks.path)] == [*whole, 1000]


@given(st.binary(max_size=100))
def test_any_bytes_are_ascending_marks_or_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("marks") / "run.marks"
    path.write_bytes(content)
    offsets = [mark.offset for mark in kept(path)]
    assert offsets == sorted(set(offsets)) and 0 not in offsets
    assert len(offsets) <= len(content) // 8


def test_a_closed_file_takes_no_marks(marks: BatchMarks) -> None:
    marks.add(100)
    marks.close()
    marks.close()
    marks.add(200)
    marks.prepared()
    assert len(marks) == 0
    assert kept(marks.path) == [mark(100)]


def test_a_full_disk_ends_marking_and_nothing_else(tmp_path: Path) -> None:
    code = f"""
        import resource, signal
        from pathlib import Path
        from blissdata_bluesky.journal import BatchMarks
        marks = BatchMarks(Path({str(tmp_path / "run.marks")!r}))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20, resource.RLIM_INFINITY))
        for offset in range(100, 600, 100):
            marks.add(offset)
        print("went on")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("went on\n", "")
    assert [mark.offset for mark in kept(tmp_path / "run.marks")] == [100, 200]


def test_a_place_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        BatchMarks(tmp_path)
