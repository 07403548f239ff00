"""Metadata that every database and client takes."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.catalog import clean, clean_mapping


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("-inf"), None),
        (np.float32(0.5), 0.5),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([np.nan, 1]), [None, 1.0]),
        (np.array("text"), "text"),
        (np.array(["2026-01-01"], "M8[D]"), ["2026-01-01"]),
        ((1, {2}), [1, [2]]),
        ({1: 2, None: 3}, {"1": 2, "None": 3}),
        (2**63, str(2**63)),
        (b"\x00\xff", "data:application/octet-stream;base64,AP8="),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "2026-01-02T00:00:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        ("a\0b", "a\\x00b"),
        ("\ud800", "\\ud800"),
        (1 + 2j, "(1+2j)"),
        (Path("/data"), "/data"),
    ],
    ids=repr,
)
def test_values(value: Any, expected: Any) -> None:
    assert clean(value) == expected


def test_deep_and_strange_documents() -> None:
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    assert json.dumps(clean_mapping({"deep": deep, 5: object()}))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(_values)
def test_anything_becomes_strict_json(value: Any) -> None:
    text = json.dumps(clean(value), allow_nan=False)
    assert "\\u0000" not in text
    assert clean(json.loads(text)) == clean(value)
