"""The rows that one request sees of a stream that another one has looked at before."""

from __future__ import annotations

import numpy as np
import pytest

from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.tiled.window import Window
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, publish, row

KEYS = ["integer", "text"]


def test_what_was_in_order_may_be_rewound_later(writer: BlissdataWriter, runs: RedisRuns) -> None:
    run = Run(scan_id=1)
    publish(writer, [run.start, run.describe(keys=KEYS), *(run.event(row(i, KEYS), seq_num=i + 1) for i in range(3))])
    stream = runs.get(run.uid).streams["primary"]
    assert list(Window(stream, 3).read("integer", 0, 3)) == [0, 1, 2]
    publish(writer, [run.event(row(i, KEYS), seq_num=seq_num) for i, seq_num in [(20, 3), (30, 4)]])
    assert list(Window(stream, stream.rows()).read("integer", 0, 5)) == [0, 1, 20, 30]
    assert list(Window(stream, 3).read("integer", 0, 3)) == [0, 1, 2]
    publish(writer, [run.stop()])


@pytest.mark.parametrize("timestamps", [True, False])
def test_a_table_has_the_same_rows_with_and_without_timestamps(
    writer: BlissdataWriter, runs: RedisRuns, *, timestamps: bool
) -> None:
    run = Run(scan_id=1)
    rows = [row(0, KEYS), {"integer": None, "text": "b"}, row(2, KEYS), row(3, KEYS)]
    publish(writer, [run.start, run.describe(keys=KEYS)])
    publish(writer, [run.event(data, seq_num=seq_num) for data, seq_num in zip(rows, [1, 2, 3, 3], strict=True)])
    publish(writer, [run.stop()])
    stream = runs.get(run.uid).streams["primary"]
    table = Window(stream, stream.rows()).table(KEYS, 0, 3, timestamps=timestamps)
    np.testing.assert_array_equal(table.data["integer"], [0, np.nan, 3])
    assert list(table.data["text"]) == [row(0)["text"], "b", row(3)["text"]]
    assert table.seq_num.tolist() == [1, 2, 3]
    times = [event["time"] for event in run.events["primary"]]
    np.testing.assert_array_equal(table.time, [times[0], times[1], times[3]])
    assert table.timestamps.shape == (3, 2 if timestamps else 0)
