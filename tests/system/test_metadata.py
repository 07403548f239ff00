"""Whatever stands in start, stop and descriptors: accepted, kept, and shown by every reader; `scan.info` stays small."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

import bluesky.plans as bp
import numpy as np
import pytest
from blissdata import ScanState
from bluesky.run_engine import RunEngine
from ophyd.sim import det
from pydantic import BaseModel

from blissdata_bluesky.runs import ArchivedRuns, RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .archive_site import open_site
from .archived import assert_same_value
from .collected import load
from .emitted import NUMBER, EmittedRun, give
from .published import levels
from .tiled_runs import stopped

UID = uuid.UUID("00000000-0000-4000-8000-000000000001")
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.timezone(datetime.timedelta(hours=1)))


class Phase(enum.Enum):
    LIQUID = "liquid"


@dataclass
class Sample:
    name: str
    _batch: int


class Beam(BaseModel):
    energy: float


class Position(NamedTuple):
    x: float
    y: int


class Unknown:
    def __repr__(self) -> str:
        return "<unknown>"


def nested(depth: int) -> Any:
    value: Any = "the end"
    for _ in range(depth):
        value = {"x": [value]}
    return value


RECURSIVE: dict[str, Any] = {"name": "loop"}
RECURSIVE["self"] = RECURSIVE

# what was given, what our readers have, what Tiled has in JSON
METADATA: dict[str, tuple[Any, Any, Any]] = {
    "numpy_scalars": ([np.float32(0.5), np.int64(3), np.bool_(True)], [0.5, 3, True], [0.5, 3, True]),
    "array": (np.array([[1, 2]], ">i2"), np.array([[1, 2]], ">i2"), [[1, 2]]),
    "texts": (np.array(["a", "b"]), np.array(["a", "b"]), ["a", "b"]),
    "datetime": (MOMENT, MOMENT, MOMENT.isoformat()),
    "date": (datetime.date(2026, 1, 2), datetime.date(2026, 1, 2), "2026-01-02"),
    "datetime64": (np.datetime64("2026-01-02"), np.array("2026-01-02", "M8[D]"), "2026-01-02"),
    "path": (PurePosixPath("/data"), "/data", "/data"),
    "tuple": ((1, (2, "a")), [1, [2, "a"]], [1, [2, "a"]]),
    "named_tuple": (Position(0.5, 1), [0.5, 1], [0.5, 1]),
    "set": ({3}, [3], [3]),
    "frozenset": (frozenset({"a"}), ["a"], ["a"]),
    "keys": ({1: "a", (2, 3): "b", None: "c"}, *[{"1": "a", "(2, 3)": "b", "None": "c"}] * 2),
    "colliding_keys": ({1: "a", "1": "b", "int(1)": "c"}, *[{"int(1)'": "a", "1": "b", "int(1)": "c"}] * 2),
    "enum_keys": ({Phase.LIQUID: 1}, *[{"Phase.LIQUID": 1}] * 2),
    "not_finite": ([math.nan, math.inf, -math.inf], [math.nan, math.inf, -math.inf], [None, None, None]),
    "bytes": (b"\x00\xff", b"\x00\xff", "data:application/octet-stream;base64,AP8="),
    "complex": (1 + 2j, 1 + 2j, "(1+2j)"),
    "large": (2**70, 2**70, str(2**70)),
    "enum": (Phase.LIQUID, "liquid", "liquid"),
    "uuid": (UID, str(UID), str(UID)),
    "decimal": (decimal.Decimal("1.10"), "Decimal('1.10')", "Decimal('1.10')"),
    "dataclass": (Sample("LaB6", 7), {"name": "LaB6", "_batch": 7}, {"name": "LaB6", "_batch": 7}),
    "model": (Beam(energy=12.4), {"energy": 12.4}, {"energy": 12.4}),
    "proxy": (MappingProxyType({"a": (1,)}), {"a": [1]}, {"a": [1]}),
    "unknown": (Unknown(), "<unknown>", "<unknown>"),
    "recursive": (RECURSIVE, *[{"name": "loop", "self": "<the dict that this stands in>"}] * 2),
    "nul": ("a\0b", "a\0b", "a\\x00b"),
}
GIVEN, KEPT, SHOWN = ({key: each[i] for key, each in METADATA.items()} for i in range(3))


def emit(metadata: Mapping[str, Any]) -> EmittedRun:
    """A run that has the metadata everywhere."""
    run = EmittedRun(plan_name="count")
    run.documents[0][1]["md"] = metadata
    [(_, descriptor)] = run.describe(data_keys={"number": NUMBER})
    descriptor["configuration"] = {"dev": {"data": metadata, "timestamps": {}, "data_keys": {}}}
    descriptor["hints"] = {"dev": {"fields": ["number"], "md": metadata}}
    run.event({"number": 1.5})
    [(_, stop)] = run.stop()
    stop["md"] = metadata
    return run


def everywhere(run: Any) -> list[Any]:
    """The metadata of an `emit`ted run of ours."""
    [descriptor] = run.streams["primary"].descriptors
    return [
        run.start["md"],
        descriptor["configuration"]["dev"]["data"],
        descriptor["hints"]["dev"]["md"],
        run.stop["md"],
    ]


def test_every_type_is_kept_and_shown(
    redis_url: str, tmp_path: Path, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    emitted = emit(GIVEN)
    with open_site(redis_url, tmp_path) as site:
        site.give(emitted.documents)
        site.archive()
        with RedisRuns(redis_url) as live, ArchivedRuns(site.root) as files:
            for run in (live.get(emitted.uid), files.get(emitted.uid, site.hint(emitted.uid))):
                for found in everywhere(run):
                    assert_same_value(found, KEPT)
    served = stopped(client, emitted.uid)
    assert served.metadata["start"]["md"] == SHOWN
    assert served.metadata["stop"]["md"] == SHOWN
    assert served["primary"].metadata["configuration"]["dev"]["data"] == SHOWN
    [start, *_] = served.documents()
    assert start[1]["md"].keys() == GIVEN.keys()
    assert load(redis_url, emitted.uid).state == ScanState.CLOSED
    assert levels(caplog) == []


def test_deep_nesting_is_kept(writer: BlissdataWriter, runs: RedisRuns, client: Any) -> None:
    emitted = emit({"nested": nested(200)})
    give(writer, emitted.documents)
    kept = everywhere(runs.get(emitted.uid))[0]["nested"]
    depth = 0
    while isinstance(kept, dict):
        [kept] = kept["x"]
        depth += 1
    # what msgpack and JSON do not go down to is there as text
    assert depth >= 40
    assert kept == repr(nested(200 - depth))
    assert "the end" in json.dumps(stopped(client, emitted.uid).metadata["start"]["md"])


LARGE = {
    "text": lambda size: "y" * size,
    "keys": lambda size: {f"key {i}": i / 7 for i in range(size // 30)},
    "numbers as keys": lambda size: {i: i / 7 for i in range(size // 25)},
    "list": lambda size: [i / 7 for i in range(size // 18)],
}


@pytest.mark.parametrize("size", [5_000_000], ids=["5 MB"])
@pytest.mark.parametrize(
    "kind", ["text", *(pytest.param(kind, marks=pytest.mark.long) for kind in LARGE if kind != "text")]
)
def test_megabytes_are_kept_and_the_scan_stays_small(
    redis_url: str, tmp_path: Path, client: Any, caplog: pytest.LogCaptureFixture, kind: str, size: int
) -> None:
    assert_large_is_kept(redis_url, tmp_path, client, LARGE[kind](size))
    assert levels(caplog) == []


@pytest.mark.parametrize("kind", [kind for kind in LARGE if kind != "text"])
def test_what_is_too_large_for_a_scan_is_kept(redis_url: str, tmp_path: Path, client: Any, kind: str) -> None:
    assert_large_is_kept(redis_url, tmp_path, client, LARGE[kind](1_200_000))


def assert_large_is_kept(redis_url: str, tmp_path: Path, client: Any, large: Any) -> None:
    emitted = EmittedRun(plan_name="count")
    emitted.documents[0][1]["md"] = large
    emitted.describe(data_keys={"number": NUMBER})
    emitted.event({"number": 1.5})
    emitted.stop()
    with open_site(redis_url, tmp_path) as site:
        began = time.perf_counter()
        site.writer(*emitted.documents[0])
        print(f"the callback took {1000 * (time.perf_counter() - began):.1f} ms")
        site.give(emitted.documents[1:])
        site.archive()
        info = load(redis_url, emitted.uid).info
        assert len(json.dumps(info)) < 1_000_000
        assert info["bluesky"]["left_out"] == ["start"]
        kept = {str(key): value for key, value in large.items()} if isinstance(large, dict) else large
        with RedisRuns(redis_url) as live, ArchivedRuns(site.root) as files:
            for run in (live.get(emitted.uid), files.get(emitted.uid, site.hint(emitted.uid))):
                assert run.start["md"] == kept
    assert stopped(client, emitted.uid).metadata["start"]["md"] == kept


def test_what_a_run_engine_takes_is_kept(RE: RunEngine, writer: BlissdataWriter, runs: RedisRuns, client: Any) -> None:
    RE.subscribe(writer)
    # event-model refuses keys that are no strings and what holds itself; a RunEngine, what cannot be copied
    taken = METADATA.keys() - {"keys", "colliding_keys", "enum_keys", "recursive", "proxy"}
    (uid,) = RE(bp.count([det]), **{key: GIVEN[key] for key in taken})
    assert writer.flush(90)
    start, shown = runs.get(uid).start, stopped(client, uid).metadata["start"]
    for key in taken:
        assert_same_value(start[key], KEPT[key])
        assert shown[key] == SHOWN[key]


@pytest.mark.parametrize(
    "odd",
    [
        dict.fromkeys(("plan_name", "sample_name", "data_session", "beamline_id", "operator"), "p�"),
        {"plan_name": 10**5000, "operator": 10**5000, "motors": [10**5000], "sample_name": 10**5000},
        {"scan_id": 10**5000, "num_points": 10**5000, "hints": {"dimensions": [[[10**5000], "primary"]]}},
        {"extents": [[float("nan"), 10**5000]], "shape": [10**5000], "motors": ["m"], "snaking": 10**5000},
    ],
    ids=["lone surrogates", "huge integers", "huge numbers", "a huge grid"],
)
def test_what_a_scan_is_made_of_may_be_anything(
    redis_url: str, tmp_path: Path, odd: dict[str, Any], client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    emitted = EmittedRun()
    emitted.documents[0][1].update(odd)
    emitted.describe(data_keys={"number": {"dtype": "number", "shape": []}})
    emitted.event({"number": 1.5})
    ((_, stop),) = emitted.stop()
    stop["exit_status"] = next(iter(odd.values()))
    with open_site(redis_url, tmp_path) as site:
        site.give(emitted.documents)
        site.archive()
        with RedisRuns(redis_url) as live, ArchivedRuns(site.root) as files:
            for run in (live.get(emitted.uid), files.get(emitted.uid, site.hint(emitted.uid))):
                assert list(run.streams["primary"].read("number")) == [1.5]
                assert run.closed
    served = stopped(client, emitted.uid)
    assert served.metadata["start"].keys() >= odd.keys()
    assert [name for name, _ in served.documents()] == ["start", "descriptor", "event", "stop"]
    assert load(redis_url, emitted.uid).state == ScanState.CLOSED
    assert levels(caplog) == []
