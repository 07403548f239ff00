"""Which rows a table shows after a rewind."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.runs import is_increasing, last_of_each


@given(st.lists(st.integers(-5, 20)))
def test_the_last_row_of_each_seq_num_in_its_order(seq_nums: list[int]) -> None:
    last = {seq_num: row for row, seq_num in enumerate(seq_nums)}
    rows = np.arange(len(seq_nums))[last_of_each(np.array(seq_nums, np.int64))]
    assert rows.tolist() == [last[seq_num] for seq_num in sorted(last)]


@given(st.sets(st.integers()))
def test_without_a_rewind_nothing_is_copied(seq_nums: set[int]) -> None:
    array = np.array(sorted(number for number in seq_nums if abs(number) < 2**63), np.int64)
    assert is_increasing(array)
    assert last_of_each(array) == slice(None)
    assert np.shares_memory(array[last_of_each(array)], array) or not len(array)


def test_the_order_of_a_run_engine() -> None:
    assert last_of_each(np.array([1, 2, 3, 4, 3, 4, 5])).tolist() == [0, 1, 4, 5, 6]
