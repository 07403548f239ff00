"""Columns in Redis against lists, whatever is appended, trimmed and read in whatever order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from blissdata_bluesky import protocol
from blissdata_bluesky.errors import RowsTrimmedError
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .emitted import KINDS, NUMBER, EmittedRun, give

DATA_KEYS = {"number": NUMBER, "text": KINDS["text"], "ragged": KINDS["ragged"], "spectrum": KINDS["spectrum"]}
# one that keeps all, one that drops all the time, one that keeps nothing
CACHE_BYTES = (2**20, 3000, 0)


def value(key: str, row: int) -> Any:
    match key:
        case "number":
            return float(row)
        case "text":
            return str(row)
        case "ragged":
            return np.full(row % 4, row, "<f8")
    return np.full(5, row, "<f4")


class ColumnsMachine(RuleBasedStateMachine):
    """`left[key]` is the first row that Redis still has of a column."""

    def __init__(self, writer: BlissdataWriter, url: str, client: redis.Redis) -> None:
        super().__init__()
        self.writer = writer
        self.client = client
        self.rows = 0
        self.left = dict.fromkeys(DATA_KEYS, 0)
        self.emitted = EmittedRun()
        self.emitted.describe(data_keys=DATA_KEYS)
        give(writer, self.emitted.documents)
        self.sources = [RedisRuns(url, cache_bytes) for cache_bytes in CACHE_BYTES]
        self.streams = [runs.get(self.emitted.uid).streams["primary"] for runs in self.sources]

    def teardown(self) -> None:
        give(self.writer, self.emitted.stop())
        for runs in self.sources:
            runs.close()

    @rule(rows=st.integers(1, 12), together=st.booleans())
    def append(self, rows: int, together: bool) -> None:
        for row in range(self.rows, self.rows + rows):
            named = self.emitted.event({key: value(key, row) for key in DATA_KEYS})
            if together:
                self.writer(*named[0])
            else:
                give(self.writer, named)
        assert self.writer.flush(60)
        self.rows += rows

    @precondition(lambda self: self.rows)
    @rule(key=st.sampled_from(list(DATA_KEYS)), data=st.data())
    def trim(self, key: str, data: st.DataObject) -> None:
        stream = protocol.stream_key(protocol.stream_pk(self.emitted.uid, f"primary:{key}"))
        # where entries begin depends on timing, so what is drawn must not depend on what is left
        least = data.draw(st.integers(0, self.rows))
        # the tracker always leaves the last entry
        last = int(self.client.xrevrange(stream, count=1)[0][0].split(b"-")[0])
        self.client.xtrim(stream, minid=f"{min(least, last)}-0", approximate=False)
        self.left[key] = int(self.client.xrange(stream, count=1)[0][0].split(b"-")[0])

    @rule(
        which=st.integers(0, len(CACHE_BYTES) - 1),
        keys=st.lists(st.sampled_from(list(DATA_KEYS)), min_size=1),
        data=st.data(),
    )
    def read(self, which: int, keys: list[str], data: st.DataObject) -> None:
        start = data.draw(st.integers(0, self.rows + 2))
        stop = data.draw(st.none() | st.integers(0, self.rows + 2))
        rows = range(self.rows)[start:stop]
        stream = self.streams[which]
        try:
            read = stream.read_many(keys, start, stop)
        except RowsTrimmedError:
            assert any(rows[0] < self.left[key] for key in keys)
            return
        assert stream.rows() == self.rows
        for key in keys:
            assert len(read[key]) == len(rows)
            for found, row in zip(read[key], rows, strict=True):
                np.testing.assert_array_equal(found, value(key, row))


def test_columns_are_what_was_appended(redis_url: str, tmp_path: Path) -> None:
    with (
        BlissdataWriter(redis_url, journal=tmp_path / "journal") as writer,
        redis.Redis.from_url(redis_url, protocol=2) as client,
    ):
        run_state_machine_as_test(
            lambda: ColumnsMachine(writer, redis_url, client),
            settings=settings(
                max_examples=40,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
