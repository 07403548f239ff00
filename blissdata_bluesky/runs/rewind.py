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


def last_frames_of_each(frames: npt.NDArray[np.int64], events: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | slice:
    """The same for frames in files, by the seq_nums of `frames` and of the stream's `events`.

    Frames have no events in a flyer's stream, and an event may have several. So of the frames of one seq_num a share
    is shown: one part in as many as the event came, or as the seq_nums of the frames went back to it.
    """
    if is_increasing(frames):
        return slice(None)
    known, which, counts = np.unique(frames, return_inverse=True, return_counts=True)
    passes = np.cumsum(np.diff(frames, prepend=frames[:1]) < 0)
    times = np.bincount(np.unique(np.stack([which, passes]), axis=1)[0], minlength=len(known))
    repeated, repeats = np.unique(events, return_counts=True)
    _, place, other = np.intersect1d(known, repeated, assume_unique=True, return_indices=True)
    times[place] = np.maximum(times[place], repeats[other])
    order = np.argsort(which, kind="stable")
    from_the_end = np.repeat(np.cumsum(counts), counts) - np.arange(len(frames))
    return order[from_the_end <= np.repeat(-(-counts // times), counts)]


def is_increasing(seq_num: npt.NDArray[np.int64]) -> bool:
    """Whether no seq_num repeats or goes back: no rewind."""
    return bool((seq_num[1:] > seq_num[:-1]).all())
