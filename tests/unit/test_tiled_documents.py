"""Documents as text."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from blissdata_bluesky.tiled.documents import sequence


def read(documents: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    records = "".join(sequence(documents)).split("\x1e")
    assert records[0] == ""
    assert all(record.endswith("\n") for record in records[1:])
    found = [json.loads(record) for record in records[1:]]
    return [(item["name"], item["doc"]) for item in found]


def test_values_stay_what_they_are() -> None:
    data = {
        "array": np.arange(6, dtype="<u2").reshape(2, 3),
        "scalar": np.float32(0.5),
        "big": 2**70,
        "nan": float("nan"),
        "nans": np.array([np.nan, 1.0]),
        "text": np.str_("a"),
        "bytes": b"x",
        "none": None,
        "long": np.longdouble("0.5"),
        "longs": np.array([1, 2], np.longdouble),
        "long complex": np.clongdouble(1),
        "record": np.array([(1, np.nan, b"x")], [("a", "<i4"), ("b", "<f8"), ("c", "S1")]),
        "void": np.void(b"x"),
    }
    ((name, document),) = read([("event", {"data": data})])
    found = document["data"]
    assert name == "event"
    assert found["array"] == [[0, 1, 2], [3, 4, 5]]
    assert (found["scalar"], found["big"], found["text"], found["none"]) == (0.5, 2**70, "a", None)
    assert (found["long"], found["longs"], found["long complex"]) == (0.5, [1.0, 2.0], "(1+0j)")
    assert math.isnan(found["nan"])
    assert math.isnan(found["nans"][0])
    assert found["bytes"].startswith("data:") and found["void"] == found["bytes"]
    ((a, b, c),) = found["record"]
    assert a == 1 and math.isnan(b) and c == found["bytes"]


def test_a_datum_becomes_a_page() -> None:
    datum = {"resource": "r", "datum_id": "r/0", "datum_kwargs": {"i": 0}}
    assert read([("datum", datum)]) == [
        ("datum_page", {"resource": "r", "datum_id": ["r/0"], "datum_kwargs": {"i": [0]}})
    ]


def test_portions_are_bounded() -> None:
    event = ("event", {"data": {"x": "y" * 1000}})
    portions = list(sequence([event] * 1000))
    assert len(portions) > 2
    assert max(map(len, portions)) < 300_000
    assert list(sequence([])) == [""]
