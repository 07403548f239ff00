"""A run that grows while it is read over HTTP."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.tiled.pins import AGAIN_SECONDS
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import ALL_KINDS, Run, eventually, publish, row, started, stopped

READER = Path(__file__).with_name("tiled_reader.py")
SECONDS = 5.0
RATE = 200.0


@pytest.mark.timeout(300)
def test_two_processes_read_all_the_time(writer: BlissdataWriter, server: TiledServer) -> None:
    run = Run(scan_id=1)
    keys = ["number", "integer", "spectrum", "text"]
    publish(writer, [run.start, run.describe(keys=keys), run.event(_stamped(0, keys))])
    command = [sys.executable, str(READER), server.url, run.uid, str(SECONDS)]
    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(subprocess.check_output, command, timeout=240) for _ in range(2)]
        count = 1
        while not all(reader.done() for reader in readers):
            writer(*run.event(_stamped(count, keys)))
            count += 1
            time.sleep(1 / RATE)
    publish(writer, [run.stop()])
    for reader in readers:
        seen = json.loads(reader.result())
        assert seen["failures"] == []
        for name, lengths in seen["lengths"].items():
            assert lengths == sorted(lengths), name
            assert lengths[-1] > lengths[0], name
        print(f"rows were {np.median(seen['delays']):.2f} s old, the oldest {max(seen['delays']):.2f} s")


def _stamped(index: int, keys: list[str]) -> dict[str, Any]:
    """The first column tells when the row was made."""
    return row(index, keys) | {"number": time.time(), "spectrum": np.full(40, index, "<u4")}


def test_new_rows_are_seen_by_held_clients(writer: BlissdataWriter, client: Any) -> None:
    run = Run(scan_id=1)
    publish(writer, [run.start, run.describe(), *(run.event(row(i)) for i in range(3))])
    stream = started(client, run.uid)["primary"]
    table, image, text = stream.base["internal"], stream["image"], stream["text"]
    assert (len(table.read()), len(image), len(text.read())) == (3, 3, 3)
    publish(writer, (run.event(row(i)) for i in range(3, 9)))
    # arrays keep the shape that the client knows, tables do not
    assert len(image.read()) == len(text.read()) == 3
    np.testing.assert_array_equal(image[::-1], [row(i)["image"] for i in (2, 1, 0)])
    np.testing.assert_array_equal(image.read_block((0, 0, 0)), [row(i)["image"] for i in range(3)])
    eventually(lambda: len(table.read()) == 9)
    assert len(stream.read()["time"]) == 9
    assert len(stream["image"]) == 9
    publish(writer, [run.event(row(9))])
    # no listing, and within the second in which a request may be one that is repeated
    stream = client[run.uid]["primary"]
    assert len(stream.base["internal"].read()) == len(stream.base["image"]) == 10
    publish(writer, [run.stop()])
    assert stopped(client, run.uid).stop["num_events"] == {"primary": 10}


def test_a_read_that_is_slow_between_its_parts(
    writer: BlissdataWriter, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a table is large or the computer busy: what was listed is read, however much came since."""
    run = Run(scan_id=1)
    publish(writer, [run.start, run.describe(), *(run.event(row(i)) for i in range(3))])
    stream = started(client, run.uid)["primary"]
    send, count = client.context.http_client.send, itertools.count(3)

    def send_and_wait(request: Any, **options: Any) -> Any:
        answer = send(request, **options)
        publish(writer, [run.event(row(next(count)))])
        if "/table/" in request.url.path:
            time.sleep(2 * AGAIN_SECONDS)
        return answer

    monkeypatch.setattr(client.context.http_client, "send", send_and_wait)
    data = stream.read()
    assert {len(data[name]) for name in ("number", "image", "spectrum")} == {data.sizes["time"]}
    monkeypatch.undo()
    assert len(stream.read()["time"]) == next(count)
    publish(writer, [run.stop()])


def test_an_answer_that_takes_long_holds_the_rows(
    writer: BlissdataWriter, server: TiledServer, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a slow line: until all of an array is here, the next part is of the same rows."""
    monkeypatch.setattr("blissdata_bluesky.tiled.pins.IDLE_SECONDS", 1.0)
    keys = {
        "image": ALL_KINDS["image"] | {"dtype_numpy": "<u4", "shape": [1500, 1500]},
        "spectrum": ALL_KINDS["spectrum"],
    }
    run = Run(scan_id=1)
    frame = {"image": np.zeros((1500, 1500), "<u4"), "spectrum": np.zeros(40, "<u4")}
    publish(writer, [run.start, run.describe(**keys), *(run.event(frame) for _ in range(4))])
    stream = started(client, run.uid)["primary"]
    image = stream["image"]
    publish(writer, [run.event(frame)])
    with client.context.http_client.stream("GET", image.item["links"]["full"]) as answer:
        arrived = answer.iter_raw(2**16)
        size = len(next(arrived))
        time.sleep(2.5)
        size += sum(map(len, arrived))
    assert size == image.nbytes == 4 * frame["image"].nbytes
    assert stream.base["spectrum"].shape == (4, 40)
    time.sleep(1.5)
    assert stream.base["spectrum"].shape == (5, 40)
    publish(writer, [run.stop()])


def test_a_stream_before_its_first_event(writer: BlissdataWriter, client: Any) -> None:
    run = Run(scan_id=1)
    publish(writer, [run.start, run.describe()])
    stream = started(client, run.uid)["primary"]
    assert stream.base["image"].shape == (0, 6, 40)
    assert len(stream.base["internal"].read()) == 0
    assert [name for name, _ in client[run.uid].documents()] == ["start", "descriptor"]
    publish(writer, [run.event(row(0))])
    assert stream.read().sizes["time"] == 1
    publish(writer, [run.stop()])


def test_interleaved_runs_and_late_streams(writer: BlissdataWriter, client: Any) -> None:
    one, two = Run(scan_id=1), Run(began=1.8e9, scan_id=2)
    publish(
        writer, [one.start, two.start, one.describe("baseline", ["number"]), one.event({"number": 1.0}, "baseline")]
    )
    publish(writer, [two.describe(keys=["integer"]), one.describe(keys=["integer"])])
    for index in range(5):
        publish(writer, [one.event({"integer": index}), two.event({"integer": 10 * index})])
    publish(writer, [one.describe("dark", ["number"]), one.event({"number": 2.0}, "dark"), two.stop(), one.stop()])
    first, second = stopped(client, one.uid), stopped(client, two.uid)
    assert sorted(first) == ["baseline", "dark", "primary"]
    np.testing.assert_array_equal(first["primary"].read()["integer"], range(5))
    np.testing.assert_array_equal(second["primary"].read()["integer"], range(0, 50, 10))
    assert first["dark"].read()["number"].values.tolist() == [2.0]
    assert [run.start["scan_id"] for run in client.values()] == [1, 2]


def test_rewound_rows_are_replaced(writer: BlissdataWriter, client: Any) -> None:
    run = Run(scan_id=1)
    keys = ["integer", "image", "text"]
    publish(writer, [run.start, run.describe(keys=keys)])
    for value, seq_num in [(0, 1), (1, 2), (2, 3), (3, 4), (20, 3)]:
        publish(writer, [run.event(row(value, keys), seq_num=seq_num)])
    stream = started(client, run.uid)["primary"]
    assert stream["integer"].read().tolist() == [0, 1, 20, 3]
    publish(writer, (run.event(row(value, keys), seq_num=seq_num) for value, seq_num in [(30, 4), (4, 5)]))
    data = stream.read()
    assert data["integer"].values.tolist() == [0, 1, 20, 30, 4]
    np.testing.assert_array_equal(data["image"], [row(i)["image"] for i in (0, 1, 20, 30, 4)])
    np.testing.assert_array_equal(stream["image"][3:, 0, 0], [30, 4])
    assert stream.base["internal"].read()["text"].tolist() == [row(i)["text"] for i in (0, 1, 20, 30, 4)]
    emitted = [document["data"]["integer"] for name, document in client[run.uid].documents() if name == "event"]
    assert emitted == [0, 1, 2, 3, 20, 30, 4]
    publish(writer, [run.stop()])


def test_values_that_do_not_fit(writer: BlissdataWriter, client: Any) -> None:
    run = Run(scan_id=1, note=float("nan"), raw=b"\x00\xff", when=(1, 2))
    keys = {key: ALL_KINDS[key] for key in ("number", "integer", "text", "spectrum")}
    publish(writer, [run.start, run.describe(**keys)])
    rows = [
        row(0, keys),
        row(1, keys) | {"integer": 2**70, "text": {"a": [1, None]}, "number": float("nan")},
        row(2, keys) | {"number": "off", "text": 5, "spectrum": [1, 2, 3]},
    ]
    publish(writer, [*map(run.event, rows), run.stop()])
    found = stopped(client, run.uid)
    frame = found["primary"].base["internal"].read()
    assert frame["text"].tolist() == ["0", '{"a":[1,null]}', "5"]
    assert frame["integer"].tolist()[::2] == [0, 2]
    assert found["primary"].read().sizes["time"] == 3
    events = [document["data"] for name, document in found.documents() if name == "event"]
    assert events[1]["integer"] == 2**70
    assert events[1]["text"] == {"a": [1, None]}
    assert events[2]["number"] == "off"
    assert events[2]["spectrum"] == [1, 2, 3]
    assert np.isnan(events[1]["number"])
    assert found.start["note"] is None


def test_many_partitions(writer: BlissdataWriter, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blissdata_bluesky.tiled.table._PARTITION_BYTES", 1000)
    run = Run(scan_id=1)
    keys = ["integer", "text", "ragged"]
    publish(writer, [run.start, run.describe(keys=keys), *(run.event(row(i, keys)) for i in range(21))])
    table = started(client, run.uid)["primary"].base["internal"]
    assert table.structure().npartitions == 21
    assert table.read()["integer"].tolist() == list(range(21))
    assert table.read_partition(20)["text"].tolist() == [row(20)["text"]]
    publish(writer, [*(run.event(row(i, keys)) for i in range(21, 30)), run.stop()])
    # a held client knows of so many partitions
    assert table.read()["integer"].tolist() == list(range(21))
    stopped(client, run.uid)
    assert client[run.uid]["primary"].read().sizes["time"] == 30
