"""Runs in Redis while they grow: rows, the cache, and several readers at once."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import redis

from blissdata_bluesky import protocol
from blissdata_bluesky.errors import RedisURLError
from blissdata_bluesky.protocol import ScanState
from blissdata_bluesky.runs import RedisRuns, RunStream
from blissdata_bluesky.writer import BlissdataWriter

from .emitted import KINDS, NUMBER, EmittedRun, give, give_one_by_one, scalar_events, scalar_run, values
from .run_contract import assert_same, assert_same_documents
from .tiled_runs import eventually


def sent_bytes(redis_client: redis.Redis) -> int:
    return redis_client.info("stats")["total_net_output_bytes"]


def test_rows_come_without_a_refresh(runs: RedisRuns, writer: BlissdataWriter) -> None:
    emitted = EmittedRun()
    give(writer, emitted.documents)
    run = runs.get(emitted.uid)
    assert dict(run.streams) == {}
    assert (run.closed, run.stop) == (False, None)

    give(writer, emitted.describe())
    run.refresh()
    stream = run.streams["primary"]
    assert stream.rows() == 0
    assert list(stream.columns) == list(KINDS)
    for row in range(6):
        give(writer, emitted.events([row]))
        assert stream.rows() == row + 1
        for key in KINDS:
            assert_same(list(stream.read(key)), [values(r)[key] for r in range(row + 1)])

    give(writer, emitted.stop())
    assert (run.closed, run.stop) == (False, None)
    run.refresh()
    assert (run.closed, run.stop) == (True, emitted.documents[-1][1])


def test_documents_as_far_as_they_have_come(runs: RedisRuns, writer: BlissdataWriter) -> None:
    emitted = EmittedRun()
    emitted.describe()
    give(writer, emitted.documents)
    run = runs.get(emitted.uid)
    assert_same_documents(run.documents(), emitted.documents)
    give(writer, emitted.events(range(3)))
    assert_same_documents(run.documents(), emitted.documents)
    give(writer, emitted.stop())
    assert_same_documents(runs.get(emitted.uid).documents(), emitted.documents)


def test_a_run_that_is_still_created_is_shown(runs: RedisRuns, writer: BlissdataWriter) -> None:
    emitted = EmittedRun()
    emitted.describe("baseline", {"number": NUMBER})
    emitted.event({"number": 1.0}, "baseline")
    give(writer, emitted.documents)
    assert runs.states([emitted.uid]) == {emitted.uid: ScanState.CREATED}
    assert runs.get(emitted.uid).streams["baseline"].read("number").tolist() == [1.0]
    give(writer, emitted.stop())
    assert runs.states([emitted.uid]) == {emitted.uid: ScanState.CLOSED}


def test_only_what_is_new_is_fetched(runs: RedisRuns, writer: BlissdataWriter, redis_client: redis.Redis) -> None:
    emitted = scalar_run(5000)
    give(writer, emitted.documents)
    stream = runs.get(emitted.uid).streams["primary"]
    before = sent_bytes(redis_client)
    assert len(stream.table()) == 5000
    cold = sent_bytes(redis_client) - before
    assert cold > 5000 * 8 * 6

    give(writer, scalar_events(emitted, [5000]))
    before = sent_bytes(redis_client)
    assert len(stream.table()) == 5001
    assert sent_bytes(redis_client) - before < cold / 10
    give(writer, emitted.stop())


def test_a_sealed_run_is_read_without_redis(
    runs: RedisRuns, writer: BlissdataWriter, redis_client: redis.Redis
) -> None:
    emitted = scalar_run(50)
    emitted.stop()
    give(writer, emitted.documents)
    stream = runs.get(emitted.uid).streams["primary"]
    stream.table()
    redis_client.flushall()
    assert stream.rows() == 50
    assert stream.read("integer", 10, 20).tolist() == list(range(10, 20))
    assert len(stream.table()) == 50


def test_irregular_values_of_a_growing_run(runs: RedisRuns, writer: BlissdataWriter) -> None:
    emitted = EmittedRun()
    emitted.describe(data_keys={"number": NUMBER})
    give(writer, emitted.documents)
    stream = runs.get(emitted.uid).streams["primary"]
    expected: dict[int, str] = {}
    for row in range(8):
        if row % 3 == 1:
            expected[row] = f"odd {row}"
        give(writer, emitted.event({"number": expected.get(row, float(row))}))
        assert stream.irregular("number") == expected
    assert stream.irregular("number", 3, 6) == {4: "odd 4"}
    give(writer, emitted.stop())


def test_a_large_column_is_not_kept(redis_url: str, writer: BlissdataWriter, redis_client: redis.Redis) -> None:
    emitted = EmittedRun()
    emitted.describe(data_keys={"image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [64, 64]}, "number": NUMBER})
    for row in range(40):
        emitted.event({"image": np.full((64, 64), row, "<u2"), "number": row / 2})
    emitted.stop()
    give_one_by_one(writer, emitted.documents)
    with RedisRuns(redis_url, cache_bytes=200_000) as runs:
        stream = runs.get(emitted.uid).streams["primary"]
        assert stream.rows() == 40
        before = sent_bytes(redis_client)
        image = stream.read("image", 17, 18)
        assert image.shape == (1, 64, 64)
        assert (image == 17).all()
        assert sent_bytes(redis_client) - before < 4 * 64 * 64 * 2
        assert runs._cache.nbytes == 0
        table = stream.table()
        assert (table.data["image"][:, 5, 5] == np.arange(40)).all()
        assert table.data["number"].tolist() == [row / 2 for row in range(40)]
        assert 0 < runs._cache.nbytes < 200_000


def test_entries_of_every_length(redis_url: str, writer: BlissdataWriter) -> None:
    emitted = EmittedRun()
    emitted.describe()
    give(writer, emitted.documents)
    for start, stop in ((0, 1), (1, 2), (2, 30), (30, 31), (31, 33)):
        give(writer, emitted.events(range(start, stop)))
    give(writer, emitted.stop())
    for start, stop in ((0, 33), (2, 3), (5, 9), (29, 32), (32, 33)):
        # a source without a cache, so that each read begins inside the entries
        with RedisRuns(redis_url, cache_bytes=0) as fresh:
            read = fresh.get(emitted.uid).streams["primary"].read_many(KINDS, start, stop)
        for key in KINDS:
            assert_same(list(read[key]), [values(row)[key] for row in range(start, stop)])


def test_readers_at_once_see_whole_rows_that_never_shrink(runs: RedisRuns, writer: BlissdataWriter) -> None:
    emitted = scalar_run(0)
    give(writer, emitted.documents)
    stream = runs.get(emitted.uid).streams["primary"]
    failures: list[str] = []
    done = threading.Event()
    readers = [threading.Thread(target=watch, args=(stream, done, failures)) for _ in range(4)]
    for reader in readers:
        reader.start()
    for row in range(300):
        for name, document in scalar_events(emitted, [row]):
            writer(name, document)
    give(writer, emitted.stop())
    done.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert stream.rows() == 300


def test_readers_at_once_fetch_once(runs: RedisRuns, writer: BlissdataWriter, redis_client: redis.Redis) -> None:
    emitted = scalar_run(3000)
    emitted.stop()
    give(writer, emitted.documents)
    stream = runs.get(emitted.uid).streams["primary"]
    assert stream.rows() == 3000
    before = sent_bytes(redis_client)
    readers = [threading.Thread(target=stream.table) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert sent_bytes(redis_client) - before < 2 * 3000 * 8 * 6


def test_only_so_many_runs_are_kept(runs: RedisRuns, writer: BlissdataWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blissdata_bluesky.runs.kept._RUNS_KEPT", 2)
    uids = []
    for _ in range(4):
        emitted = scalar_run(3)
        emitted.stop()
        give(writer, emitted.documents)
        uids.append(emitted.uid)
    first = runs.get(uids[0])
    first.streams["primary"].table()
    for uid in uids:
        runs.get(uid)
    assert runs._cache.nbytes == 0
    assert runs.get(uids[3]) is runs.get(uids[3])
    assert runs.get(uids[0]) is not first
    assert first.streams["primary"].read("integer").tolist() == [0, 1, 2]


def watch(stream: RunStream, done: threading.Event, failures: list[str]) -> None:
    seen = 0
    while not done.is_set():
        table = stream.table()
        if len(table) < seen:
            failures.append(f"{seen} rows became {len(table)}")
        seen = len(table)
        if table.data["integer"].tolist() != list(range(seen)) or len(table.time) != seen:
            failures.append(f"wrong rows: {table.data['integer']}")


def test_the_history_of_scans(runs: RedisRuns, writer: BlissdataWriter) -> None:
    timetag, keys = runs.history()
    assert keys == []
    assert runs.history(timetag, block_ms=1) == (timetag, [])
    emitted = [scalar_run(1) for _ in range(3)]
    for run in emitted:
        run.stop()
        give(writer, run.documents)
    timetag, keys = runs.history(timetag)
    assert keys == [protocol.scan_key(run.uid) for run in emitted]
    assert [runs.get_by_key(key).uid for key in keys] == [run.uid for run in emitted]
    assert runs.history(timetag) == (timetag, [])
    assert runs.history()[1] == keys


def test_waiting_for_the_next_scan(runs: RedisRuns, writer: BlissdataWriter) -> None:
    timetag, _ = runs.history()
    emitted = scalar_run(1)
    emitted.stop()
    sender = threading.Timer(0.1, give, (writer, emitted.documents))
    sender.start()
    keys = eventually(lambda: runs.history(timetag, block_ms=60_000)[1])
    sender.join()
    assert keys == [protocol.scan_key(emitted.uid)]


def test_waiting_is_shorter_than_the_time_out(redis_url: str) -> None:
    with RedisRuns(redis_url + "?socket_timeout=4") as runs:
        began = time.monotonic()
        assert runs.history(block_ms=60_000) == ("0-0", [])
        assert time.monotonic() - began > 1.5


@pytest.mark.parametrize("options", [{"decode_responses": True, "protocol": 3}, {"protocol": 3}, {}])
def test_any_client_will_do(redis_url: str, writer: BlissdataWriter, options: dict[str, Any]) -> None:
    emitted = scalar_run(3)
    emitted.stop()
    give(writer, emitted.documents)
    with redis.Redis.from_url(redis_url, **options) as redis_client, RedisRuns(redis_client) as runs:
        assert_same_documents(runs.get(emitted.uid).documents(), emitted.documents)


def test_a_url_that_is_none() -> None:
    with pytest.raises(RedisURLError) as caught:
        RedisRuns("redis://user:secret:more@host:secret/0")
    assert "secret" not in str(caught.value)


def test_a_run_of_one_row_entries(runs: RedisRuns, writer: BlissdataWriter, redis_client: redis.Redis) -> None:
    emitted = scalar_run(30)
    emitted.stop()
    give_one_by_one(writer, emitted.documents)
    key = protocol.stream_key(protocol.stream_pk(emitted.uid, "primary:number"))
    assert redis_client.xlen(key) == 31
    stream = runs.get(emitted.uid).streams["primary"]
    assert stream.read("integer", 7, 20).tolist() == list(range(7, 20))
    assert stream.read("integer").tolist() == list(range(30))
