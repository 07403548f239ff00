"""Which frames count after a rewind."""

from __future__ import annotations

import numpy as np
import pytest

from blissdata_bluesky.runs import last_frames_of_each


@pytest.mark.parametrize(
    ("frames", "events", "shown"),
    [
        ([], [], []),
        # a flyer, and a step scan
        ([1, 2, 3], [], [0, 1, 2]),
        ([1, 2, 3], [1, 2, 3], [0, 1, 2]),
        # the event was saved, and the RunEngine went back to before it
        ([1, 2, 2, 3], [1, 2, 2, 3], [0, 2, 3]),
        ([1, 2, 3, 2, 3, 4], [1, 2, 3, 2, 3, 4], [0, 3, 4, 5]),
        ([1, 2, 3, 2, 3, 2], [1, 2, 3, 2, 3, 2], [0, 5, 4]),
        # frames alone show that something went back
        ([1, 2, 3, 2, 3], [], [0, 3, 4]),
        # several frames of an event
        ([1, 1, 2, 2], [1, 2], [0, 1, 2, 3]),
        ([1, 1, 2, 2, 2, 2], [1, 2, 2], [0, 1, 4, 5]),
        ([1, 1, 2, 2, 1, 1], [1, 2, 1], [4, 5, 2, 3]),
        # documents without seq_nums
        ([0, 0, 0], [], [0, 1, 2]),
        # a detector that missed the first events, and one that is ahead
        ([3, 4, 4], [1, 2, 3, 4, 4], [0, 2]),
        ([1, 2, 3], [1], [0, 1, 2]),
    ],
)
def test_the_last_of_each_event(frames: list[int], events: list[int], shown: list[int]) -> None:
    found = last_frames_of_each(np.array(frames, np.int64), np.array(events, np.int64))
    assert np.arange(len(frames))[found].tolist() == shown
