"""The cache of columns against the columns themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from blissdata_bluesky.protocol import Rows
from blissdata_bluesky.runs.cache import ColumnCache
from blissdata_bluesky.runs.store import Piece

LIMIT = 4000
COLUMNS = {"array": np.dtype("<i8"), "images": np.dtype("<u2"), "list": None}


def some_rows(key: str, start: int, stop: int) -> Rows:
    if key == "list":
        return [str(row) for row in range(start, stop)]
    shape = (-1, 1, 1) if key == "images" else (-1,)
    return np.broadcast_to(
        np.arange(start, stop).reshape(shape), (stop - start, 2, 3) if key == "images" else (stop - start,)
    ).astype(COLUMNS[key])


class CacheMachine(RuleBasedStateMachine):
    """Columns that grow; whatever is read in whatever order is what was written."""

    @initialize()
    def begin(self) -> None:
        self.cache = ColumnCache(LIMIT)
        self.length = 0
        self.views: list[tuple[Any, Any]] = []

    @rule(rows=st.integers(1, 40))
    def grow(self, rows: int) -> None:
        self.length += rows

    @precondition(lambda self: self.length)
    @rule(key=st.sampled_from(list(COLUMNS)), data=st.data(), slack=st.tuples(st.integers(0, 9), st.integers(0, 9)))
    def read(self, key: str, data: st.DataObject, slack: tuple[int, int]) -> None:
        start = data.draw(st.integers(0, self.length - 1))
        stop = data.draw(st.integers(start + 1, self.length))
        look = self.cache.look((0, key), start, stop)
        piece = None
        if not look.whole:
            # whole entries: some rows more than asked for
            first, end = max(0, look.start - slack[0]), min(self.length, look.stop + slack[1])
            piece = Piece(first, some_rows(key, first, end), 12 * (end - first))
        rows = self.cache.merge((0, key), look, piece, start, stop)
        expected = some_rows(key, start, stop)
        np.testing.assert_array_equal(rows, expected)
        if isinstance(rows, np.ndarray):
            self.views.append((rows, expected))

    @precondition(lambda self: self.length)
    @rule(key=st.sampled_from(list(COLUMNS)), data=st.data())
    def read_what_is_there(self, key: str, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, self.length - 1))
        stop = data.draw(st.integers(start + 1, self.length))
        rows = self.cache.read((0, key), start, stop)
        assert (rows is not None) == self.cache.look((0, key), start, stop).whole
        if rows is not None:
            np.testing.assert_array_equal(rows, some_rows(key, start, stop))

    @rule()
    def drop(self) -> None:
        self.cache.drop(0)
        assert self.cache.nbytes == 0

    @invariant()
    def views_stay_as_they_were(self) -> None:
        for rows, expected in getattr(self, "views", []):
            np.testing.assert_array_equal(rows, expected)
            assert not rows.flags.writeable

    @invariant()
    def it_is_bounded(self) -> None:
        if hasattr(self, "cache"):
            assert 0 <= self.cache.nbytes <= LIMIT
            assert self.cache.nbytes == sum(block.nbytes for block in self.cache._blocks.values())


TestCache = CacheMachine.TestCase


def fill(cache: ColumnCache, owner: int, key: str, start: int, stop: int) -> None:
    look = cache.look((owner, key), start, stop)
    cache.merge((owner, key), look, Piece(look.start, np.arange(look.start, look.stop), 8), start, stop)


def test_only_what_is_new_is_fetched() -> None:
    cache = ColumnCache(LIMIT)
    fill(cache, 0, "a", 0, 50)
    look = cache.look((0, "a"), 0, 70)
    assert (look.start, look.stop) == (50, 70)
    look = cache.look((0, "a"), 10, 50)
    assert look.whole


def test_the_least_recently_used_goes_first() -> None:
    cache = ColumnCache(LIMIT)
    for key in "abcde":
        fill(cache, 0, key, 0, 100)
    fill(cache, 0, "a", 0, 100)
    fill(cache, 0, "f", 0, 100)
    assert [key for key in "abcdef" if cache.read((0, key), 0, 100) is not None] == list("acdef")


def test_a_column_beyond_its_share_is_not_kept() -> None:
    cache = ColumnCache(LIMIT)
    fill(cache, 0, "a", 0, 10)
    fill(cache, 0, "b", 0, LIMIT // 4 // 8 + 1)
    assert cache.read((0, "b"), 0, 1) is None
    assert cache.read((0, "a"), 0, 1) is not None


def test_owners_are_kept_apart() -> None:
    cache = ColumnCache(LIMIT)
    fill(cache, 0, "a", 0, 10)
    fill(cache, 1, "a", 0, 10)
    cache.drop(0)
    assert cache.read((0, "a"), 0, 1) is None
    assert cache.read((1, "a"), 0, 1) is not None


def test_a_column_that_outgrew_its_share_is_let_go() -> None:
    cache = ColumnCache(LIMIT)
    fill(cache, 0, "a", 0, 100)
    fill(cache, 0, "a", 0, 200)
    assert cache.nbytes == 0


@given(st.integers(0, 30), st.integers(0, 30))
def test_of_two_ranges_that_do_not_touch_the_longer_stays(first: int, second: int) -> None:
    cache = ColumnCache(LIMIT)
    fill(cache, 0, "a", 0, 1 + first)
    fill(cache, 0, "a", 50, 51 + second)
    assert (cache.read((0, "a"), 0, 1) is not None) == (first > second)


def test_nothing_cannot_be_merged() -> None:
    cache = ColumnCache(LIMIT)
    with pytest.raises(ValueError, match="nothing"):
        cache.merge((0, "a"), cache.look((0, "a"), 0, 1), None, 0, 1)
