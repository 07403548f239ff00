"""Data keys as columns of a table, and as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from blissdata_bluesky.protocol import MISSING, Encoding, JsonEncoding, NumericEncoding
from blissdata_bluesky.runs import Column
from blissdata_bluesky.tiled.arrays import known_length, text_values
from blissdata_bluesky.tiled.columns import arrow_array, arrow_type, is_array_node
from blissdata_bluesky.tiled.run import internal_dims
from blissdata_bluesky.tiled.viewer import Viewer


def column(encoding: Encoding, key: str = "k", **data_key: Any) -> Column:
    return Column(key, key, encoding, data_key)


def numbers(dtype: str, *shape: int) -> Column:
    return column(NumericEncoding(np.dtype(dtype), shape))


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (("<f8",), False),
        (("<f8", 16), False),
        (("<f8", 4, 4), False),
        (("<f8", 17), True),
        (("<u2", 3, 6), True),
        (("<f8", -1), False),
        (("<c16",), True),
        (("<f8", 0), False),
    ],
)
def test_what_is_an_array_node(encoding: tuple[Any, ...], expected: bool) -> None:
    assert is_array_node(numbers(*encoding)) is expected
    assert not is_array_node(column(JsonEncoding()))


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f8", ">i4", "|b1", "<u8", "|i1", "<f2"])
def test_scalars(dtype: str) -> None:
    rows = np.array([0, 1, 1], dtype)
    found = arrow_array(numbers(dtype), rows)
    assert found.type == arrow_type(numbers(dtype))
    assert found.to_pylist() == rows.tolist()


@pytest.mark.parametrize("shape", [(4,), (2, 3), (2, 2, 2), (0,)])
def test_short_arrays(shape: tuple[int, ...]) -> None:
    rows = np.arange(5 * int(np.prod(shape)), dtype="<i4").reshape(5, *shape)
    found = arrow_array(numbers("<i4", *shape), rows)
    assert found.type == arrow_type(numbers("<i4", *shape))
    assert found.to_pylist() == rows.tolist()
    assert arrow_array(numbers("<i4", *shape), rows[:0]).to_pylist() == []


def test_ragged_arrays() -> None:
    rows: list[Any] = [np.array([1.0]), np.array([]), np.array([2.0, 3.0])]
    found = arrow_array(numbers("<f8", -1), rows)
    assert found.type == pa.list_(pa.float64())
    assert found.to_pylist() == [[1.0], [], [2.0, 3.0]]
    assert arrow_array(numbers("<f8", -1), []).type == found.type
    frames: list[Any] = [np.ones((1, 2)), np.zeros((2, 1))]
    assert arrow_array(numbers("<f8", -1, -1), frames).to_pylist() == [[[1.0, 1.0]], [[0.0], [0.0]]]


def test_lists_that_are_not_there() -> None:
    assert arrow_array(numbers("<i4", 2), [np.array([1, 2], "<i4"), None]).to_pylist() == [[1, 2], None]
    assert arrow_array(numbers("<f2", -1), [None, np.array([0.5], "<f2")]).to_pylist() == [None, [0.5]]
    assert arrow_array(numbers("<f8", -1), [None, None]).to_pylist() == [None, None]
    assert arrow_array(numbers("<f8", 1, 1), [np.array([[1.0]]), None]).to_pylist() == [[[1.0]], None]


def test_texts() -> None:
    values = ["a", 'b"', 5, None, {"a": [1]}, MISSING, True, float("nan")]
    expected = ["a", 'b"', "5", "null", '{"a":[1]}', None, "true", '{"$type":"float","value":"nan"}']
    assert arrow_array(column(JsonEncoding(), dtype="string"), values).to_pylist() == expected


def test_lists_of_texts() -> None:
    names = column(JsonEncoding(), dtype="array", dtype_numpy="<U5")
    found = arrow_array(names, [["a", "b"], [], ["c", 5], MISSING, "alone"])
    assert found.to_pylist() == [["a", "b"], [], ["c", "5"], None, ["alone"]]
    assert found.type == pa.list_(pa.string())


def test_text_arrays_keep_their_width_while_texts_grow() -> None:
    short, longer, longest = (text_values(["a" * n], are_texts=True) for n in (1, 16, 17))
    assert short.dtype == longer.dtype == "<U16"
    assert longest.dtype == "<U32"
    assert text_values([MISSING, "b"], are_texts=True).tolist() == ["", "b"]
    assert text_values([np.array([1.0, 2.0])], are_texts=False).tolist() == ["[1.0,2.0]"]
    assert text_values([], are_texts=True).shape == (0,)


def test_dimensions_are_named_by_size() -> None:
    columns = {"a": numbers("<u2", 5, 20), "b": numbers("<u2", 20), "c": numbers("<f8"), "d": numbers("<c16")}
    assert internal_dims(columns) == {
        "a": ("time", "dim_int_1", "dim_int_2"),
        "b": ("time", "dim_int_2"),
        "d": ("time",),
    }


@pytest.mark.parametrize(
    ("viewer", "expected"),
    [
        (Viewer(), 100),
        (Viewer(route="array", expected_shape=(30, 2)), 30),
        (Viewer(route="array", expected_shape=(300, 2)), 100),
        (Viewer(route="array", expected_shape=(3,), sliced=True), 100),
        (Viewer(route="array", expected_shape=(4, 2), block=2), 24),
        (Viewer(route="table", expected_shape=(4, 2)), 100),
    ],
)
def test_rows_that_a_client_knows_of(viewer: Viewer, expected: int) -> None:
    assert known_length(viewer, 100, chunk_rows=10) == expected
