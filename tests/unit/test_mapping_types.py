"""Which column a key becomes, and that no value is changed on its way into it."""

from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.packing import pack_document, unpack_document
from blissdata_bluesky.protocol import Encoding, JsonEncoding

from .documents import columns, declared, descriptor, event, events, numeric, operations, page, stop, values

ARRAY = {"dtype": "array"}


def encoding_of(data_key: dict[str, Any], *data: Any) -> Encoding:
    given = operations([descriptor(x={"shape": [], **data_key}), *events({"x": value} for value in data), stop()])
    found: Encoding = declared(given)["primary:x"]
    return found


@pytest.mark.parametrize(
    ("data_key", "first", "encoding"),
    [
        ({"dtype": "number"}, 1.5, numeric("<f8")),
        ({"dtype": "number"}, 1, numeric("<f8")),
        ({"dtype": "number", "dtype_numpy": "<f4"}, 0.5, numeric("<f4")),
        ({"dtype": "number", "dtype_numpy": "<f4"}, 0.1, numeric("<f8")),
        ({"dtype": "integer"}, 1, numeric("<i8")),
        ({"dtype": "integer"}, 1.5, numeric("<f8")),
        ({"dtype": "integer"}, 2.0, numeric("<i8")),
        ({"dtype": "integer", "dtype_numpy": "<u8"}, 2**64 - 1, numeric("<u8")),
        ({"dtype": "integer", "dtype_numpy": ">i2"}, 5, numeric("<i2")),
        ({"dtype": "integer"}, 2**64 - 1, numeric("<i8")),
        ({"dtype": "boolean"}, True, numeric("|b1")),
        ({"dtype": "string"}, "a", JsonEncoding()),
        ({"dtype": "string"}, 5, JsonEncoding()),
        ({"dtype": "number"}, "a", numeric("<f8")),
        ({"dtype": "number"}, None, numeric("<f8")),
        ({"dtype": "unheard of"}, 1.5, numeric("<f8")),
        ({"dtype": "unheard of"}, {"a": 1}, JsonEncoding()),
        ({"dtype": "array", "shape": [2]}, [1, 2], numeric("<i8", 2)),
        ({"dtype": "array", "shape": [2]}, np.ones(2, ">f4"), numeric("<f4", 2)),
        ({"dtype": "array", "shape": [2], "dtype_numpy": "<f8"}, np.ones(2, "<u2"), numeric("<u2", 2)),
        ({"dtype": "array", "shape": [3]}, [1.5, 2], numeric("<f8", -1)),
        ({"dtype": "array", "shape": [None]}, [1.5], numeric("<f8", -1)),
        ({"dtype": "array", "shape": [0]}, [], numeric("<f8", -1)),
        ({"dtype": "array", "shape": [2, None]}, np.ones((2, 3)), numeric("<f8", 2, -1)),
        ({"dtype": "array", "shape": []}, np.ones((2, 3)), numeric("<f8", 2, 3)),
        ({"dtype": "array", "shape": [2]}, ["a", "b"], JsonEncoding()),
        ({"dtype": "array", "shape": [2]}, [[1], [1, 2]], JsonEncoding()),
        ({"dtype": "array", "shape": [2], "external": "FILESTORE:"}, "datum/0", JsonEncoding()),
        ({"dtype": "array", "shape": [5, 5], "dtype_numpy": [["a", "<f4"]]}, np.ones((5, 5)), numeric("<f8", 5, 5)),
        ({"dtype": "number", "dtype_numpy": "<f16"}, 1.5, numeric("<f8")),
        ({"dtype": "number", "shape": "nonsense"}, 1.5, numeric("<f8")),
        ({"dtype": "number"}, 1 + 2j, numeric("<c16")),
    ],
)
def test_the_first_value_settles_what_the_descriptor_says(
    data_key: dict[str, Any], first: Any, encoding: Encoding
) -> None:
    assert encoding_of(data_key, first) == encoding


@pytest.mark.parametrize(
    ("data_key", "encoding"),
    [
        ({"dtype": "number"}, numeric("<f8")),
        ({"dtype": "integer"}, numeric("<i8")),
        ({"dtype": "array", "shape": [4, None]}, numeric("<f8", 4, -1)),
        ({"dtype": "array", "shape": [4], "dtype_numpy": "<f16"}, numeric("<f8", 4)),
        ({"dtype": "array", "shape": [4], "dtype_numpy": "nonsense"}, numeric("<f8", 4)),
        ({"dtype": "array", "shape": [4], "dtype_numpy": "<U5"}, JsonEncoding()),
        ({"dtype": "array", "shape": [4], "dtype_numpy": "<M8[s]"}, JsonEncoding()),
        ({"dtype": "array", "shape": [4], "dtype_numpy": [["x", "<f8"], ["n", "<i4"]]}, JsonEncoding()),
        ({"dtype": "array", "shape": [4], "dtype_numpy": "<f8,<i4"}, JsonEncoding()),
        ({"dtype": "array", "shape": [4, 4], "dtype_numpy": "<u2", "external": "FILESTORE:"}, JsonEncoding()),
        ({"dtype": "string"}, JsonEncoding()),
        ({}, JsonEncoding()),
    ],
)
def test_without_an_event_the_descriptor_alone_decides(data_key: dict[str, Any], encoding: Encoding) -> None:
    assert encoding_of(data_key) == encoding


def test_a_key_that_the_first_event_lacks_is_as_described() -> None:
    keys = descriptor(x={"dtype": "number", "shape": []}, image={**ARRAY, "dtype_numpy": "<u2", "shape": [2]})
    given = operations([keys, event(1, {"x": 1.0}), event(2, {"x": 1.0, "image": np.ones(2, "<u2")})])
    assert declared(given)["primary:image"] == numeric("<u2", 2)


@pytest.mark.parametrize(
    "scalar", [np.float32(0.5), np.int8(3), np.uint64(2**63 + 5), np.bool_(True), np.float16(0.25), np.float64(0.1)]
)
@pytest.mark.parametrize("data_key", [{"dtype": "number"}, {"dtype": "integer"}, {"dtype": "boolean"}, {"dtype": "?"}])
def test_memory_journal_and_page_give_the_same_column(data_key: dict[str, Any], scalar: Any) -> None:
    keys = descriptor(x={"shape": [], **data_key})
    event_page = page({"x": np.array([scalar])})
    from_journal = [
        unpack_document(pack_document(*event(1, {"x": scalar}))),
        unpack_document(pack_document(*event_page)),
    ]
    found = [operations([keys, document]) for document in from_journal]
    assert values(found[0], "x") == values(found[1], "x") == [scalar]


def test_a_row_that_does_not_fit_is_filled_and_kept_beside_it(caplog: pytest.LogCaptureFixture) -> None:
    given = operations(
        [descriptor(x={"dtype": "integer", "shape": []}), *events({"x": v} for v in (1, 2.5, "a", None))]
    )
    assert columns(given)["primary:x"] == [1, 0, 0, 0]
    assert values(given, "x") == [1, 2.5, "a", None]
    [record] = caplog.records
    assert all(word in record.getMessage() for word in ("run 0", "'primary'", "'x'", "row 1", "dtype_numpy"))


def test_rows_of_another_shape_are_kept_beside_an_image_column() -> None:
    keys = descriptor(x={**ARRAY, "shape": [2, 2], "dtype_numpy": "<u2"})
    given = operations([keys, *events({"x": v} for v in (np.ones((2, 2), "<u2"), np.ones((3, 3), "<u2"), 5))])
    assert columns(given)["primary:x"][1].tolist() == [[0, 0], [0, 0]]
    assert values(given, "x")[1].shape == (3, 3) and values(given, "x")[2] == 5


NUMBERS = (
    st.integers(-(2**66), 2**66)
    | st.sampled_from([2**53 + 1, 2**63, 2**63 + 1, -(2**63), -1, 0, 1])
    | st.floats()
    | st.floats(width=32)
    | st.booleans()
    | st.complex_numbers()
)
ODD = st.none() | st.text() | st.binary() | st.datetimes() | st.dictionaries(st.text(), st.integers())
ARRAYS = st.sampled_from(
    [
        np.array([1, 2], "<i8"),
        np.array([1.5, math.nan]),
        np.array([2**64 - 1, 1], "<u8"),
        np.array([0.1, 1], "<f4"),
        np.array([True, False]),
        np.array([1 + 2j, complex(math.nan, 5)]),
        np.array([[1, 2], [3, 4]], ">i2"),
        np.zeros(0),
        np.array(["a", "b"]),
        np.array(1.5),
    ]
)
VALUES = NUMBERS | st.lists(NUMBERS, max_size=3) | st.lists(st.lists(NUMBERS, max_size=2), max_size=2) | ODD | ARRAYS
DATA_KEYS = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["number", "integer", "boolean", "string", "array"]),
        "shape": st.sampled_from([[], [2], [None], [2, 2], [2, None]]),
    },
    optional={"dtype_numpy": st.sampled_from(["<f8", "<f4", "<i8", "<u8", "|u1", "|b1", "<c16", "<f2", "<U4"])},
)


def plain(value: Any) -> Any:
    """A value in lists of Python's own numbers: what must stay."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, complex) or isinstance(other, complex):
        one, other = (value if isinstance(value, complex) else complex(value) for value in (one, other))
        return equal(one.real, other.real) and equal(one.imag, other.imag)
    return bool(one == other) or (one != one and other != other)


@given(DATA_KEYS, st.lists(VALUES, min_size=1, max_size=6), st.booleans())
def test_rows_and_irregular_values_give_back_what_the_device_gave(
    data_key: dict[str, Any], given: list[Any], as_page: bool
) -> None:
    run = [page({"x": given})] if as_page else events({"x": value} for value in given)
    found = values(operations([descriptor(x=data_key), *run]), "x")
    assert equal([plain(value) for value in found], [plain(value) for value in given])


@given(DATA_KEYS, st.lists(NUMBERS, min_size=2, max_size=6))
def test_nothing_changes_in_events_that_come_by_the_journal(data_key: dict[str, Any], given: list[Any]) -> None:
    run = [unpack_document(pack_document(*document)) for document in events({"x": value} for value in given)]
    found = values(operations([descriptor(x=data_key), *run]), "x")
    assert equal([plain(value) for value in found], given)


@pytest.mark.parametrize(
    "given",
    [
        [2**63 + 1, -1],
        [2**53 + 1, 0.5],
        [[math.nan, 2**60 + 1]],
        [complex(math.nan, 5), 1.0],
        [1.0, complex(math.nan, 5)],
        [True, 2, 0.5],
        [datetime.datetime(2026, 1, 1), 1.0],
        [1j, complex(math.nan, 0.1), complex(0.1, math.nan)],
    ],
)
@pytest.mark.parametrize("dtype", ["number", "integer", "array"])
def test_values_that_numpy_would_round_stay(dtype: str, given: list[Any]) -> None:
    for dtype_numpy in ({}, {"dtype_numpy": "<c8"}):
        keys = descriptor(x={"dtype": dtype, "shape": [], **dtype_numpy})
        found = values(operations([keys, *events({"x": v} for v in given)]), "x")
        assert equal([plain(value) for value in found], given)
