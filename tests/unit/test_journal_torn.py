"""P8: a journal that is cut or damaged anywhere loads up to the last whole record, and nothing but JournalError comes of it."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from itertools import pairwise
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
from blissdata_bluesky.journal import Header, JournalReader, RunJournal
from blissdata_bluesky.journal.records import frame


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


@given(data=st.data())
def test_a_flipped_bit_takes_one_record_and_no_other(whole: Sample, directory: Path, data: st.DataObject) -> None:
    at = data.draw(st.integers(whole.ends[0], len(whole.content) - 1))
    content = bytearray(whole.content)
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path = directory / "flipped.journal"
    path.write_bytes(content)
    lost = next(index for index, end in enumerate(whole.ends) if at < end) - 1
    with JournalReader(path) as reader:
        before = [payload for _, payload in reader.records(reader.begin)]
        end = whole.ends[lost]
        behind = list(reader.records_behind(end))
        damage = reader.damage(end)
    payloads = whole.payloads(len(whole.ends))
    assert before == payloads[:lost]
    assert [payload for _, _, payload in behind] == payloads[lost + 1 :]
    assert [(begin, stop) for begin, stop, _ in behind] == list(pairwise(whole.ends[lost + 1 :]))
    if behind:
        assert damage is not None
        assert (damage.offset, damage.behind) == (end, len(behind))


def test_records_are_found_behind_several_damages(whole: Sample, directory: Path) -> None:
    content = bytearray(whole.content)
    for record in (2, 3, 6):
        content[whole.ends[record] + 20] ^= 1
    # the length as well, so that the next record has to be searched for
    content[whole.ends[6] + 4] ^= 1
    path = directory / "several.journal"
    path.write_bytes(content)
    payloads = whole.payloads(len(whole.ends))
    with JournalReader(path) as reader:
        found = [payload for _, _, payload in reader.records_behind(whole.ends[2])]
    assert found == [payload for index, payload in enumerate(payloads) if index > 3 and index != 6]


def test_a_record_inside_a_damaged_document_is_none(tmp_path: Path) -> None:
    """Documents may hold bytes of a journal."""
    inner = frame(b"inner") + b"inner"
    path = tmp_path / "inner.journal"
    header = Header("uid", "publisher", "target").pack()
    damaged = bytearray(frame(b"outer" + inner) + b"outer" + inner)
    damaged[-1] ^= 1
    content = frame(header) + header
    path.write_bytes(content + damaged + frame(b"next") + b"next")
    damaged[13] ^= 1
    damaged[-1] ^= 1
    path.write_bytes(content + damaged + frame(b"next") + b"next")
    with JournalReader(path) as reader:
        assert [payload for _, _, payload in reader.records_behind(reader.begin)] == [b"next"]
