"""Runs in Redis while they grow, and after they were trimmed, deleted, lost or published again."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from blissdata.redis_engine.store import DataStore
from blissdata.schemas.scan_info import ScanInfoDict  # noqa: F401

from blissdata_bluesky import protocol
from blissdata_bluesky.errors import RowsTrimmedError, RunNotFoundError, RunUnavailableError
from blissdata_bluesky.protocol import ScanState
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .emitted import INTEGER, KINDS, NUMBER, EmittedRun, Named, values, whole_run
from .run_contract import assert_same, assert_same_documents

SCALARS = {"number": NUMBER, "integer": INTEGER}


@pytest.fixture
def runs(redis_url: str) -> Iterator[RedisRuns]:
    with RedisRuns(redis_url) as runs:
        yield runs


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield client


def publish(writer: BlissdataWriter, documents: Iterable[Named]) -> None:
    for name, document in documents:
        writer(name, document)
    assert writer.flush(10)


def scalar_run(rows: int, *, one_by_one: BlissdataWriter | None = None, **metadata: Any) -> EmittedRun:
    run = EmittedRun(**metadata)
    run.describe(data_keys=SCALARS)
    for row in range(rows):
        run.event({"number": row / 3, "integer": row})
    run.stop()
    if one_by_one:
        for document in run.documents:
            publish(one_by_one, [document])
    return run


def column_key(uid: str, name: str) -> str:
    return protocol.stream_key(protocol.stream_pk(uid, name))


def sent_bytes(client: redis.Redis) -> int:
    return client.info("stats")["total_net_output_bytes"]


class TestGrowing:
    def test_rows_come_without_a_refresh(self, runs: RedisRuns, writer: BlissdataWriter) -> None:
        emitted = EmittedRun()
        publish(writer, emitted.documents)
        run = runs.get(emitted.uid)
        assert dict(run.streams) == {}
        assert not run.closed
        assert run.stop is None

        publish(writer, emitted.describe())
        run.refresh()
        stream = run.streams["primary"]
        assert stream.rows() == 0
        assert list(stream.columns) == list(KINDS)
        for row in range(6):
            publish(writer, emitted.events([row]))
            assert stream.rows() == row + 1
            for key in KINDS:
                assert_same(list(stream.read(key)), [values(r)[key] for r in range(row + 1)])
        assert run.stop is None

        publish(writer, emitted.stop())
        run.refresh()
        assert run.closed
        assert run.stop == emitted.documents[-1][1]

    def test_documents_as_far_as_they_have_come(self, runs: RedisRuns, writer: BlissdataWriter) -> None:
        emitted = EmittedRun()
        emitted.describe()
        publish(writer, emitted.documents)
        run = runs.get(emitted.uid)
        assert_same_documents(run.documents(), emitted.documents)
        publish(writer, emitted.events(range(3)))
        assert_same_documents(run.documents(), emitted.documents)
        publish(writer, emitted.stop())
        assert_same_documents(runs.get(emitted.uid).documents(), emitted.documents)

    def test_only_what_is_new_is_fetched(
        self, runs: RedisRuns, writer: BlissdataWriter, client: redis.Redis
    ) -> None:
        emitted = EmittedRun()
        emitted.describe(data_keys=SCALARS)
        emitted.documents += [n for row in range(5000) for n in emitted.event({"number": row / 3, "integer": row})]
        publish(writer, dict.fromkeys(range(0)) or emitted.documents[:5002])
        stream = runs.get(emitted.uid).streams["primary"]
        before = sent_bytes(client)
        stream.table()
        cold = sent_bytes(client) - before
        assert cold > 5000 * 8 * 6
        before = sent_bytes(client)
        publish(writer, emitted.event({"number": 0.0, "integer": 5000}))
        assert len(stream.table()) == 5001
        assert sent_bytes(client) - before < cold / 10
        publish(writer, emitted.stop())
