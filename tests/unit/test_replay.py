"""A journal once more, in the batches in which it was published: what has no mark is cut anew, and marked."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.errors import JournalError
from blissdata_bluesky.journal import Header, JournalDirectory, RunJournal
from blissdata_bluesky.packing import pack_document
from blissdata_bluesky.publish.replay import Replay

# the package has a function of the same name
replay_module: Any = importlib.import_module("blissdata_bluesky.publish.replay")
DOCUMENTS = [("event", {"seq_num": number, "data": {"x": "x" * (number % 3)}}) for number in range(10)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[RunJournal]:
    journal = written(tmp_path)
    yield journal
    journal.close()


def written(directory: Path) -> RunJournal:
    journal = JournalDirectory(directory).create(Header("run", "me", "redis://host"))
    assert journal is not None
    for document in DOCUMENTS:
        journal.append(pack_document(*document))
    return journal


def ends(journal: RunJournal) -> list[int]:
    return [offset for offset, _ in journal.records(journal.begin)]


def mark(journal: RunJournal, *counts: int, prepared: int = 0) -> None:
    """Mark batches that end after so many documents; the scan was prepared after the one that ends at `prepared`."""
    assert journal.marks is not None
    for count in counts:
        journal.marks.add(ends(journal)[count - 1])
        if count == prepared:
            journal.marks.prepared()


def marked(journal: RunJournal) -> list[int]:
    """After how many documents there is a mark."""
    assert journal.marks is not None
    offsets = [journal.begin, *ends(journal)]
    return [offsets.index(journal.marks[index].offset) for index in range(len(journal.marks))]


def cut(replay: Replay, end: int) -> list[int]:
    """The lengths of the batches up to byte `end`; the documents are checked."""
    lengths: list[int] = []
    while replay.offset < end:
        for batch, _ in replay.batches(end):
            begin = sum(lengths)
            assert batch == DOCUMENTS[begin : begin + len(batch)]
            lengths.append(len(batch))
    return lengths


def test_the_same_batches_as_before(journal: RunJournal) -> None:
    mark(journal, 1, 2, 6, 10)
    assert cut(Replay(journal), journal.size) == [1, 1, 4, 4]
    assert marked(journal) == [1, 2, 6, 10]


def test_without_marks_one_batch_that_is_marked(journal: RunJournal) -> None:
    assert cut(Replay(journal), journal.size) == [10]
    assert marked(journal) == [10]
    assert cut(Replay(journal), journal.size) == [10]


def test_without_marks_batches_are_bounded_and_marked(journal: RunJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "BATCH_DOCUMENTS", 4)
    assert cut(Replay(journal), journal.size) == [4, 4, 2]
    assert marked(journal) == [4, 8, 10]
    monkeypatch.setattr(replay_module, "BATCH_DOCUMENTS", 100)
    assert cut(Replay(journal), journal.size) == [4, 4, 2]


def test_batches_are_bounded_in_bytes(journal: RunJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "BATCH_BYTES", 1)
    assert cut(Replay(journal), journal.size) == [1] * 10


def test_marked_batches_are_kept_however_large_they_are(journal: RunJournal, monkeypatch: pytest.MonkeyPatch) -> None:
    mark(journal, 6, 10)
    monkeypatch.setattr(replay_module, "BATCH_DOCUMENTS", 2)
    assert cut(Replay(journal), journal.size) == [6, 4]


def test_what_comes_after_the_last_mark_is_cut_anew(journal: RunJournal) -> None:
    mark(journal, 3, 4)
    assert cut(Replay(journal), journal.size) == [3, 1, 6]
    assert marked(journal) == [3, 4, 10]


def test_about_as_much_is_given_at_once_as_is_sent_at_once(
    journal: RunJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark(journal, *range(1, 11))
    monkeypatch.setattr(replay_module, "BATCH_DOCUMENTS", 3)
    replay = Replay(journal)
    given = [[len(batch) for batch, _ in replay.batches(journal.size)] for _ in range(4)]
    assert given == [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1]]
    assert list(replay.batches(journal.size)) == []


def test_an_end_before_a_mark_ends_the_batch_there(journal: RunJournal) -> None:
    mark(journal, 2, 8, 10)
    replay = Replay(journal)
    assert cut(replay, ends(journal)[4]) == [2, 3]
    assert replay.offset == ends(journal)[4]
    assert [len(batch) for batch, _ in replay.batches(journal.size)] == [3, 2]


def test_it_goes_on_when_the_journal_grows(journal: RunJournal) -> None:
    replay = Replay(journal)
    assert [len(batch) for batch, _ in replay.batches(ends(journal)[3])] == [4]
    assert list(replay.batches(ends(journal)[3])) == []
    assert [len(batch) for batch, _ in replay.batches(journal.size)] == [6]
    assert marked(journal) == [4, 10]


@pytest.mark.parametrize("prepared", [1, 2, 6, 10])
def test_the_batch_after_which_the_scan_was_prepared(journal: RunJournal, prepared: int) -> None:
    mark(journal, 1, 2, 6, 10, prepared=prepared)
    found = [flag for _, flag in Replay(journal).batches(journal.size)]
    assert found == [count == prepared for count in (1, 2, 6, 10)]


def test_a_scan_that_was_prepared_within_a_longer_batch_is_prepared_after_it(journal: RunJournal) -> None:
    """Marks that lie between two documents cannot end a batch there; what they tell is not lost."""
    assert journal.marks is not None
    journal.marks.add(ends(journal)[0] + 1)
    journal.marks.prepared()
    journal.marks.add(ends(journal)[0] + 2)
    found = [(len(batch), flag) for batch, flag in Replay(journal).batches(journal.size)]
    assert found == [(2, True), (8, False)]


def test_marks_beyond_the_journal_are_none(journal: RunJournal) -> None:
    mark(journal, 4)
    assert journal.marks is not None
    journal.marks.add(journal.size + 1)
    assert cut(Replay(journal), journal.size) == [4, 6]


def test_without_a_file_of_marks_it_is_cut_all_the_same(journal: RunJournal) -> None:
    journal.path.with_suffix(".marks").mkdir()
    assert journal.marks is None
    assert cut(Replay(journal), journal.size) == [10]


def test_a_journal_that_ends_too_early_is_damaged(journal: RunJournal) -> None:
    mark(journal, 2, 10)
    size, third = journal.size, ends(journal)[2]
    os.truncate(journal.path, third)
    replay = Replay(journal)
    with pytest.raises(JournalError, match=f"is damaged at byte {third}"):
        list(replay.batches(size))


@given(
    st.lists(st.integers(0, 2000), max_size=20),
    st.lists(st.integers(1, 10), min_size=1, max_size=3),
    st.integers(1, 12),
)
def test_every_document_comes_once_and_the_second_time_in_the_same_batches(
    tmp_path_factory: pytest.TempPathFactory, marks: list[int], stops: list[int], most: int
) -> None:
    journal = written(tmp_path_factory.mktemp("replay"))
    assert journal.marks is not None
    for offset in marks:
        journal.marks.add(offset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay_module, "BATCH_DOCUMENTS", most)
        replay = Replay(journal)
        lengths: list[int] = []
        for stop in [*sorted(stops), len(DOCUMENTS)]:
            while replay.offset < ends(journal)[stop - 1]:
                lengths += [len(batch) for batch, _ in replay.batches(ends(journal)[stop - 1])]
        assert sum(lengths) == len(DOCUMENTS) and all(lengths)
        assert sum(cut(Replay(journal), journal.size)) == len(DOCUMENTS)
        if not marks:
            assert cut(Replay(journal), journal.size) == lengths
    journal.close()
