"""P8: a journal that is cut or damaged anywhere loads up to the last whole record, and nothing but JournalError comes of it."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.faults.torn import (
    Outcome,
    Sample,
    check_damage,
    check_marks,
    cut_everywhere,
    flip_anywhere,
    replayed,
    sample,
)
from blissdata_bluesky.errors import JournalError
from blissdata_bluesky.journal import JournalReader, RunJournal


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torn")


@pytest.fixture(scope="module")
def whole(directory: Path) -> Sample:
    return sample(directory)


def assert_kept(outcome: Outcome) -> None:
    assert outcome.crashes == []
    assert outcome.wrong == []
    assert outcome.cases


def test_a_journal_that_is_cut_at_any_byte_gives_the_records_before() -> None:
    outcome = cut_everywhere()
    assert_kept(outcome)
    assert outcome.cases > 1000


def test_changed_bytes_give_the_records_before() -> None:
    assert_kept(flip_anywhere(200))


@pytest.mark.long
def test_changed_bytes_give_the_records_before_many_times() -> None:
    assert_kept(flip_anywhere(20_000, seed=1))


@given(data=st.data())
def test_a_damaged_stretch_gives_the_records_before(whole: Sample, directory: Path, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(whole.content)))
    length = data.draw(st.integers(0, len(whole.content) - begin))
    other = data.draw(st.binary(max_size=60))
    content = whole.content[:begin] + other + whole.content[begin + length :]
    same = next((at for at, pair in enumerate(zip(content, whole.content, strict=False)) if pair[0] != pair[1]), None)
    damaged_from = min(len(content), len(whole.content)) if same is None else same
    if content[: len(whole.content)] == whole.content:
        # what was appended is no record
        damaged_from = len(whole.content)
    outcome = Outcome()
    check_damage(whole, directory, content, damaged_from, outcome)
    assert_kept(outcome)


@given(marks=st.lists(st.integers(0, 2**64 - 1), max_size=12) | st.lists(st.integers(0, 2000), max_size=12))
def test_no_marks_change_what_is_published(whole: Sample, directory: Path, marks: list[int]) -> None:
    outcome = Outcome()
    check_marks(whole, directory, b"".join(struct.pack("<Q", mark) for mark in marks), outcome)
    check_marks(whole, directory, b"".join(struct.pack("<Q", mark) for mark in sorted(marks)), outcome)
    assert_kept(outcome)


def test_a_damaged_journal_is_replayed_up_to_the_damage(whole: Sample, directory: Path) -> None:
    path = directory / "replayed.journal"
    for size in range(whole.ends[0], len(whole.content), 7):
        path.write_bytes(whole.content[:size])
        path.with_suffix(".marks").write_bytes(whole.marks)
        assert replayed(path) == whole.payloads(whole.whole_records(size))


@pytest.mark.parametrize("length", [2**31 - 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("record", [0, 2])
def test_a_damaged_length_asks_for_no_memory(whole: Sample, directory: Path, length: int, record: int) -> None:
    path = directory / "length.journal"
    at = [0, *whole.ends][record] + 4
    path.write_bytes(whole.content[:at] + struct.pack("<I", length) + whole.content[at + 4 :])
    tracemalloc.start()
    try:
        for look in (_count_by_reader, _count_by_owner):
            if record:
                assert look(path) == record
            else:
                with pytest.raises(JournalError):
                    look(path)
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()


def _count_by_reader(path: Path) -> int:
    with JournalReader(path) as reader:
        return sum(1 for _ in reader.records())


def _count_by_owner(path: Path) -> int:
    journal = RunJournal.adopt(path)
    try:
        return sum(1 for _ in journal.records(0))
    finally:
        journal.close()


def test_a_record_with_a_checksum_that_fits_and_no_document_ends_a_replay(whole: Sample, directory: Path) -> None:
    path = directory / "nonsense.journal"
    nonsense = b"\xc1 is no msgpack"
    record = struct.pack("<4sII", b"BBJ1", len(nonsense), zlib.crc32(nonsense)) + nonsense
    path.write_bytes(whole.content[: whole.ends[3]] + record + whole.content[whole.ends[3] :])
    with pytest.raises(JournalError, match=r"nonsense\.journal holds no document at byte"):
        replayed(path)
