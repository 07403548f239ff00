"""Documents as bytes and back: nothing that a document may hold changes on the way."""

from __future__ import annotations

import datetime
import enum
import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from blissdata_bluesky.packing import pack, pack_and_copy, pack_document, unpack, unpack_document

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.binary()
    | st.complex_numbers()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
)
DTYPES = (
    hnp.scalar_dtypes()
    | hnp.byte_string_dtypes(min_len=1)
    | hnp.unicode_string_dtypes(min_len=1)
    | hnp.array_dtypes(allow_subarrays=False)
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


def same(one: Any, other: Any) -> bool:
    """Equal in value and type, NaN equal to NaN."""
    match one:
        case np.ndarray():
            return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
        case list():
            return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
        case dict():
            return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
        case float():
            # np.float64 is a float that holds the same
            return isinstance(other, float) and repr(float(one)) == repr(float(other))
        case complex():
            return type(one) is type(other) and repr(one) == repr(other)
    return type(one) is type(other) and bool(one == other)


@given(VALUES)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    assert same(value, unpack(pack(value)))


@given(ARRAYS)
def test_every_array_keeps_dtype_shape_and_bytes(array: np.ndarray[Any, Any]) -> None:
    assert same(array, unpack(pack({"deep": [array]}))["deep"][0])


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f2", "<c8", "<u8", ">i2", "?", "<M8[ns]", "<m8[s]", "<U3", "|S4"])
def test_empty_zero_dimensional_and_strided_arrays_come_back(dtype: str) -> None:
    for array in (np.zeros(0, dtype), np.zeros((3, 0, 2), dtype), np.zeros((), dtype), np.ones((4, 4)).astype(dtype).T):
        assert same(array, unpack(pack(array)))


def test_structured_arrays_come_back() -> None:
    array = np.array([(1, 2.5, b"x", [1, 2])], [("a", "<i4"), ("b", ">f8"), ("c", "S3"), ("d", "<u2", (2,))])
    assert same(array, unpack(pack(array)))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({1: "a", None: "b", (2, 3): "c"}, {"1": "a", "None": "b", "(2, 3)": "c"}),
        ({"x": [{2.5: {True: 1}}]}, {"x": [{"2.5": {"True": 1}}]}),
        (deque([{1: 2}]), [{"1": 2}]),
        ({3}, [3]),
        ((1, (2,)), [1, [2]]),
        (MappingProxyType({1: 2}), {"1": 2}),
        (OrderedDict(a=1), {"a": 1}),
        (Path("/a/b"), "/a/b"),
        (bytearray(b"x"), b"x"),
        (np.array([{"a": 1}, None], object), [{"a": 1}, None]),
        (np.array([{1: {2}}], object), [{"1": [2]}]),
        (np.float32(0.5), 0.5),
        (np.str_("a"), "a"),
        (np.bytes_(b"a"), b"a"),
        (enum.Enum("Colour", "RED").RED, 1),  # type: ignore[attr-defined]
        ("\ud800", "\\ud800"),
        ({"\ud800": ["\udfff"]}, {"\\ud800": ["\\udfff"]}),
        (2**64, 2**64),
        (-(2**200), -(2**200)),
        (np.ma.masked_array([1, 2], [False, True]), [1, None]),
    ],
)
def test_what_msgpack_lacks_becomes_what_the_format_has(given: Any, found: Any) -> None:
    assert same(unpack(pack(given)), found)


class Stubborn:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class Unwilling(Stubborn):
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize("hostile", [Stubborn(), Unwilling(), lambda: 0, object, iter([1])])
def test_no_object_is_refused(hostile: Any) -> None:
    assert isinstance(unpack(pack({"x": hostile}))["x"], str)
    assert isinstance(unpack(pack({1: hostile}))["1"], str)


@pytest.mark.parametrize("depth", [90, 250, 254, 300, 5000])
def test_deep_nesting_is_packed_and_can_be_unpacked(depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = {"x": [value]}
    assert unpack_document(pack_document("start", {"deep": value}))[1]["deep"]["x"]


def test_a_value_that_holds_itself_is_packed() -> None:
    cycle: list[Any] = []
    cycle += [cycle, cycle]
    assert unpack(pack({"x": cycle}))["x"]


def test_a_torn_document_is_refused_with_a_value_error() -> None:
    whole = pack_document("event", {"data": {"a": np.arange(3), "b": 2**70}})
    for end in range(len(whole)):
        with pytest.raises(ValueError):
            unpack_document(whole[:end])


def event(**data: Any) -> dict[str, Any]:
    return {"descriptor": "d", "seq_num": 1, "time": 1.0, "data": data, "timestamps": dict.fromkeys(data, 1.0)}


NUMPY_SCALARS = [np.dtype(code).type(1) for code in "?bBhHiIlLqQefdgFD"]


@pytest.mark.parametrize(
    "document",
    [
        event(a=1.5, b=2, c=True, d="x", e=None),
        event(a=2**64),
        event(a="\ud800"),
        event(a=[1, 2]),
        event(a=np.arange(3)),
        event(**{f"k{i}": value for i, value in enumerate(NUMPY_SCALARS)}),
        {**event(a=1.0), "data": {1: 2.0}},
        {**event(a=1.0), "seq_num": np.int64(3)},
        {**event(a=1.0), "time": np.float64(3)},
        {**event(a=1.0), "data": None},
        {**event(a=1.0), "filled": {"a": False}},
    ],
)
def test_memory_and_journal_hold_the_same_event(document: dict[str, Any]) -> None:
    packed, copy = pack_and_copy("event", document)
    from_journal = unpack_document(packed)[1]
    assert copy is None or same(dict(copy), from_journal)


@given(st.dictionaries(TEXTS, st.floats() | st.integers() | st.booleans() | TEXTS | st.none()))
def test_an_event_of_scalars_comes_back(data: Mapping[str, Any]) -> None:
    assert same(unpack_document(pack_document("event", event(**data)))[1], event(**data))


def test_nothing_refers_to_the_callers_objects() -> None:
    document = event(a=1.0)
    _, copy = pack_and_copy("event", document)
    document["data"]["a"] = 2.0
    document["timestamps"].clear()
    document["seq_num"] = 7
    assert copy == event(a=1.0)


def test_float32_scalars_are_not_rounded_further() -> None:
    value = unpack_document(pack_document("event", event(a=np.float32(0.1))))[1]["data"]["a"]
    assert math.isclose(value, 0.1, rel_tol=1e-7) and np.float32(value) == np.float32(0.1)
