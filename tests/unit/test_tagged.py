"""Tagged JSON: every value comes back exactly."""

from __future__ import annotations

import datetime
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.protocol import MISSING, dump_json, load_json

from .test_packing import ARRAYS, same

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.dates()
    | st.timedeltas()
    | st.just(MISSING)
    | ARRAYS
)
KEYS = st.sampled_from(["$type", "value", "a"]) | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


@given(VALUES)
def test_every_value_comes_back(value: Any) -> None:
    assert same(value, load_json(dump_json(value)))


@pytest.mark.parametrize("value", [1, "a", None, True, 1.5, {"a": [1, {"b": 2.0}]}, [], {}])
def test_what_json_has_is_plain_json(value: Any) -> None:
    assert json.loads(dump_json(value)) == value


@pytest.mark.parametrize("value", [np.int64(3), np.uint64(2**64 - 1), np.bool_(True), np.float64(0.1), np.float32(0.1)])
def test_numpy_scalars_are_plain_numbers(value: Any) -> None:
    assert json.loads(dump_json(value)) == value.item()


@pytest.mark.parametrize("value", [np.complex64(1 + 2j), np.float64("nan"), np.datetime64("2026-01-01", "ns")])
def test_other_numpy_scalars_come_back_with_their_value(value: Any) -> None:
    assert same(np.asarray(value), np.asarray(load_json(dump_json(value)), value.dtype))


@pytest.mark.parametrize("value", [10**4000, -(10**5000), {"a": [10**9000]}], ids=["long", "longer", "nested"])
def test_integers_that_python_does_not_print_come_back(value: Any) -> None:
    assert load_json(dump_json(value)) == value
