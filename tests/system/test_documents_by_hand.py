"""Documents that no plan emits easily: every kind that event-model knows, given straight to the writer."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from .emitted import INTEGER, NUMBER, EmittedRun, Named
from .fidelity import Followed, Station, assert_documents

TEXT = {"dtype": "string", "shape": []}
FRAMES = {"dtype": "array", "dtype_numpy": "<u2", "shape": [2, 4, 3], "external": "STREAM:"}
SUMS = {"dtype": "number", "dtype_numpy": "<f8", "shape": [2], "external": "STREAM:"}
STORED = {"dtype": "array", "shape": [4, 3], "external": "FILESTORE:"}

pytestmark = pytest.mark.leaves("thread", reason="the pool of the module's Tiled server grows when it has to")


def configured(gain: float) -> dict[str, Any]:
    """The configuration of a device."""
    data_keys = {"gain": {"source": "sim", **NUMBER}, "names": {"source": "sim", "dtype": "array", "shape": [2]}}
    data = {"gain": gain, "names": ["a", "b"], "table": np.arange(6, dtype="<u2").reshape(2, 3)}
    return {"data": data, "timestamps": {"gain": gain / 4, "names": 1.5, "table": 2.5}, "data_keys": data_keys}


def described(run: EmittedRun, gain: float, **data_keys: Mapping[str, Any]) -> dict[str, Any]:
    """A descriptor of `primary` with all that it may have; further ones change it."""
    ((_, document),) = run.describe(data_keys={"x": NUMBER, "text": TEXT, **data_keys})
    for data_key in document["data_keys"].values():
        data_key |= {"object_name": "dev", "units": "mm", "precision": 3, "limits": {"control": {"low": 0, "high": 1}}}
    document["hints"] = {"dev": {"fields": ["x"], "gridding": "rectilinear"}}
    document["object_keys"] = {"dev": list(document["data_keys"])}
    document["configuration"] = {"dev": configured(gain)}
    return document


def page(descriptor: str, seq_nums: list[int], times: list[float]) -> Named:
    """An event_page of `x` and `text`."""
    data = {"x": [seq_num / 2 for seq_num in seq_nums], "text": [f"row {seq_num}" for seq_num in seq_nums]}
    uids = [f"{descriptor}/{seq_num}" for seq_num in seq_nums]
    document = {"descriptor": descriptor, "seq_num": seq_nums, "time": times, "uid": uids, "data": data, "filled": {}}
    return "event_page", {**document, "timestamps": dict.fromkeys(data, times)}


def stream_resource(run: EmittedRun, name: str, key: str, **parameters: Any) -> None:
    run.other(
        "stream_resource",
        {"uid": f"{run.uid}/{name}", "run_start": run.uid, "data_key": key, "mimetype": "application/x-hdf5"}
        | {"uri": f"file://localhost/data/{name}.h5", "parameters": {"dataset": f"/{key}", **parameters}},
    )


def stream_datum(run: EmittedRun, name: str, descriptor: str, indices: range, seq_nums: range) -> None:
    resource = f"{run.uid}/{name}"
    run.other(
        "stream_datum",
        {"uid": f"{resource}/{indices.start}", "stream_resource": resource, "descriptor": descriptor}
        | {"indices": {"start": indices.start, "stop": indices.stop}}
        | {"seq_nums": {"start": seq_nums.start, "stop": seq_nums.stop}},
    )


def changed_descriptors() -> EmittedRun:
    """Another configuration, and then other hints and another data key."""
    run = EmittedRun(plan_name="changed")
    described(run, 1.0)
    run.event({"x": 1.0, "text": "a"}, seq_num=1)
    run.event({"x": 2.0, "text": "b"}, seq_num=2)
    described(run, float("nan"))
    run.event({"x": 3.0, "text": "c"}, seq_num=3)
    described(run, 3.0)["hints"] = {}
    run.documents[-1][1]["configuration"]["another"] = configured(4.0)
    run.event({"x": 4.0, "text": "d"}, seq_num=4)
    return run


def earlier_descriptors() -> EmittedRun:
    """Events and pages of an earlier descriptor, as of monitors, between those of the latest one."""
    run = EmittedRun()
    first = described(run, 1.0)["uid"]
    run.event({"x": 1.0, "text": "first"}, seq_num=1)
    second = described(run, 2.0)["uid"]
    for seq_num, uid in enumerate([second, first, first, second], 2):
        ((_, event),) = run.event({"x": seq_num / 2, "text": uid}, seq_num=seq_num)
        event["descriptor"] = uid
    run.other(*page(first, [6, 7], [1.7e9 + 5, 1.7e9 + 6]))
    run.other(*page(second, [8], [1.7e9 + 7]))
    return run


def pages() -> EmittedRun:
    """Pages of any length, among them empty ones, between events; another stream beside them."""
    run = EmittedRun()
    first = described(run, 1.0)["uid"]
    ((_, dark),) = run.describe("dark", {"x": NUMBER, "text": TEXT})
    run.other(*page(first, [], []))
    run.other(*page(first, [1, 2, 3], [1.7e9 + 0.51, 1.7e9 + 0.53, 1.7e9 + 0.55]))
    run.other(*page(dark["uid"], [1, 2], [1.7e9 + 0.52, 1.7e9 + 0.54]))
    run.other(*page(dark["uid"], [], []))
    run.event({"x": 0.5, "text": "between"}, seq_num=4)
    run.other(*page(first, [5], [1.7e9 + 6]))
    return run


def bulk_events() -> EmittedRun:
    """What flyers emitted long ago: events of several streams in one document."""
    run = EmittedRun()
    uids = [described(run, 1.0)["uid"], run.describe("dark", {"x": NUMBER})[0][1]["uid"]]
    events: dict[str, list[Any]] = {uid: [] for uid in uids}
    for row, uid in itertools.product(range(3), uids):
        data = {"x": row / 3, "text": str(row)} if uid == uids[0] else {"x": float(row)}
        now = 1.7e9 + row + uids.index(uid) / 2
        event = {"uid": f"{uid}/{row}", "descriptor": uid, "seq_num": row + 1, "time": now, "data": data}
        events[uid].append({**event, "timestamps": dict.fromkeys(data, now), "filled": {}})
    run.other("bulk_events", events)
    return run


def datums() -> EmittedRun:
    """Resources with datums in every form, alone and in pages."""
    run = EmittedRun()
    run.describe(data_keys={"x": NUMBER, "cam": STORED, "other": STORED})
    first, second = f"{run.uid}/1", f"{run.uid}/2"
    for uid in (first, second):
        resource = {"uid": uid, "run_start": run.uid, "spec": "AD_HDF5", "root": "/data", "path_semantics": "posix"}
        run.other("resource", {**resource, "resource_path": "a.h5", "resource_kwargs": {"frame_per_point": 2}})
    run.other("datum", {"resource": first, "datum_id": "a", "datum_kwargs": {"point": 0, "gain": float("inf")}})
    page = {"resource": second, "datum_id": ["b", "c"], "datum_kwargs": {"point": [0, 1], "scale": [0.5, 1.5]}}
    run.other("datum_page", page)
    run.other("datum_page", {"resource": second, "datum_id": [], "datum_kwargs": {}})
    bulk = {"resource": first, "datum_ids": ["d", "e"], "datum_kwarg_list": [{"point": 2}, {"point": 3}]}
    run.other("bulk_datum", bulk)
    stored(run, "a", "b")
    stored(run, "a", "c")
    stored(run, "d", "e")
    return run


def stored(run: EmittedRun, cam: str, other: str) -> None:
    """An event whose frames are elsewhere."""
    ((_, event),) = run.event({"x": 1.5, "cam": cam, "other": other})
    event["filled"] = {"cam": False, "other": False}


def stream_datums() -> EmittedRun:
    """Several keys, the files of one after another, ranges of any length, datums before and after their events."""
    run = EmittedRun()
    ((_, descriptor),) = run.describe(data_keys={"frames": FRAMES, "x": NUMBER, "sums": SUMS})
    uid = descriptor["uid"]
    stream_resource(run, "a", "frames", join_method="stack", chunk_shape=(1, 4, 3))
    stream_resource(run, "s", "sums", join_method="concat", chunk_shape=[1024], swmr=True)
    stream_datum(run, "a", uid, range(2), range(1, 3))
    run.event({"x": 0.5})
    stream_datum(run, "s", uid, range(1), range(1, 2))
    run.event({"x": 1.5})
    stream_resource(run, "b", "frames", join_method="stack", chunk_shape=[1, 4, 3], template="%05d.tif")
    stream_datum(run, "s", uid, range(1, 3), range(2, 4))
    stream_datum(run, "b", uid, range(1), range(3, 4))
    stream_datum(run, "b", uid, range(1, 1), range(4, 4))
    run.event({"x": 2.5})
    return run


def only_stream_datums() -> EmittedRun:
    """A stream without events."""
    run = EmittedRun()
    ((_, descriptor),) = run.describe(data_keys={"frames": FRAMES})
    stream_resource(run, "a", "frames")
    stream_datum(run, "a", descriptor["uid"], range(100), range(1, 101))
    return run


def nothing() -> EmittedRun:
    """No stream at all."""
    return EmittedRun(plan_name="nothing")


def rewound_streams() -> EmittedRun:
    """Two streams side by side, one of which is rewound."""
    run = EmittedRun()
    run.describe(data_keys={"x": INTEGER})
    run.describe("ring_monitor", {"current": NUMBER})
    for row, seq_num in enumerate([1, 2, 3, 2, 3, 4]):
        run.event({"x": row}, seq_num=seq_num)
        run.event({"current": row / 4}, "ring_monitor")
    return run


def equal_times() -> EmittedRun:
    """Events and pages of three streams, many with the same times; those of the last stream come late, by turns."""
    run = EmittedRun()
    names = {name: run.describe(name, {"x": INTEGER})[0][1]["uid"] for name in "abc"}
    chosen, latest = random.Random(3), dict.fromkeys(names, 0.0)
    for row in range(120):
        name = chosen.choice("abc")
        # of one stream, none comes late
        latest[name] = max(latest[name], 1.7e9 + row // 6 - (name == "c" and 2 + row // 30))
        if row % 20 == 19:
            times = [latest[name] + later for later in (0, 0, 1, 2)]
            run.other(*x_page(names[name], 1000 + row, times))
            latest[name] = times[-1]
        else:
            ((_, event),) = run.event({"x": row}, name)
            event["time"] = latest[name]
    return run


def x_page(descriptor: str, seq_num: int, times: list[float]) -> Named:
    """An event_page of `x`."""
    columns = {"seq_num": [seq_num] * len(times), "time": times, "uid": [f"{seq_num}"] * len(times)}
    rows = {"data": {"x": [*range(len(times))]}, "timestamps": {"x": times}, "filled": {}}
    return "event_page", {"descriptor": descriptor, **columns, **rows}


def odd_timestamps() -> EmittedRun:
    """Times of readings that are no float64: none, a text, nanoseconds; and of a key that the descriptor lacks."""
    run = EmittedRun()
    uid = run.describe(data_keys={"x": NUMBER, "y": NUMBER})[0][1]["uid"]
    for row, at in enumerate((None, 1.7e9, "2026-01-01T00:00:00", 1796038724532648801, 2**70, float("inf"), 5)):
        ((_, event),) = run.event({"x": float(row), "y": 0.5, "unheard of": row})
        event["timestamps"] |= {"x": at, "unheard of": row / 3}
    stamps = {"x": [None, 1.5], "y": [1, 2**63 - 1]}
    columns = {"seq_num": [8, 9], "time": [1.7e9 + 100, 1.7e9 + 101], "uid": ["8", "9"], "filled": {}}
    run.other(
        "event_page", {"descriptor": uid, **columns, "data": {"x": [1.0, 2.0], "y": [3.0, 4.0]}, "timestamps": stamps}
    )
    return run


RUNS: tuple[Callable[[], EmittedRun], ...] = (
    changed_descriptors,
    earlier_descriptors,
    pages,
    bulk_events,
    datums,
    stream_datums,
    only_stream_datums,
    nothing,
    rewound_streams,
    equal_times,
)
STOPS: tuple[dict[str, Any], ...] = (
    {"exit_status": "success", "reason": "", "num_events": {"primary": 3, "dark": 0}},
    {"exit_status": "abort", "reason": "enough: “é”\n", "num_events": {}},
    {"exit_status": "fail", "reason": "x" * 10_000},
)
REASONS = {"success": "SUCCESS", "abort": "USER_ABORT", "fail": "FAILURE"}


@pytest.mark.parametrize("make", RUNS, ids=lambda make: make.__name__)
def test_documents(make: Callable[[], EmittedRun], station: Station) -> None:
    run, followed = make(), Followed(station)
    run.stop()
    for named in run.documents:
        followed(*named)
    followed.assert_faithful(run.uid)
    followed.assert_rows(run.uid)


def test_timestamps_that_are_no_floats(station: Station) -> None:
    run, followed = odd_timestamps(), Followed(station)
    run.stop()
    for named in run.documents:
        followed(*named)
    followed.assert_faithful(run.uid)
    table = station.client[run.uid]["primary"].base["internal"].read()
    np.testing.assert_array_equal(
        table["ts_x"], [np.nan, 1.7e9, np.nan, 1796038724532648801, 2.0**70, np.inf, 5, np.nan, 1.5]
    )


@pytest.mark.parametrize("stop", STOPS, ids=lambda stop: stop["exit_status"])
def test_stop_documents(stop: dict[str, Any], station: Station) -> None:
    run, followed = EmittedRun(), Followed(station)
    run.other("stop", {"uid": f"stop of {run.uid}", "run_start": run.uid, "time": 1.7e9 + 1, **stop})
    for named in run.documents:
        followed(*named)
    (_, served), *_ = reversed(followed.assert_faithful(run.uid))
    assert served == stop | {"uid": served["uid"], "run_start": run.uid, "time": 1.7e9 + 1}
    followed.assert_rows(run.uid, REASONS[stop["exit_status"]])


def test_a_broken_datum_is_left_out(station: Station) -> None:
    """It has no form that the client knows; the others can be read all the same."""
    run = EmittedRun()
    run.other("resource", {"uid": run.uid + "/r", "run_start": run.uid, "spec": "?", "resource_path": "", "root": ""})
    run.other("datum", {"resource": run.uid + "/r"})
    run.stop()
    followed = Followed(station)
    for named in run.documents:
        followed(*named)
    assert station.site.writer.flush(90)
    served = [name for name, _ in station.client[run.uid].documents()]
    assert served == ["start", "resource", "stop"]


def test_descriptors_of_a_stream_in_tiled(station: Station) -> None:
    """The client's own `descriptors` of a stream, which it builds from `_config_updates`."""
    run, followed = changed_descriptors(), Followed(station)
    run.stop()
    for named in run.documents:
        followed(*named)
    assert station.site.writer.flush(90)
    emitted = [document for name, document in run.documents if name == "descriptor"]
    found = station.client[run.uid]["primary"].descriptors
    assert [descriptor["uid"] for descriptor in found] == [descriptor["uid"] for descriptor in emitted]
    gains = [descriptor["configuration"]["dev"]["data"]["gain"] for descriptor in found]
    assert gains == [1.0, None, 3.0]
    assert found[0]["hints"] == emitted[0]["hints"] and found[0]["object_keys"] == emitted[0]["object_keys"]


def test_a_descriptor_that_events_return_to_is_listed_once(station: Station) -> None:
    run, followed = earlier_descriptors(), Followed(station)
    run.stop()
    for named in run.documents:
        followed(*named)
    followed.assert_faithful(run.uid)
    emitted = [document["uid"] for name, document in run.documents if name == "descriptor"]
    assert [descriptor["uid"] for descriptor in station.client[run.uid]["primary"].descriptors] == emitted


def test_a_run_that_somebody_holds(station: Station) -> None:
    """Documents that came since, of a run that was not refreshed: events come after what they refer to."""
    run, followed = EmittedRun(), Followed(station)
    described(run, 1.0)
    run.event({"x": 1.0, "text": "a"}, seq_num=1)
    for named in run.documents:
        followed(*named)
    assert station.site.writer.flush(90)
    held = station.runs.get(run.uid)
    known = len(run.documents)
    run.describe("dark", {"x": NUMBER})
    run.event({"x": 0.5}, "dark")
    described(run, 2.0)
    run.event({"x": 2.0, "text": "b"}, seq_num=2)
    for named in run.documents[known:]:
        followed(*named)
    assert station.site.writer.flush(90)
    assert_documents(held.documents(), run.documents)
    for named in run.stop():
        followed(*named)
    followed.assert_faithful(run.uid)
