"""Which rows count after a rewind: the RunEngine repeats seq_nums when it resumes (DESIGN 10)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def last_of_each(seq_num: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | slice:
    """Which rows a table shows: the last row of each seq_num, in the order of seq_num.

    An array of row indexes, or, where that is every row in place, `slice(None)`: so that indexing copies nothing.
    """
    if is_increasing(seq_num):
        return slice(None)
    _, from_the_end = np.unique(seq_num[::-1], return_index=True)
    return np.asarray(len(seq_num) - 1 - from_the_end, np.int64)


def is_increasing(seq_num: npt.NDArray[np.int64]) -> bool:
    """Whether no seq_num repeats or goes back: no rewind."""
    return bool((seq_num[1:] > seq_num[:-1]).all())
