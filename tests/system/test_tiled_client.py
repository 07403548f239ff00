"""What a Tiled user does with runs, through an unmodified bluesky-tiled-plugins client over HTTP."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest
from bluesky_tiled_plugins.queries import PartialUID, ScanID, ScanIDRange, TimeRange
from tiled.queries import (
    Comparison,
    Contains,
    Eq,
    FullText,
    In,
    Key,
    KeyPresent,
    Like,
    NotEq,
    NotIn,
    Regex,
    SpecsQuery,
    StructureFamilyQuery,
)

from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, eventually, publish, row, started, stopped

ROWS = 7


@pytest.fixture(params=["running", "finished"])
def run(request: pytest.FixtureRequest, writer: BlissdataWriter, client: Any) -> Iterator[Any]:
    """A run of all kinds of columns, while it goes on or after it stopped."""
    run = Run(scan_id=17, plan_name="scan")
    *documents, stop = run.whole(ROWS)
    publish(writer, documents)
    if request.param == "finished":
        publish(writer, [stop])
        yield stopped(client, run.uid)
    else:
        yield started(client, run.uid)
        publish(writer, [stop])


def test_found_by_uid_partial_uid_scan_id_and_position(run: Any, client: Any) -> None:
    uid = run.start["uid"]
    assert {client[key].start["uid"] for key in (uid, uid[:8], -1, 17)} == {uid}
    assert client.values().last().start["uid"] == uid
    assert len(client) == 1
    assert "17" in repr(client)
    assert uid[:8] in repr(run)
    with pytest.raises(KeyError):
        client["ffffffff"]


def test_start_and_stop_documents(run: Any, request: pytest.FixtureRequest) -> None:
    assert run.start["plan_name"] == "scan"
    if "finished" in request.node.name:
        assert run.stop["exit_status"] == "success"
    else:
        assert "stop" not in run.metadata


def test_stream_as_xarray(run: Any) -> None:
    data = run["primary"].read()
    expected = [row(i) for i in range(ROWS)]
    for key in ("number", "small", "integer", "boolean", "text", "spectrum", "image"):
        np.testing.assert_array_equal(data[key].values, np.array([values[key] for values in expected]))
    assert data["image"].dims == ("time", "dim_int_2", "dim_int_1")
    assert data["spectrum"].dims == ("time", "dim_int_1")
    assert {key: data[key].dtype.str for key in ("number", "small", "integer", "boolean", "spectrum", "image")} == {
        "number": "<f8",
        "small": "<f4",
        "integer": "<i8",
        "boolean": "|b1",
        "spectrum": "<u4",
        "image": "<u2",
    }
    assert set(run["primary"].read(["number"]).variables) == {"number"}


@pytest.mark.parametrize("name", ["internal", "internal/events"])
def test_table_as_data_frame(run: Any, name: str) -> None:
    frame = run["primary"].base[name].read()
    assert list(frame["seq_num"]) == list(range(1, ROWS + 1))
    assert list(frame["integer"]) == list(range(ROWS))
    assert list(frame["text"]) == [row(i)["text"] for i in range(ROWS)]
    np.testing.assert_allclose(frame["ts_number"], frame["time"] - 0.001)
    assert {"ts_image", "ts_spectrum"} < set(frame.columns)
    assert {"image", "spectrum"}.isdisjoint(frame.columns)
    assert list(run["primary"].base[name].read(["integer", "time"]).columns) == ["integer", "time"]


def test_list_columns(run: Any) -> None:
    # otherwise dask makes text of them, in stock Tiled too
    with dask.config.set({"dataframe.convert-string": False}):
        frame = run["primary"].base["internal"].read()
        data = run["primary"].read()
    for index in range(ROWS):
        for key in ("short", "ragged"):
            np.testing.assert_array_equal(frame[key][index], row(index)[key])
            np.testing.assert_array_equal(data[key].values[index], row(index)[key])


def test_columns_and_slices(run: Any) -> None:
    stream = run["primary"]
    np.testing.assert_array_equal(stream["integer"].read(), np.arange(ROWS))
    np.testing.assert_array_equal(stream["integer"][2:5], [2, 3, 4])
    np.testing.assert_array_equal(stream["integer"][::-2], [6, 4, 2, 0])
    np.testing.assert_array_equal(stream["short"][-1], row(ROWS - 1)["short"])
    assert stream["integer"][-1] == ROWS - 1
    assert list(stream["text"][:3]) == [row(i)["text"] for i in range(3)]
    assert stream["ragged"][1] == "[0.0,1.0]"
    np.testing.assert_array_equal(
        stream["image"][1:6:2, 2:4, 7], np.array([row(i)["image"] for i in (1, 3, 5)])[:, 2:4, 7]
    )
    np.testing.assert_array_equal(stream["image"].read_block((0, 0, 0), (0,)), row(0)["image"])
    np.testing.assert_array_equal(run["primary/integer"].read(), np.arange(ROWS))
    np.testing.assert_array_equal(stream.base["internal"]["seq_num"].read(), np.arange(1, ROWS + 1))
    assert stream["time"].shape == stream["ts_text"].shape == (ROWS,)


def test_stream_has_its_descriptor(run: Any) -> None:
    (descriptor,) = run["primary"].descriptors
    assert descriptor["name"] == "primary"
    assert descriptor["configuration"]["dev"]["data"] == {"gain": 3}
    assert descriptor["object_keys"]["dev"][0] == "number"
    assert run["primary"].base["image"].metadata["shape"] == [6, 40]
    assert list(run) == ["primary"]
    assert "primary" in repr(run)


def test_documents_are_those_that_were_emitted(run: Any, request: pytest.FixtureRequest) -> None:
    names = [name for name, _ in run.documents()]
    events = [document for name, document in run.documents() if name == "event"]
    assert names == ["start", "descriptor", *["event"] * ROWS, *(["stop"] if "finished" in request.node.name else [])]
    for index, event in enumerate(events):
        expected = row(index)
        assert list(event["data"]) == list(expected)
        for key, value in expected.items():
            assert event["data"][key] == (value.tolist() if isinstance(value, np.ndarray) else value)
        assert event["seq_num"] == index + 1


def test_version_2_client(run: Any, server: Any) -> None:
    # in a process of its own: `.v2` changes the client classes of all clients of its process
    code = f"""
from tiled.client import from_uri
run = from_uri({server.url!r})[{run.start["uid"]!r}].v2
print(run["primary"].read()["integer"].values.tolist())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split("\n")[-2] == str(list(range(ROWS)))


@pytest.fixture
def many(writer: BlissdataWriter, client: Any) -> tuple[Any, list[str]]:
    """Twenty finished runs, and one that goes on."""
    runs = [
        Run(
            began=1e9 + 60 * index,
            scan_id=index,
            plan_name="scan" if index % 2 else "count",
            sample={"name": "hg-0050" if index == 7 else "gold foil"},
            detectors=["det", f"cam{index}"],
            detail=None if index else "only here",
        )
        for index in range(1, 21)
    ]
    for run in runs:
        publish(writer, run.whole(1, ["number"]))
    eventually(lambda: len(client.search(KeyPresent("stop.time"))) == len(runs))
    return client, [run.uid for run in runs]


SEARCHES: list[tuple[Any, Any]] = [
    (Eq("scan_id", 5), [5]),
    (Key("scan_id") == 5, [5]),
    (Key("scan_id") > 18, [19, 20]),
    (NotEq("plan_name", "scan"), range(2, 21, 2)),
    (Eq("sample.name", "hg-0050"), [7]),
    (FullText("hg-0050"), [7]),
    (FullText("foil gold count"), range(2, 21, 2)),
    (TimeRange(since=1e9 + 60 * 4, until=1e9 + 60 * 6), [4, 5]),
    (ScanID(3), [3]),
    (ScanIDRange(3, 6), [3, 4, 5]),
    (In("scan_id", [1, 2, 99]), [1, 2]),
    (NotIn("scan_id", list(range(3, 21))), [1, 2]),
    (Regex("plan_name", "^sc.n$"), range(1, 21, 2)),
    (Regex("plan_name", "SCAN", case_sensitive=False), range(1, 21, 2)),
    (Comparison("le", "time", 1e9 + 120), [1, 2]),
    (Contains("detectors", "cam11"), [11]),
    (KeyPresent("sample.name"), range(1, 21)),
    (KeyPresent("nothing"), []),
    (Like("plan_name", "co%"), range(2, 21, 2)),
    (SpecsQuery(["BlueskyRun"]), range(1, 21)),
    (StructureFamilyQuery("container"), range(1, 21)),
]


@pytest.mark.usefixtures("many")
def test_searches(client: Any) -> None:
    for query, scan_ids in SEARCHES:
        found = client.search(query)
        assert [run.start["scan_id"] for run in found.values()] == list(scan_ids), query
        assert len(found) == len(list(scan_ids)), query


def test_search_by_uid_sorting_and_paging(many: tuple[Any, list[str]]) -> None:
    client, uids = many
    assert list(client.search(PartialUID(uids[3][:9]))) == [uids[3]]
    assert list(client) == uids
    assert list(client.keys()[:3]) == uids[:3]
    assert [run.start["scan_id"] for run in client.sort(("start.scan_id", -1)).values()[:3]] == [20, 19, 18]
    assert next(iter(client.sort(("start.plan_name", 1), ("start.time", -1)))) == uids[19]
    assert client[-2].start["uid"] == uids[18]
    assert [run.start["uid"] for run in client.values()[5:18]] == uids[5:18]
    counted = client.distinct("start.plan_name", counts=True)["metadata"]["start.plan_name"]
    assert {item["value"]: item["count"] for item in counted} == {"scan": 10, "count": 10}
