"""Rows of two sources put together, and what is known of a run after another look at it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.protocol import DocumentEntry, StreamEnd
from blissdata_bluesky.runs.layout import irregular_column
from blissdata_bluesky.runs.store import Extent, Piece, Seen, Span, furthest, joined

COLUMN = irregular_column("uid", "primary")


def entry(index: int, name: str, **document: Any) -> DocumentEntry:
    return DocumentEntry(index, name, {"uid": f"{name} {index}", "time": float(index)} | document, {"primary": index})


ENTRIES = (entry(0, "start"), entry(1, "descriptor"), entry(2, "resource", time=None), entry(3, "stop"))


def copies(entries: tuple[DocumentEntry, ...]) -> tuple[DocumentEntry, ...]:
    """As another source gives them."""
    return tuple(replace(entry, document=dict(entry.document)) for entry in entries)


@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 20))
def test_a_span_is_cut_in_two(start: int, length: int, row: int) -> None:
    parts = [part for part in Span(COLUMN, start, start + length).cut(row) if part]
    assert [r for part in parts for r in range(part.start, part.stop)] == list(range(start, start + length))
    assert all(part.stop <= row or part.start >= row for part in parts)


@pytest.mark.parametrize("first", [0, 3, 5])
@pytest.mark.parametrize("make", [list, np.arange], ids=["list", "array"])
def test_pieces_overlap_where_an_entry_begins_before_the_row(first: int, make: Any) -> None:
    def rows(start: int, stop: int) -> Any:
        return np.arange(start, stop) if make is np.arange else list(range(start, stop))

    both = joined(Piece(2, rows(2, 5), 10), Piece(first, rows(first, 9), 20))
    assert (both.start, both.stop, both.nbytes) == (2, 9, 30)
    assert type(both.rows) is type(rows(0, 1))
    assert list(both.rows) == list(range(2, 9))


def test_one_piece_alone_is_itself() -> None:
    piece = Piece(0, [1], 1)
    assert joined(piece, None) is piece
    assert joined(None, piece) is piece
    with pytest.raises(ValueError, match="nothing"):
        joined(None, None)


def test_where_dtypes_differ_the_one_that_holds_both_is_taken() -> None:
    both = joined(Piece(0, np.arange(3), 1), Piece(3, np.array([3.5]), 1))
    assert both.rows.dtype == np.float64
    assert both.rows.tolist() == [0, 1, 2, 3.5]


def test_an_array_and_a_list_are_a_list() -> None:
    assert joined(Piece(0, np.arange(2), 1), Piece(2, ["a"], 1)).rows == [0, 1, "a"]


def test_the_extent_is_that_of_the_shortest_column() -> None:
    ends = [StreamEnd(5, sealed=True), StreamEnd(3), StreamEnd(1)]
    assert Extent.of(ends) == Extent(3, 1, sealed=False, ends=tuple(ends))
    assert Extent.of([StreamEnd(5, sealed=True), StreamEnd(1)]).sealed


def test_nothing_was_known() -> None:
    now = Seen(ENTRIES[:1], closed=False)
    assert furthest(None, now) is now


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_what_another_source_has_more_is_added(count: int) -> None:
    known, now = Seen(ENTRIES[:count], closed=False), Seen(copies(ENTRIES), closed=True, incomplete="x")
    seen = furthest(known, now)
    assert (seen.entries, seen.closed, seen.incomplete) == (ENTRIES, True, "x")
    assert seen.continues(known)
    assert furthest(seen, seen) is seen


def test_what_another_source_does_not_have_yet_is_kept() -> None:
    known = Seen(ENTRIES, closed=True)
    assert furthest(known, Seen(copies(ENTRIES[:2]), closed=False)) is known


@pytest.mark.parametrize(
    "change", [{"name": "other"}, {"rows": {"primary": 9}}, {"document": {"uid": "other"}}, {"document": {}}]
)
@pytest.mark.parametrize("index", [0, 2])
def test_another_run_is_not_mixed_with_the_one_that_was_known(change: dict[str, Any], index: int) -> None:
    other = list(copies(ENTRIES))
    other[index] = replace(other[index], **change)
    now = Seen(tuple(other[:3]), closed=False)
    assert furthest(Seen(ENTRIES, closed=True), now) is now
    assert not now.continues(Seen(ENTRIES, closed=True))
