"""Source documents = live = half-trimmed = archived, whatever is appended, archived, trimmed and read in what order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from blissdata_bluesky.errors import RunUnavailableError
from blissdata_bluesky.protocol import NumericEncoding
from blissdata_bluesky.runs import ArchivedRuns, JoinedRuns, RedisRuns, Run, RunStream

from .archive_site import Site, open_site
from .emitted import INTEGER, KINDS, NUMBER, EmittedRun
from .run_contract import assert_same, assert_same_documents

DATA_KEYS = {
    "number": NUMBER,
    "integer": INTEGER,
    "text": KINDS["text"],
    "ragged": KINDS["ragged"],
    "spectrum": KINDS["spectrum"],
}
# one that keeps all, one that drops all the time, one that keeps nothing
CACHE_BYTES = (2**20, 3000, 0)
NO_CACHE = 2
ODD: tuple[Any, ...] = (None, "x", 2**70, 1 + 2j, [1, "a"], b"bytes", float("inf"), {"a": 0.5}, np.array([1 + 2j, 0]))
NAMES = st.sampled_from(list(DATA_KEYS))


def value(key: str, row: int) -> Any:
    match key:
        case "number":
            return row / 3
        case "integer":
            return 2**53 + 1 + row
        case "text":
            return "\0é" * (row % 3) + str(row)
        case "ragged":
            return np.full(row % 4, row, "<f8")
    return np.full(5, row, "<f4")


class JoinedMachine(RuleBasedStateMachine):
    """One run. `archived`: rows in the file; `left[key]`: the first row of a column that Redis still has."""

    def __init__(self, site: Site) -> None:
        super().__init__()
        self.site = site
        self.archived = 0
        self.left = dict.fromkeys(DATA_KEYS, 0)
        self.values: list[dict[str, Any]] = []
        self.emitted = EmittedRun(sample={"name": "LaB6", "masses": [0.5, 1]})
        self.emitted.describe(data_keys=DATA_KEYS)
        site.give(self.emitted.documents)
        self.redis, self.files = RedisRuns(site.url), ArchivedRuns(site.root)
        self.sources = [JoinedRuns(self.redis, self.files, cache_bytes) for cache_bytes in CACHE_BYTES]
        self.held: list[Run] = [runs.get(self.emitted.uid) for runs in self.sources]

    @initialize(rows=st.tuples(st.integers(1, 4), st.integers(1, 4)), key=NAMES, data=st.data())
    def half_trim(self, rows: tuple[int, int], key: str, data: st.DataObject) -> None:
        self.append(rows[0], {}, None)
        self.archive()
        self.append(rows[1], {}, None)
        self.trim(key, data)

    @rule(
        rows=st.integers(1, 8),
        odd=st.dictionaries(st.tuples(st.integers(0, 7), NAMES), st.sampled_from(ODD), max_size=2),
        dropped=st.none() | st.tuples(st.integers(0, 7), NAMES),
    )
    def append(self, rows: int, odd: Mapping[tuple[int, str], Any], dropped: tuple[int, str] | None) -> None:
        for row in range(rows):
            # the first event settles the columns
            count = len(self.values)
            data = {key: odd.get((row, key), value(key, count)) if count else value(key, 0) for key in DATA_KEYS}
            if dropped and dropped[0] == row and count:
                del data[dropped[1]]
            self.values.append(data)
            self.site.give(self.emitted.event(data))

    @rule()
    def archive(self) -> None:
        self.site.archive()
        self.archived = len(self.values)

    @rule(key=NAMES, data=st.data())
    def trim(self, key: str, data: st.DataObject) -> None:
        stream = self.site.columns(self.emitted.uid)[f"primary:{key}"]
        self.site.trim(stream, data.draw(st.integers(0, len(self.values))))
        self.left[key] = int(self.site.client.xrange(stream, count=1)[0][0].split(b"-")[0])

    @rule(
        which=st.integers(0, len(CACHE_BYTES) - 1),
        keys=st.lists(NAMES, min_size=1, unique=True),
        data=st.data(),
    )
    def read(self, which: int, keys: list[str], data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(self.values) + 2))
        stop = data.draw(st.none() | st.integers(0, len(self.values) + 2))
        rows = range(len(self.values))[start:stop]
        nobody_has = [row for key in keys for row in range(self.archived, self.left[key]) if row in rows]
        stream = self.held[which].streams["primary"]
        try:
            read = stream.read_many(keys, start, stop)
        except RunUnavailableError:
            assert nobody_has
            return
        assert not nobody_has or which != NO_CACHE
        assert stream.rows() == len(self.values)
        for key in keys:
            self.assert_column(stream, key, rows, read[key])

    @rule(which=st.integers(0, len(CACHE_BYTES) - 1))
    def refresh(self, which: int) -> None:
        assert self.sources[which].get(self.emitted.uid) is self.held[which]

    def assert_column(self, stream: RunStream, key: str, rows: range, found: Any) -> None:
        assert len(found) == len(rows)
        irregular = stream.irregular(key, rows.start, rows.stop)
        for one, row in zip(found, rows, strict=True):
            if row not in irregular and key in self.values[row]:
                assert_same(one, self.values[row][key])
        encoding = stream.columns[key].encoding
        if isinstance(encoding, NumericEncoding) and not encoding.ragged:
            assert found.dtype == encoding.dtype
            assert found.shape == (len(rows), *encoding.shape)

    def assert_whole(self, run: Run) -> None:
        """Values, dtypes, order and metadata are those of the source."""
        assert_same_documents(run.documents(), self.emitted.documents)
        assert (run.start, run.stop) == (self.emitted.documents[0][1], self.emitted.documents[-1][1])
        assert run.incomplete == ""
        (stream,) = run.streams.values()
        assert list(stream.columns) == list(DATA_KEYS)
        assert [column.data_key for column in stream.columns.values()] == [
            {"source": "sim", **data_key} for data_key in DATA_KEYS.values()
        ]
        rows = range(stream.rows())
        for start in (0, 1, len(rows) // 2):
            for key, found in stream.read_many(DATA_KEYS, start).items():
                self.assert_column(stream, key, rows[start:], found)

    def teardown(self) -> None:
        uid = self.emitted.uid
        self.site.give(self.emitted.stop())
        self.site.archive(seal=False)
        columns = [run.streams["primary"].columns for run in self.held]
        for runs, run in zip(self.sources, self.held, strict=True):
            assert runs.get(uid) is run
            self.assert_whole(run)
        self.site.archive()
        self.assert_whole(self.files.get(uid, self.site.hint(uid)))
        if not any(self.left.values()):
            self.assert_whole(self.redis.get(uid))
        for runs in self.sources:
            self.assert_whole(runs.get(uid))
        self.site.expire(uid)
        for runs, run in zip(self.sources, self.held, strict=True):
            assert runs.get(uid) is run
            self.assert_whole(run)
            assert run.closed
        assert [run.streams["primary"].columns for run in self.held] == columns
        for source in (*self.sources, self.files, self.redis):
            source.close()


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(redis_url, tmp_path) as site:
        yield site


@pytest.mark.parametrize("examples", [10, pytest.param(150, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
def test_all_phases_give_what_was_emitted(site: Site, examples: int) -> None:
    run_state_machine_as_test(
        lambda: JoinedMachine(site),
        settings=settings(
            max_examples=examples,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
